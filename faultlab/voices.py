"""Voices: speak text with espeak-ng and say when each word of it is heard.

espeak-ng comes as a wheel (`espeakng_loader`), so no system package is needed. It keeps its state
in globals of the loaded library: one lock guards it, and the lab loads a private copy, because the
program under test may speak with the same library in the same process.
"""

import asyncio
import bisect
import ctypes
import dataclasses
import functools
import re
import shutil
import tempfile
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import espeakng_loader
import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.int16]

# speak_lib.h of espeak-ng 1.52: modes, flags, parameters and event types.
SYNCHRONOUS: Final = (
    2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all audio was handed over
)
DO_NOT_EXIT: Final = 0x8000  # espeakINITIALIZE_DONT_EXIT
UTF8: Final = 1  # espeakCHARS_UTF8
PARAMETER_RATE: Final = 1
PARAMETER_PITCH: Final = 3
EVENT_END: Final = 0  # espeakEVENT_LIST_TERMINATED
EVENT_WORD: Final = 1

AUDIBLE: Final = 300  # of 32767 (-41 dBFS); chosen: below it a word's end is only its pause
SHORTEST_WORD_S: Final = 0.01  # chosen: two word events closer than this are one spoken unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How one simulated provider sounds.

    Attributes:
        variant: espeak-ng's name for the timbre (`f1`-`f5`, `m1`-`m8` and names).
        accent: the voice that speaks English.
        pitch: 0 to 100, 50 is the variant's own.
        words_per_minute: 80 to 450.
    """

    variant: str
    accent: str = "en-us"
    pitch: int = 50
    words_per_minute: int = 170

    def name(self, language: str) -> str:
        """Return espeak-ng's name of this voice in a language (`en`, `es-MX`, `ru`)."""
        code = language.partition("-")[0].lower()
        return f"{self.accent if code in ('en', 'multi', '') else code}+{self.variant}"


# A listener must hear which provider speaks, so no two instances share a timbre.
VOICES: Final[Mapping[str, Voice]] = {
    "cartesia": Voice(variant="f3"),
    "cartesia-b": Voice(variant="f5", accent="en-gb-x-rp", pitch=62),
    "elevenlabs": Voice(variant="m3", accent="en-gb-x-rp", pitch=42),
    "elevenlabs-b": Voice(variant="m7", pitch=30),
}
SPARE_VOICES: Final[Sequence[Voice]] = tuple(
    Voice(variant=variant, pitch=pitch)
    for variant in ("f1", "m1", "f2", "m2", "f4", "m4", "m5", "m6")
    for pitch in (35, 50, 65)
)


def voice_of(instance: str) -> Voice:
    """Return the voice of an instance, always the same one for the same name."""
    spare = SPARE_VOICES[zlib.crc32(instance.encode()) % len(SPARE_VOICES)]
    return VOICES.get(instance, spare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word as it stands in the text, and where it is in the audio.

    Attributes:
        text: the characters between two spaces, punctuation included.
        at: index of its first character in the spoken text.
        start_s: seconds from the first sample.
        end_s: seconds; equal to `start_s` for a token that makes no sound, such as a lone dash.
    """

    text: str
    at: int
    start_s: float
    end_s: float

    def later(self, by_s: float) -> "Word":
        """Return the same word in audio that begins so many seconds earlier."""
        return dataclasses.replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Spoken text: mono 16-bit samples at `rate_hz` and the words in them."""

    text: str
    samples: Samples
    rate_hz: int
    words: tuple[Word, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.rate_hz

    def index(self, at_s: float) -> int:
        """Return the sample at a time in it."""
        return min(round(at_s * self.rate_hz), len(self.samples))


class UnknownLanguageError(ValueError):
    """espeak-ng has no voice for what was asked."""


async def speak(text: str, *, voice: Voice, rate_hz: int, language: str = "en") -> Speech:
    """Speak without holding up the event loop.

    Args:
        text: anything; white space alone gives no audio.
        voice: whose voice.
        rate_hz: sample rate of the result.
        language: ISO 639-1, with or without a region.

    Returns:
        The audio and, for every token between spaces, its place in it. espeak-ng rolls dice for
        breath: the same text again differs by a few samples.

    Raises:
        UnknownLanguageError: espeak-ng does not speak `language`.
    """
    return await asyncio.to_thread(speak_now, text, voice=voice, rate_hz=rate_hz, language=language)


def speak_now(text: str, *, voice: Voice, rate_hz: int, language: str = "en") -> Speech:
    """Speak in this thread: about 1 ms for a sentence. See `speak`."""
    if not text.strip():
        return Speech(text=text, samples=np.zeros(0, np.int16), rate_hz=rate_hz, words=())
    engine = _engine()
    raw, events = engine.speak(text, voice, language=language)
    words = _words(text, raw, events=events, rate_hz=engine.rate_hz)
    samples = raw if rate_hz == engine.rate_hz else soxr.resample(raw, engine.rate_hz, rate_hz)
    return Speech(text=text, samples=samples.astype(np.int16), rate_hz=rate_hz, words=words)


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of the first character, counted from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Heard = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Engine:
    """The one espeak-ng of this process; every use of it is under its lock."""

    def __init__(self) -> None:
        self._library = _private_copy()
        self._lock = threading.Lock()
        self._audio = bytearray()
        self._starts: list[tuple[int, int]] = []
        self._heard = _Heard(self._on_audio)  # kept: the library holds only a pointer to it
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz: int = self._library.espeak_Initialize(SYNCHRONOUS, 0, data, DO_NOT_EXIT)
        if self.rate_hz <= 0:
            raise RuntimeError("espeak-ng did not start: its data files could not be read")
        self._library.espeak_SetSynthCallback(self._heard)

    def speak(
        self, text: str, voice: Voice, *, language: str
    ) -> tuple[Samples, list[tuple[int, int]]]:
        """Return samples at `rate_hz` and (index in the text, sample) for each word event."""
        # A C string ends at NUL; a blank in its place keeps every other character where it is.
        encoded = text.replace("\0", " ").encode(errors="replace")
        with self._lock:
            if self._library.espeak_SetVoiceByName(voice.name(language).encode()) != 0:
                raise UnknownLanguageError(f'espeak-ng has no voice for "{language}"')
            self._library.espeak_SetParameter(PARAMETER_RATE, voice.words_per_minute, 0)
            self._library.espeak_SetParameter(PARAMETER_PITCH, voice.pitch, 0)
            self._audio.clear()
            self._starts.clear()
            self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
            return np.frombuffer(bytes(self._audio), np.int16), list(self._starts)

    def _on_audio(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._audio += ctypes.string_at(wave, count * 2)
        at = 0
        while events[at].type != EVENT_END:
            if events[at].type == EVENT_WORD:
                self._starts.append((events[at].text_position - 1, events[at].sample))
            at += 1
        return 0  # 1 would stop the synthesis


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def _private_copy() -> ctypes.CDLL:
    """Load a copy of the library: another file is another set of globals."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "libespeak-ng-faultlab.so"
        shutil.copyfile(espeakng_loader.get_library_path(), copy)
        return ctypes.CDLL(str(copy))  # stays mapped after the file is gone


def _words(
    text: str, samples: Samples, *, events: Sequence[tuple[int, int]], rate_hz: int
) -> tuple[Word, ...]:
    """Give every token its place, also those that espeak-ng joins ("of the") or skips."""
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    starts = _starts(tokens, events, apart=round(SHORTEST_WORD_S * rate_hz))
    ends = [*(sample for _, sample in starts[1:]), len(samples)]
    last = [*(index for index, _ in starts[1:]), len(tokens)]
    words: list[Word] = []
    for (first, start), end, stop in zip(starts, ends, last, strict=True):
        heard = _without_pause(samples, start, end)
        words += _shared_out(tokens[first:stop], start / rate_hz, heard / rate_hz)
    return tuple(words)


def _starts(
    tokens: Sequence[tuple[int, str]], events: Sequence[tuple[int, int]], *, apart: int
) -> list[tuple[int, int]]:
    """Return (index of token, first sample), rising in both; the first token starts it all."""
    ends = [at + len(token) for at, token in tokens]
    starts = [(0, 0)]
    for position, sample in events:
        index = bisect.bisect_right(ends, position)
        known_index, known_sample = starts[-1]
        if known_index < index < len(tokens) and sample - known_sample >= apart:
            starts.append((index, sample))
    return starts


def _without_pause(samples: Samples, start: int, end: int) -> int:
    loud = np.flatnonzero(np.abs(samples[start:end].astype(np.int32)) > AUDIBLE)
    return start + int(loud[-1]) + 1 if len(loud) else start


def _shared_out(tokens: Sequence[tuple[int, str]], start_s: float, end_s: float) -> list[Word]:
    """Divide what was spoken as one among its tokens by their letters."""
    weights = [sum(map(str.isalnum, token)) for _, token in tokens]
    if not any(weights):
        weights[0] = 1  # "&" or "$" alone is spoken
    total, done, begin_s = sum(weights), 0, start_s
    words: list[Word] = []
    for (at, token), weight in zip(tokens, weights, strict=True):
        done += weight
        until_s = end_s if done == total else start_s + (end_s - start_s) * done / total
        words.append(Word(text=token, at=at, start_s=begin_s, end_s=until_s))
        begin_s = until_s
    return words
