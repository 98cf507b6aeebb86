"""espeak-ng as a library: turns text into samples, with the position of each word in them.

It comes in a wheel (`espeakng_loader`), so no system package is needed. It keeps its state in
globals, so a lock guards each copy of it. A sentence takes a few milliseconds, too long for an
event loop: callers use a thread, and Python's lock is released meanwhile.
"""

import _ctypes
import bisect
import ctypes
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import espeakng_loader
import numpy as np
import numpy.typing as npt

from engines.readable import readable

Samples: TypeAlias = npt.NDArray[np.int16]

# The numbers and the event below: espeak-ng 1.52, src/include/espeak-ng/speak_lib.h.
SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: everything is synthesised when the call returns
DONT_EXIT: Final = 0x8000  # espeakINITIALIZE_DONT_EXIT: missing data is an error, not an exit()
POS_CHARACTER: Final = 1
CHARS_UTF8: Final = 1
RATE: Final = 1
PITCH: Final = 3
LIST_TERMINATED: Final = 0
WORD: Final = 1
OK: Final = 0

DIALECTS: Final = {"en": "en-us", "zh": "cmn", "no": "nb"}  # by tag, where espeak-ng's differs

# The least audio per letter; 0.027 s is normal at the highest speed (measured).
MIN_LETTER_S: Final = 0.008


class UnknownVoiceError(ValueError):
    """espeak-ng has no such voice or language; the text names it."""


class _EspeakEvent(ctypes.Structure):
    """espeak_EVENT."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),  # from the start of the text
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _EspeakVoice(ctypes.Structure):
    """The beginning of espeak_VOICE."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # pairs of a priority byte and a tag
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
)


class Espeak:
    """The loaded library.

    Example:
        >>> samples, words = Espeak().speak("Hello.", ["en-us+f2"], words_per_minute=165, pitch=50)
    """

    def __init__(self, *, private: bool = False, seed: int | None = None) -> None:
        """Load the library; takes about 10 ms.

        Args:
            private: Load a copy of the file, with globals of its own.
            seed: Seeds espeak-ng's random breath noise; `None` for the time of day.

        Raises:
            RuntimeError: Its data files cannot be read.
        """
        self._lock = threading.Lock()
        self._seed = seed
        self._pieces: list[bytes] = []
        self._words: list[tuple[int, int]] = []
        self._callback = _Callback(
            self._collect_piece
        )  # kept: the library holds only a pointer to it
        path = espeakng_loader.get_library_path()
        self._library = _load_copy(path) if private else ctypes.CDLL(path)
        data = espeakng_loader.get_data_path()
        self._timbres = Path(data) / "voices" / "!v"
        self.rate_hz: int = self._library.espeak_Initialize(
            SYNCHRONOUS, 0, data.encode(), DONT_EXIT
        )
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak-ng cannot read its data in {data}")
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_EspeakVoice)

    def has_timbre(self, name: str) -> bool:
        """Return whether this timbre exists, such as `f2` or `Annie`."""
        return (self._timbres / name).is_file()

    def find(self, names: Sequence[str]) -> str:
        """Return the first of these voices that exists.

        Args:
            names: Voices as `en-us` or `en-us+f2`, the best one first.

        Raises:
            UnknownVoiceError: None of them exists.
        """
        with self._lock:
            return self._select_first_voice(names)

    def speak(
        self, text: str, names: Sequence[str], *, words_per_minute: int, pitch: int
    ) -> tuple[Samples, list[tuple[int, int]]]:
        """Speak `text` with the first of the voices that exists.

        Args:
            text: The text to speak.
            names: Voices as `find` expects them.
            words_per_minute: 80 to 450.
            pitch: 0 to 100; 50 is the voice's own.

        Returns:
            Mono samples at `rate_hz`; and, for each word that espeak-ng announces, the index of
            its first character and its first sample.

        Raises:
            UnknownVoiceError: None of the voices exists.
        """
        with self._lock:
            self._select_first_voice(names)
            text = readable(text, self._language_of_voice())
            spoken = text.encode()
            min_samples = MIN_LETTER_S * self.rate_hz * sum(map(str.isalnum, text))
            synthesised = self._synthesise_bytes(spoken, words_per_minute, pitch)
            # About one sentence in ten thousand gets only 0.02 s of audio.
            if len(synthesised[0]) < min_samples:
                self._select_first_voice(names)
                synthesised = self._synthesise_bytes(spoken, words_per_minute, pitch)
            return synthesised

    def unload(self) -> None:
        """Unmap a private copy, which must not be used after that.

        The library's output depends on everything that it spoke before, so only a new copy repeats
        the output of an earlier one.
        """
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)  # noqa: SLF001 - ctypes never closes a library

    def _synthesise_bytes(
        self, spoken: bytes, words_per_minute: int, pitch: int
    ) -> tuple[Samples, list[tuple[int, int]]]:
        """Synthesise UTF-8 in the current voice; return samples and words as `speak` does."""
        self._library.espeak_SetParameter(RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(PITCH, pitch, 0)
        if self._seed is not None:
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(self._seed))
        self._pieces, self._words = [], []
        self._library.espeak_Synth(
            spoken, len(spoken) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
        )
        spoken_pieces, self._pieces = self._pieces, []  # releases half a megabyte
        return np.frombuffer(b"".join(spoken_pieces), np.int16), self._words

    def _select_first_voice(self, names: Sequence[str]) -> str:
        """Make the first voice that exists the current one, and return its name; see `find`."""
        for name in names:
            voice, _, timbre = name.partition("+")
            if timbre and not self.has_timbre(timbre):
                continue  # the library would silently use its default timbre
            if voice and self._library.espeak_SetVoiceByName(name.encode()) == OK:
                return name
        raise UnknownVoiceError(f"espeak-ng has no voice {' or '.join(names)}")

    def _language_of_voice(self) -> str:
        """Return the language of the chosen voice, such as `es-419`; its name may be `Hindi`."""
        tags: bytes | None = self._library.espeak_GetCurrentVoice().contents.languages
        return (tags or b"")[1:].decode()

    def _collect_piece(self, wave: Any, samples: int, events: Any) -> int:
        """Store a piece of audio and its words; the library calls this during the synthesis."""
        if wave and samples > 0:
            self._pieces.append(ctypes.string_at(wave, 2 * samples))
        index = 0
        while events[index].type != LIST_TERMINATED:
            if events[index].type == WORD:
                self._words.append((events[index].text_position - 1, events[index].sample))
            index += 1
        return 0  # 0 continues the synthesis, 1 would stop it


def voice_names(language: str, timbre: str) -> tuple[str, ...]:
    """Return espeak-ng's names for a language tag such as `en` or `es-MX`, the best one first."""
    tag = language.lower()
    primary = tag.partition("-")[0]
    return tuple(
        f"{name}+{timbre}" for name in (DIALECTS.get(tag, tag), DIALECTS.get(primary, primary))
    )


def word_samples(
    text: str, starts: Sequence[int], events: Sequence[tuple[int, int]], *, total: int
) -> list[float]:
    """Return the first sample of each word of a text that was spoken.

    espeak-ng announces some words together ("of the") and others in parts ("$1,234"). The first
    part counts; a word without an event is interpolated between its neighbours by its position.

    Args:
        text: The text.
        starts: Where each word begins in it.
        events: The words that espeak-ng announced: first character, first sample.
        total: The number of samples.
    """
    first_samples: dict[int, int] = {}
    for position, sample in events:
        first_samples.setdefault(max(0, bisect.bisect_right(starts, position) - 1), sample)
    anchors = {starts[index]: sample for index, sample in sorted(first_samples.items())} | {
        len(text): total
    }
    return np.interp(starts, [*anchors.keys()], [*anchors.values()]).tolist()


def _load_copy(path: str) -> ctypes.CDLL:
    """Load a copy of the library: each file has its own globals."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "libespeak-ng-private.so"
        shutil.copyfile(path, copy)
        return ctypes.CDLL(str(copy))  # stays mapped after the file is deleted
