"""Follows a known sound across gaps: pure, on arrays.

If audio reaches a telephone some milliseconds late, there is silence in the middle of a word. A
listener hears a click and the word; so does the judge. From a part that was found for certain, the
sound is followed to both ends, sample by sample, and searched for again after each gap. A browser
also compresses sound in time if it has buffered too much.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.sound import RATE_HZ, Match

_Floats: TypeAlias = NDArray[np.floating[Any]]

TEAR_MOST: Final = RATE_HZ // 4  # silence inside a word; with more it is no longer one word
GRAIN: Final = RATE_HZ // 200  # the step in which a sound is followed
PROBE: Final = GRAIN * 5  # the length of sound to find again
HISS: Final = 30.0  # of 32768: inaudible differences
ENOUGH: Final = 0.75  # of the audible grains must be there: each gap costs one
FAINT: Final = 100.0  # of 32768, root mean square: fainter grains are hardly heard
LEAST: Final = 0.7  # of its length; with less it is no longer the word


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """Damage to a word, besides gaps, that is accepted.

    Attributes:
        differs: The share of a grain's energy that may differ.
        again: The correlation needed to find the sound again after a gap.
        squeezed: The samples that may be left out in one place.
        patient: If the sound is not found after a gap, search further on.
    """

    differs: float = 0.1  # the telephone's coding causes 0.001
    again: float = 0.95  # chosen, as in `matching`
    squeezed: int = 0
    patient: bool = False


TELEPHONE: Final = Wear()


def mend(
    recording: _Floats, sound: _Floats, *, at: int, place: int, wear: Wear = TELEPHONE
) -> Match | None:
    """Return the place of a torn sound, if nearly all of it is there.

    Args:
        recording: What was heard.
        sound: What was sent.
        at: A sample of the sound that was found for certain ...
        place: ... at this sample of the recording.
        wear: Further accepted damage.
    """
    end, after = _follow(recording[place:], sound[at:], wear)
    # Backwards equals forwards on reversed arrays.
    start, before = _follow(recording[:place][::-1], sound[:at][::-1], wear)
    there = (before + after) / max(1, _audible(sound[at:]) + _audible(sound[:at][::-1]))
    longer = end + start - sound.size
    if there < ENOUGH or not (LEAST - 1) * sound.size <= longer <= TEAR_MOST:
        return None
    return Match(place - start, place + end, min(1.0, there))


def _audible(sound: _Floats) -> int:
    """Return how many grains of a sound are audible."""
    return sum(_loud(sound[at : at + GRAIN]) for at in range(0, sound.size, GRAIN))


def _loud(grain: _Floats) -> bool:
    return float((grain**2).sum()) >= FAINT**2 * grain.size


def _follow(recording: _Floats, sound: _Floats, wear: Wear) -> tuple[int, int]:
    """Return how far the sound was followed in the recording, and its grains so far."""
    at = place = last = grains = 0
    while at < sound.size:
        grain = sound[at : at + GRAIN]
        heard = recording[place : place + grain.size]
        if _same(heard, grain, wear.differs):
            at, place = at + grain.size, place + grain.size
            last, grains = place, grains + _loud(grain)
            continue
        at += grain.size  # the gap runs through this one
        first = max(0, place - wear.squeezed)
        found = _again(recording[first:], sound[at : at + PROBE], least=wear.again)
        if found is not None:
            place = first + found
        elif not wear.patient:
            break
    return last, grains


def _same(heard: _Floats, grain: _Floats, differs: float) -> bool:
    if heard.size < grain.size:
        return False
    other = float(((heard - grain) ** 2).sum())
    return other <= differs * float((grain**2).sum()) + HISS**2 * grain.size


def _again(recording: _Floats, probe: _Floats, *, least: float) -> int | None:
    """Return the place near its beginning where the sound goes on."""
    window = recording[: TEAR_MOST + probe.size]
    if probe.size < GRAIN or window.size < probe.size:
        return None
    products = np.correlate(window, probe, mode="valid")
    energy = np.convolve(window**2, np.ones(probe.size), mode="valid")
    own = float((probe**2).sum())
    alike = products / np.sqrt(np.maximum(energy, HISS**2 * probe.size) * max(own, 1.0))
    best = int(alike.argmax())
    return best if alike[best] >= least else None
