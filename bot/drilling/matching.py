"""Finds known sounds in a recording, to the sample: pure, on arrays.

A word that a simulated voice sent reaches the caller's ear with nothing done to it but the
telephone's coding, so the same samples correlate with the recording at 0.99 and more, and another
word's do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
_Floats: TypeAlias = NDArray[np.floating[Any]]

RATE_HZ: Final = 8000
ALIKE: Final = 0.95  # chosen; coding alone leaves 0.99, another word of the same voice under 0.9
SHORT_ALIKE: Final = 0.98  # a single vowel resembles other vowels of its voice more than words do
SHORT: Final = RATE_HZ // 10
BLOCK: Final = RATE_HZ // 20  # a word that was torn apart is looked for in such pieces
TEAR_MOST: Final = RATE_HZ // 4  # silence inside a word; with more it is no longer one word
STEP: Final = 4096  # transforms of its multiples are quick
FAINT: Final = 40.0  # of 32768, root mean square: below it there is nothing to recognise


@dataclass(frozen=True, slots=True)
class Match:
    """Where a sound stands in a recording, in samples, and how alike it is (0 to 1)."""

    start: int
    end: int
    alike: float


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
        """Return the places where most of the sound's pieces follow each other, a gap between."""
        starts = range(0, max(1, sound.size - BLOCK // 2), BLOCK)
        pieces = [(at, sound[at : at + BLOCK]) for at in starts]
        loud = [(at, piece) for at, piece in pieces if _loudness(piece) >= FAINT]
        if len(loud) < 3:  # too little to be sure of
            return []
        found = [(at, sorted(self._peaks(piece, ALIKE), key=_start)) for at, piece in loud]
        return _chains(found, length=sound.size)

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


def _start(match: Match) -> int:
    return match.start


def _loudness(sound: Pcm) -> float:
    return float(np.sqrt((sound.astype(np.float64) ** 2).mean())) if sound.size else 0.0


def _chains(found: Sequence[tuple[int, Sequence[Match]]], *, length: int) -> list[Match]:
    """Return where the pieces stand in order; all but one, which the gap went through."""
    chains: list[Match] = []
    firsts = [match for _, places in found[:2] for match in places]
    for first in firsts:
        chain = _chain(first, found)
        if len(chain) >= len(found) - 1 and not any(_overlap(chain, each) for each in chains):
            alike = min(match.alike for match in chain)
            chains.append(Match(chain[0].start, max(chain[-1].end, chain[0].start + 1), alike))
    return [each for each in chains if each.end - each.start <= length + TEAR_MOST]


def _chain(first: Match, found: Sequence[tuple[int, Sequence[Match]]]) -> list[Match]:
    chain: list[Match] = []
    place_of_first = next(at for at, places in found if first in places)
    for at, places in found:
        if at < place_of_first:
            continue
        nominal = (chain[0].start if chain else first.start) + at - place_of_first
        earliest = chain[-1].end if chain else first.start
        fits = [
            each
            for each in places
            if max(earliest, nominal) - 1 <= each.start <= nominal + TEAR_MOST
        ]
        if fits:
            chain.append(fits[0])
    return chain


def _overlap(chain: Sequence[Match], other: Match) -> bool:
    return chain[0].start < other.end and other.start < chain[-1].end
