"""Finds the local voice's words in a recording: pure, on arrays.

No simulator records the local voice, so its words are synthesised again for the comparison.
espeak-ng varies the pitch, and its last utterance affects the next one: two utterances of one text
differ in their waveforms, but hardly in the loudness of frequency bands over time. So the bands are
compared, and an utterance counts as heard only if each of its words matches at its own position.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.sound import RATE_HZ, Pcm
from providers.local_tts import VOICE, Manner, names, pieces, speak

_Bands: TypeAlias = NDArray[np.floating[Any]]

HOP: Final = RATE_HZ // 100  # samples from one frame to the next
WINDOW: Final = RATE_HZ // 40  # samples of a frame
FFT: Final = 256
BANDS: Final = 24
TONES_HZ: Final = (100.0, 3800.0)  # the frequencies of a telephone
FLOOR: Final = 1e5  # the power of a quiet line: differences below it do not count
# Correlations. Measured over both answers of the drill, starting at each word: a repeated utterance
# reaches 0.97 or more, the worst of its words 0.92.
ALIKE: Final = 0.94
WORD_ALIKE: Final = 0.88
SHIFT: Final = 2  # frames by which a word may be early or late


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUtterance:
    """A sentence in the local voice, or the rest of one.

    Attributes:
        samples: At 8000 Hz.
        words: Each word with its start and end in seconds.
    """

    samples: Pcm
    words: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardUtterance:
    """An utterance that was found in a recording.

    Attributes:
        index: Its index in the utterances that were searched for.
        at_s: Its start in the recording, in seconds.
        begun_twice: Whether its first word also occurs directly before it.
    """

    index: int
    at_s: float
    begun_twice: bool


def heard_utterances(
    recording: Pcm, looked_for: Sequence[LocalUtterance]
) -> Iterator[HeardUtterance]:
    """Yield every occurrence of each utterance, the longest first."""
    ear = _band_loudness(recording)
    for index in sorted(range(len(looked_for)), key=lambda index: -looked_for[index].samples.size):
        wanted = looked_for[index]
        sound = _band_loudness(wanted.samples)
        if sound.size:
            for frame in _matching_places(ear, sound, wanted):
                twice = _is_begun_before(ear, sound, frame, wanted.words[0])
                yield HeardUtterance(index=index, at_s=frame * HOP / RATE_HZ, begun_twice=twice)


def _matching_places(ear: _Bands, sound: _Bands, wanted: LocalUtterance) -> Iterator[int]:
    """Yield the first frame of each occurrence, the best first; each word must match as well."""
    likeness = _likeness_at_places(ear, sound)
    while likeness.size:
        best = int(likeness.argmax())
        if likeness[best] < ALIKE:
            return
        if all(_is_at_its_place(ear, sound, best, word) for word in wanted.words):
            yield best
        apart = max(1, len(sound) // 2)
        likeness[max(0, best - apart) : best + apart] = -np.inf


def _is_at_its_place(
    ear: _Bands, sound: _Bands, place: int, word: tuple[str, float, float]
) -> bool:
    first, part = _word_frames(sound, word)
    return _is_near(ear, part, place + first)


def _is_begun_before(
    ear: _Bands, sound: _Bands, place: int, word: tuple[str, float, float]
) -> bool:
    """Return whether a word's sound also stands directly before its place."""
    first, part = _word_frames(sound, word)
    return _is_near(ear, part, place + first - len(part))


def _word_frames(sound: _Bands, word: tuple[str, float, float]) -> tuple[int, _Bands]:
    """Return a word's first frame in an utterance, and its bands."""
    _, start_s, end_s = word
    first, last = round(start_s * RATE_HZ / HOP), round(end_s * RATE_HZ / HOP)
    return first, sound[first : max(last, first + 2)]


def _is_near(ear: _Bands, part: _Bands, place: int) -> bool:
    """Return whether a word is heard at this frame, or up to `SHIFT` frames away."""
    near = ear[max(0, place - SHIFT) : max(0, place + len(part) + SHIFT)]
    found = _likeness_at_places(near, part)
    return bool(found.size) and float(found.max()) >= WORD_ALIKE


def _likeness_at_places(ear: _Bands, sound: _Bands) -> _Bands:
    """Return the normalised correlation of a sound's bands with every place in the recording."""
    places = len(ear) - len(sound) + 1
    if places < 1:
        return np.zeros(0)
    wanted = sound - sound.mean()
    energy = float((wanted**2).sum())
    products = np.zeros(places)
    for at, bands in enumerate(wanted):
        products += ear[at : at + places] @ bands
    sums, squares = (_moving_sums(item, len(sound)) for item in (ear.sum(1), (ear**2).sum(1)))
    spread = squares - sums**2 / sound.size
    return products / np.sqrt(np.maximum(spread * energy, 1e-9))


def _moving_sums(values: _Bands, size: int) -> _Bands:
    total = np.concatenate([np.zeros(1), np.cumsum(values)])
    return total[size:] - total[:-size]


def _band_loudness(samples: Pcm) -> _Bands:
    """Return the loudness of each band every 10 ms, as logarithms."""
    if samples.size < WINDOW:
        return np.zeros((0, BANDS))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT)) ** 2
    bands: _Bands = np.log(np.maximum(power @ _mel_filters(), FLOOR))
    return bands


def _mel_filters() -> _Bands:
    """Return triangular filters, spaced on the mel scale.

    Source: O'Shaughnessy, Speech Communication, 1987: mel = 2595 log10(1 + f / 700).
    """
    mels, (lowest, highest) = (
        2595 * np.log10(1 + np.asarray(hz) / 700)
        for hz in (np.fft.rfftfreq(FFT, 1 / RATE_HZ), TONES_HZ)
    )
    edges = np.linspace(lowest, highest, BANDS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    up = (mels[:, None] - low) / (middle - low)
    down = (high - mels[:, None]) / (high - middle)
    triangles: _Bands = np.clip(np.minimum(up, down), 0, None)
    return triangles


LANGUAGE: Final = "en"  # of the drill's calls


@functools.cache
def utterances(text: str) -> tuple[LocalUtterance, ...]:
    """Return each sentence of a text, and its rest from each later word on, as speech.

    Blocks for a few milliseconds a word.
    """
    return tuple(
        _spoken_utterance(" ".join(words[first:]))
        for sentence in pieces(text)
        for words in [sentence.split()]
        for first in range(len(words))
    )


def _spoken_utterance(words: str) -> LocalUtterance:
    """Return words in the local voice; each of them lasts until the next one begins."""
    piece = speak(words, names(VOICE, LANGUAGE), manner=Manner(), rate_hz=RATE_HZ)
    ends = [*(start_s for _, start_s in piece.words[1:]), piece.duration_s]
    return LocalUtterance(
        samples=piece.samples,
        words=tuple((word, at, end) for (word, at), end in zip(piece.words, ends, strict=True)),
    )
