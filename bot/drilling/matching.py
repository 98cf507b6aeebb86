"""Finds known sounds in a recording, to the sample: pure, on arrays.

A word that a simulated voice sent reaches the caller's ear with nothing done to it but the
telephone's coding, so the same samples correlate with the recording at 0.99 and more, and another
word's do not.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bot.drilling.mending import mended
from bot.drilling.places import RATE_HZ, Match, Pcm

_Floats: TypeAlias = NDArray[np.floating[Any]]

ALIKE: Final = 0.95  # chosen; coding alone leaves 0.99, another word of the same voice under 0.9
SHORT_ALIKE: Final = 0.98  # a single vowel resembles other vowels of its voice more than words do
SHORT: Final = RATE_HZ // 10
LEAST_ANCHOR: Final = RATE_HZ // 40  # what a torn sound is recognised by
STEP: Final = 4096  # transforms of its multiples are quick
FAINT: Final = 40.0  # of 32768, root mean square: below it there is nothing to recognise


class Recording:
    """A recording in which sounds are looked for."""

    def __init__(self, samples: Pcm) -> None:
        self._samples = samples.astype(np.float64)
        energy = np.cumsum(self._samples**2)
        self._energy = np.concatenate([np.zeros(1), energy])
        self._spectra: dict[int, NDArray[np.complexfloating[Any, Any]]] = {}

    def matches(self, sound: Pcm) -> list[Match]:
        """Return every place where the sound is heard, whole or with a short gap torn into it."""
        least = ALIKE if sound.size >= SHORT else SHORT_ALIKE
        whole = list(self._peaks(sound, least))
        return whole or self._torn(sound)

    def _peaks(self, sound: Pcm, least: float) -> Iterator[Match]:
        """Yield the best places first; no two of them overlap by more than a half."""
        likeness = self._likeness(sound)
        apart = max(1, sound.size // 2)
        while likeness.size:
            best = int(likeness.argmax())
            if likeness[best] < least:
                return
            yield Match(best, best + sound.size, float(likeness[best]))
            likeness[max(0, best - apart) : best + apart] = 0.0

    def _torn(self, sound: Pcm) -> list[Match]:
        """Return the places where nearly all of a sound follows, with short gaps between."""
        half, quarter = sound.size // 2, sound.size // 4
        pieces = [(half, half), (0, half), *((at * quarter, quarter) for at in range(4))]
        for at, size in pieces:
            if size < LEAST_ANCHOR:
                continue
            found = [
                torn
                for anchor in self._peaks(sound[at : at + size], SHORT_ALIKE)
                if (torn := mended(self._samples, sound, at=at, place=anchor.start))
            ]
            if found:
                return found
        return []

    def _likeness(self, sound: Pcm) -> _Floats:
        """Return the normalised correlation of the sound with every place in the recording."""
        places = self._samples.size - sound.size + 1
        if places < 1 or _loudness(sound) < FAINT:
            return np.zeros(0)
        size = -(-self._samples.size // STEP) * STEP  # no place that counts wraps round
        wanted = np.conj(np.fft.rfft(sound.astype(np.float64), size))
        products = np.fft.irfft(self._spectrum(size) * wanted, size)[:places]
        energy = self._energy[sound.size :][:places] - self._energy[:places]
        own = float((sound.astype(np.float64) ** 2).sum())
        least = FAINT**2 * sound.size / 4  # silence resembles nothing
        return products / np.sqrt(np.maximum(energy, least) * own)

    def _spectrum(self, size: int) -> NDArray[np.complexfloating[Any, Any]]:
        if size not in self._spectra:
            self._spectra[size] = np.fft.rfft(self._samples, size)
        return self._spectra[size]


def _loudness(sound: Pcm) -> float:
    return float(np.sqrt((sound.astype(np.float64) ** 2).mean())) if sound.size else 0.0
