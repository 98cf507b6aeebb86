"""Text as espeak-ng speaks it: in pieces, each with its samples and its words' places."""

import bisect
import functools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr

from engines.espeak import Espeak, Samples

DIALECTS: Final = {"en": "en-us", "zh": "cmn", "no": "nb"}  # espeak-ng's names where they differ
PIECE: Final = re.compile(r".+?(?:[.!?…。]+(?=\s)|$)", re.DOTALL)


_loading: Final = threading.Lock()


def espeak() -> Espeak:
    """Return the one espeak-ng of this process, loading it at the first call (about 10 ms).

    Two threads that come first together get the same: the library knows one callback, and a second
    object's would take all sound from the first.

    Raises:
        RuntimeError: Its data files cannot be read.
    """
    with _loading:
        return _loaded()


@functools.cache
def _loaded() -> Espeak:
    return Espeak()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How it speaks; a rung's `options`.

    Attributes:
        words_per_minute: 80 to 450.
        pitch: 0 to 100; 50 is the voice's own.
    """

    words_per_minute: int = 165
    pitch: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSentence:
    """A spoken sentence: mono 16-bit samples, and its words with their starts in seconds."""

    samples: Samples
    rate_hz: int
    words: tuple[tuple[str, float], ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.rate_hz


def names(voice: str, language: str) -> tuple[str, ...]:
    """Return espeak-ng's names for what a rung asks, the best one first.

    Args:
        voice: A timbre (`f2`, `Annie`), a voice (`en-gb-x-rp`) or both (`en-gb-x-rp+m3`).
        language: A tag such as `en`, `en-GB`, `es-MX`; used when the voice names none.
    """
    spoken, plus, timbre = voice.partition("+")
    if not plus and espeak().has_timbre(voice):
        spoken, timbre = "", voice
    if spoken:
        return (voice,)
    tag = language.lower()
    primary = tag.partition("-")[0]
    return tuple(
        f"{name}+{timbre}" for name in (DIALECTS.get(tag, tag), DIALECTS.get(primary, primary))
    )


def pieces(text: str) -> Iterator[str]:
    """Yield a text's sentences: the first is heard while the next are yet to be spoken."""
    for match in PIECE.finditer(text):
        if match.group().strip():
            yield match.group()


def speak(text: str, voices: Sequence[str], *, manner: Manner, rate_hz: int) -> SpokenSentence:
    """Speak one piece at `rate_hz`; blocks for a few milliseconds.

    Raises:
        UnknownVoiceError: None of the voices exists.
    """
    engine = espeak()
    samples, events = engine.speak(
        text, voices, words_per_minute=manner.words_per_minute, pitch=manner.pitch
    )
    words = _words(text, events, total=len(samples))
    if rate_hz != engine.rate_hz and len(samples):
        samples = soxr.resample(samples, engine.rate_hz, rate_hz)
    return SpokenSentence(
        samples=samples.astype("<i2"),
        rate_hz=rate_hz,
        words=tuple((word, sample / engine.rate_hz) for word, sample in words),
    )


def _words(text: str, events: Sequence[tuple[int, int]], *, total: int) -> list[tuple[str, float]]:
    """Return each word between blanks and its first sample.

    espeak-ng announces some words together ("of the") and others in parts ("$1,234"): the first
    part counts, and a word without an event stands between its neighbours by its letters.
    Punctuation alone goes with the word before it, for it is not spoken.
    """
    tokens = [
        (match.start(), match.group())
        for match in re.finditer(r"\S*\w\S*(?:\s+[^\s\w]+(?=\s|$))*", text)
    ]
    if not tokens:
        return []
    starts = [at for at, _ in tokens]
    heard: dict[int, int] = {}
    for position, sample in events:
        heard.setdefault(max(0, bisect.bisect_right(starts, position) - 1), sample)
    known = {starts[index]: sample for index, sample in sorted(heard.items())} | {len(text): total}
    places = np.interp(starts, [*known.keys()], [*known.values()])
    return [(token, float(place)) for (_, token), place in zip(tokens, places, strict=True)]
