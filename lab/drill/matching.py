"""Finds known sounds in a recording, to the sample: pure, on arrays.

A simulated voice's word reaches a telephone unchanged except for the telephone's coding. So its
samples correlate with the recording at 0.99 and more, and those of another word do not. A browser's
codec loses more of the lowest and the highest frequencies, and its clock differs. For browsers only
the middle of the band is compared, and also at positions between samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.mending import Wear, mend
from lab.drill.sound import RATE_HZ, Match, Pcm

_Floats: TypeAlias = NDArray[np.floating[Any]]
_Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]

SHORT: Final = RATE_HZ // 10  # samples; shorter sounds need `EarPath.short_alike`
MIN_ANCHOR: Final = RATE_HZ // 40  # the shortest part that identifies a torn sound
STEP: Final = 4096  # samples; transforms of its multiples are fast, so sizes are rounded up
FAINT: Final = 40.0  # of 32768, root mean square: fainter sounds cannot be recognised
RINGING: Final = RATE_HZ // 4  # samples; how long a filter rings after the end of a sound


@dataclass(frozen=True, slots=True, kw_only=True)
class EarPath:
    """The effect of a line on sound.

    Attributes:
        alike: The lowest correlation with the recording at which a word counts as found.
        short_alike: The same for words under 0.1 s, because a single vowel resembles other vowels
            of its voice more than a longer word resembles other words.
        wear: The accepted damage to a word that is not found as a whole.
        band_hz: The frequencies to compare; `None` for all.
        finer: The number of positions to try for each sample.
    """

    alike: float
    short_alike: float
    wear: Wear = field(default_factory=Wear)
    band_hz: tuple[float, float] | None = None
    finer: int = 1


# Chosen: coding alone leaves 0.99, another word of the same voice is under 0.9.
TELEPHONE: Final = EarPath(alike=0.95, short_alike=0.98)


class SearchedRecording:
    """A recording to search for sounds."""

    def __init__(self, samples: Pcm, *, line: EarPath = TELEPHONE) -> None:
        self._line = line
        self._samples = self._compared_part(samples)
        energy = np.cumsum(self._samples**2)
        self._energy = np.concatenate([np.zeros(1), energy])
        self._spectra: dict[int, _Spectrum] = {}

    def matches(self, sound: Pcm) -> list[Match]:
        """Return every complete occurrence of the sound, or if there is none, torn ones."""
        least = self._line.alike if sound.size >= SHORT else self._line.short_alike
        wanted = self._compared_part(sound)
        if whole := list(self._best_matches(wanted, least)):
            return whole
        finer = self._line.finer
        delayed = (_delay_by_fraction(wanted, part / finer) for part in range(finer))
        return [match for sound_delayed in delayed for match in self._find_torn(sound_delayed)]

    def _compared_part(self, samples: Pcm) -> _Floats:
        """Return the part of a sound that is compared."""
        sound = samples.astype(np.float64)
        return sound if self._line.band_hz is None else _band_of(sound, *self._line.band_hz)

    def _best_matches(self, sound: _Floats, least: float) -> Iterator[Match]:
        """Yield the matches, best first; no two of them overlap by more than half."""
        likeness = self._likeness_at_places(sound)
        apart = max(1, sound.size // 2)
        while likeness.size:
            best = int(likeness.argmax())
            if likeness[best] < least:
                return
            yield Match(best, best + sound.size, float(likeness[best]))
            likeness[max(0, best - apart) : best + apart] = -np.inf

    def _find_torn(self, sound: _Floats) -> list[Match]:
        """Return the places where nearly all of a sound occurs, with short gaps.

        They are found by one part of the sound: its second half, its first half, or a quarter.
        """
        half, quarter = sound.size // 2, sound.size // 4
        pieces = [(half, half), (0, half), *((at * quarter, quarter) for at in range(4))]
        for at, size in pieces:
            if size < MIN_ANCHOR:
                continue
            found = [
                torn
                for anchor in self._best_matches(sound[at : at + size], self._line.short_alike)
                if (torn := self._mend_match(sound, at, anchor.start))
            ]
            if found:
                return found
        return []

    def _mend_match(self, sound: _Floats, at: int, place: int) -> Match | None:
        """Return a match with its gaps mended, `None` if too little of the sound follows."""
        return mend(self._samples, sound, at=at, place=place, wear=self._line.wear)

    def _likeness_at_places(self, sound: _Floats) -> _Floats:
        """Return the normalised correlation of the sound with every place in the recording."""
        places = self._samples.size - sound.size + 1
        if places < 1 or _rms_loudness(sound) < FAINT:
            return np.zeros(0)
        size = -(-self._samples.size // STEP) * STEP  # no relevant place wraps around
        spectrum = self._recording_spectrum(size) * np.conj(_to_spectrum(sound, size))
        energy = self._energy[sound.size :][:places] - self._energy[:places]
        own = float((sound**2).sum())
        least = FAINT**2 * sound.size / 4  # so that near-silence matches nothing
        products = self._best_correlation(spectrum, size)[:places]
        return products / np.sqrt(np.maximum(energy, least) * own)

    def _best_correlation(self, spectrum: _Spectrum, size: int) -> _Floats:
        """Return the correlation at each sample, the best of the positions up to the next one."""
        finer = self._line.finer
        between = np.fft.irfft(spectrum, size * finer) * finer
        best = between[::finer].copy()
        for part in range(1, finer):
            np.maximum(best, between[part::finer], out=best)
        return best

    def _recording_spectrum(self, size: int) -> _Spectrum:
        """Return the recording's spectrum of `size` samples; computed once for each size."""
        if size not in self._spectra:
            self._spectra[size] = _to_spectrum(self._samples, size)
        return self._spectra[size]


def _to_spectrum(sound: _Floats, size: int) -> _Spectrum:
    """Return a sound's spectrum in single precision, which takes a third of the time.

    Likenesses keep three decimals, even next to the loudest voices.
    """
    return np.fft.rfft(sound.astype(np.float32), size)


def _band_of(sound: _Floats, low_hz: float, high_hz: float) -> _Floats:
    """Return the part of a sound within a band, without a time shift."""
    size = -(-(sound.size + RINGING) // STEP) * STEP
    tones = np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 1.0)
    # A Butterworth filter has a flat band with soft edges; hard ones would ring into other words.
    kept = 1 / np.sqrt((1 + (low_hz / tones) ** 8) * (1 + (tones / high_hz) ** 16))
    filtered: _Floats = np.fft.irfft(np.fft.rfft(sound, size) * kept, size)[: sound.size]
    return filtered


def _delay_by_fraction(sound: _Floats, parts: float) -> _Floats:
    """Return a sound delayed by a fraction of a sample."""
    if not parts:
        return sound
    size = sound.size + RINGING
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * parts)
    moved: _Floats = np.fft.irfft(np.fft.rfft(sound, size) * turns, size)[: sound.size]
    return moved


def _rms_loudness(sound: _Floats) -> float:
    return float(np.sqrt((sound**2).mean())) if sound.size else 0.0
