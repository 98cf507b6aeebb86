"""Voices: synthesise text with espeak-ng and return the time of each word."""

import asyncio
import bisect
import dataclasses
import functools
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr

from engines.espeak import Espeak, UnknownVoiceError
from lab.simulators.samples import Samples

SEED: Final = 1300  # chosen: any constant, so that the same text sounds alike in every run


def new_engine() -> Espeak:
    """Return an espeak-ng without earlier speech."""
    return Espeak(private=True, seed=SEED)


@functools.cache
def lab_engine() -> Espeak:
    """Return the lab's espeak-ng, loaded at the first call."""
    return new_engine()


AUDIBLE: Final = 300  # of 32767 (-41 dBFS); chosen: quieter sound after a word counts as its pause
SINGLE_WORD_SPEED: Final = 1.4  # factor: a word alone takes twice as long as in a sentence
WORD_PAUSE_S: Final = 0.04  # chosen: between words that are spoken singly; shorter than any pause
MIN_WORD_S: Final = 0.01  # chosen: two word events closer than this are one spoken unit


class UnknownLanguageError(ValueError):
    """espeak-ng has no voice for the language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedVoice:
    """The sound of one simulated provider.

    Attributes:
        variant: espeak-ng's name for the timbre (`f1`-`f5`, `m1`-`m8` and names).
        accent: The voice for English.
        pitch: 0 to 100; 50 is the variant's own.
        words_per_minute: 80 to 450.
        word_by_word: Each word is spoken singly, and always sounds the same.
    """

    variant: str
    accent: str = "en-us"
    pitch: int = 50
    words_per_minute: int = 170
    word_by_word: bool = False

    def name(self, language: str) -> str:
        """Return espeak-ng's name of this voice in a language (`en`, `es-MX`, `ru`)."""
        code = language.partition("-")[0].lower()
        return f"{self.accent if code in ('en', 'multi', '') else code}+{self.variant}"

    def faster(self, factor: float) -> "SimulatedVoice":
        """Return the same voice at a multiple of its speed."""
        return dataclasses.replace(self, words_per_minute=round(self.words_per_minute * factor))


# Listeners must be able to distinguish the providers, so no two instances share a timbre.
VOICES: Final[Mapping[str, SimulatedVoice]] = {
    "cartesia": SimulatedVoice(variant="f3"),
    "cartesia-b": SimulatedVoice(variant="f5", accent="en-gb-x-rp", pitch=62),
    "elevenlabs": SimulatedVoice(variant="m3", accent="en-gb-x-rp", pitch=42),
    "elevenlabs-b": SimulatedVoice(variant="m7", pitch=30),
}
SPARE_VOICES: Final[Sequence[SimulatedVoice]] = tuple(
    SimulatedVoice(variant=variant, pitch=pitch)
    for variant in ("f1", "m1", "f2", "m2", "f4", "m4", "m5", "m6")
    for pitch in (35, 50, 65)
)


def voice_of(instance: str, *, word_by_word: bool = False) -> SimulatedVoice:
    """Return an instance's voice; the same name always gets the same voice."""
    spare = SPARE_VOICES[zlib.crc32(instance.encode()) % len(SPARE_VOICES)]
    return dataclasses.replace(VOICES.get(instance, spare), word_by_word=word_by_word)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabWord:
    """A word of the text, and its place in the audio.

    Attributes:
        text: The characters between two spaces, punctuation included.
        at: Index of its first character in the spoken text.
        start_s: Seconds from the first sample.
        end_s: Seconds; equal to `start_s` for a token without sound, such as a dash.
    """

    text: str
    at: int
    start_s: float
    end_s: float

    def shifted(self, by_s: float) -> "LabWord":
        """Return the same word, this many seconds later."""
        return dataclasses.replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Spoken text: mono 16-bit samples at `rate_hz` and the words in them."""

    text: str
    samples: Samples
    rate_hz: int
    words: tuple[LabWord, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.rate_hz

    def index(self, at_s: float) -> int:
        """Return the sample at a time in it."""
        return min(round(at_s * self.rate_hz), len(self.samples))


async def speak(text: str, *, voice: SimulatedVoice, rate_hz: int, language: str = "en") -> Speech:
    """Synthesise without blocking the event loop.

    Args:
        text: Any text; white space alone gives no audio.
        voice: The voice.
        rate_hz: Sample rate of the result.
        language: ISO 639-1, with or without a region.

    Returns:
        The audio and, for every token between spaces, its place in it. espeak-ng's breath noise is
        random: the same text again differs by a few samples.

    Raises:
        UnknownLanguageError: espeak-ng does not speak `language`.
    """
    return await asyncio.to_thread(speak_now, text, voice=voice, rate_hz=rate_hz, language=language)


def speak_now(
    text: str,
    *,
    voice: SimulatedVoice,
    rate_hz: int,
    language: str = "en",
    engine: Espeak | None = None,
) -> Speech:
    """Synthesise like `speak`, but in this thread, about 1 ms a sentence.

    `engine` replaces the lab's own, whose output depends on what it has said before.
    """
    engine = engine or lab_engine()
    if voice.word_by_word:
        return _word_by_word(text, voice, rate_hz=rate_hz, language=language)
    if not text.strip():
        return Speech(text=text, samples=np.zeros(0, np.int16), rate_hz=rate_hz, words=())
    name = voice.name(language)
    try:
        raw, events = engine.speak(
            text, [name], words_per_minute=voice.words_per_minute, pitch=voice.pitch
        )
    except UnknownVoiceError as unknown:
        spoken = name.partition("+")[0]
        raise UnknownLanguageError(f'espeak-ng has no voice for "{spoken}"') from unknown
    raw_hz = engine.rate_hz
    words = _place_words(text, raw, events=events, rate_hz=raw_hz)
    samples = raw if rate_hz == raw_hz else soxr.resample(raw, raw_hz, rate_hz)
    return Speech(text=text, samples=samples.astype(np.int16), rate_hz=rate_hz, words=words)


def word_sound(word: str, *, voice: SimulatedVoice, rate_hz: int, language: str = "en") -> Samples:
    """Return the sound of a word in a voice that speaks word by word; it is always the same.

    Case and punctuation do not matter. A word without letters or digits has no samples.
    """
    spoken = re.sub(r"[\W_]", "", word).lower()
    plain = dataclasses.replace(voice.faster(SINGLE_WORD_SPEED), word_by_word=False)
    return _single_word(spoken, voice=plain, rate_hz=rate_hz, language=language)


@functools.cache
def _single_word(word: str, *, voice: SimulatedVoice, rate_hz: int, language: str) -> Samples:
    """Return a word as a new engine says it, without the silence around it."""
    engine = new_engine()  # an engine's output depends on everything that it has said before
    try:
        samples = speak_now(
            word, voice=voice, rate_hz=rate_hz, language=language, engine=engine
        ).samples
    finally:
        engine.unload()
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return samples[int(loud[0]) : int(loud[-1]) + 1] if len(loud) else samples[:0]


def _word_by_word(text: str, voice: SimulatedVoice, *, rate_hz: int, language: str) -> Speech:
    """Return a text whose words are spoken singly, with `WORD_PAUSE_S` after each."""
    pause = np.zeros(round(WORD_PAUSE_S * rate_hz), np.int16)
    pieces: list[Samples] = []
    words: list[LabWord] = []
    at_s = 0.0
    for match in re.finditer(r"\S+", text):
        sound = word_sound(match.group(), voice=voice, rate_hz=rate_hz, language=language)
        end_s = at_s + len(sound) / rate_hz
        words.append(LabWord(text=match.group(), at=match.start(), start_s=at_s, end_s=end_s))
        pieces += [sound, pause] if len(sound) else []
        at_s = end_s + (WORD_PAUSE_S if len(sound) else 0.0)
    samples = np.concatenate([np.zeros(0, np.int16), *pieces])
    return Speech(text=text, samples=samples, rate_hz=rate_hz, words=tuple(words))


def _place_words(
    text: str, samples: Samples, *, events: Sequence[tuple[int, int]], rate_hz: int
) -> tuple[LabWord, ...]:
    """Return the place of every token, including those that espeak-ng joins ("of the") or skips."""
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    starts = _word_starts(tokens, events, min_gap=round(MIN_WORD_S * rate_hz))
    ends = [*(sample for _, sample in starts[1:]), len(samples)]
    last = [*(index for index, _ in starts[1:]), len(tokens)]
    words: list[LabWord] = []
    for (first, start), end, stop in zip(starts, ends, last, strict=True):
        heard = _without_pause(samples, start, end)
        words += _share_time(tokens[first:stop], start / rate_hz, heard / rate_hz)
    return tuple(words)


def _word_starts(
    tokens: Sequence[tuple[int, str]], events: Sequence[tuple[int, int]], *, min_gap: int
) -> list[tuple[int, int]]:
    """Return pairs (index of token, first sample), both ascending; the first token starts at 0."""
    ends = [at + len(token) for at, token in tokens]
    starts = [(0, 0)]
    for position, sample in events:
        index = bisect.bisect_right(ends, position)
        known_index, known_sample = starts[-1]
        if known_index < index < len(tokens) and sample - known_sample >= min_gap:
            starts.append((index, sample))
    return starts


def _without_pause(samples: Samples, start: int, end: int) -> int:
    """Return the sample after the last audible one; `start` if all is quiet."""
    loud = np.flatnonzero(np.abs(samples[start:end].astype(np.int32)) > AUDIBLE)
    return start + int(loud[-1]) + 1 if len(loud) else start


def _share_time(tokens: Sequence[tuple[int, str]], start_s: float, end_s: float) -> list[LabWord]:
    """Divide the time of tokens that are spoken as one between them, by their letters."""
    weights = [sum(map(str.isalnum, token)) for _, token in tokens]
    if not any(weights):
        weights[0] = 1  # "&" or "$" alone is spoken
    total, done, begin_s = sum(weights), 0, start_s
    words: list[LabWord] = []
    for (at, token), weight in zip(tokens, weights, strict=True):
        done += weight
        until_s = end_s if done == total else start_s + (end_s - start_s) * done / total
        words.append(LabWord(text=token, at=at, start_s=begin_s, end_s=until_s))
        begin_s = until_s
    return words
