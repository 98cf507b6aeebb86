"""Follows a known sound across gaps: pure, on arrays.

If audio reaches a telephone a few milliseconds late, there is silence in the middle of a word. A
listener still understands the word, so the judge accepts it. From a part that was found for
certain, the sound is followed to both ends, grain by grain, and searched for again after each gap.
A browser also compresses sound in time if it has buffered too much.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.drill.sound import RATE_HZ, Match

_Floats: TypeAlias = NDArray[np.floating[Any]]

MAX_TEAR: Final = RATE_HZ // 4  # samples of silence inside a word; with more it is not one word
GRAIN: Final = RATE_HZ // 200  # samples: the step in which a sound is followed
PROBE: Final = GRAIN * 5  # samples of the sound that are searched for after a gap
HISS: Final = 30.0  # of 32768: smaller differences are inaudible
MIN_FOUND: Final = 0.75  # the share of audible grains that must be found: each gap costs one
FAINT: Final = 100.0  # of 32768, root mean square: quieter grains are hardly audible
MIN_LENGTH: Final = 0.7  # of the sound's length; a shorter match is not the word


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """The accepted damage to a word, besides gaps.

    Attributes:
        differs: The share of a grain's energy that may differ.
        again: The correlation needed to find the sound again after a gap.
        squeezed: How many samples may be missing in one place.
        patient: If the sound is not found after a gap, also search for later parts of it.
    """

    differs: float = 0.1  # the telephone's coding accounts for 0.001
    again: float = 0.95  # chosen, as in `matching`
    squeezed: int = 0
    patient: bool = False


TELEPHONE: Final = Wear()


def mend(
    recording: _Floats, sound: _Floats, *, at: int, place: int, wear: Wear = TELEPHONE
) -> Match | None:
    """Return the place of a torn sound, if nearly all of it is there; otherwise `None`.

    Args:
        recording: What was heard.
        sound: What was sent.
        at: A position in the sound that was found for certain, in samples.
        place: Its position in the recording.
        wear: The accepted damage besides gaps.
    """
    end, after = _follow_sound(recording[place:], sound[at:], wear)
    # Following backwards is following forwards in reversed arrays.
    start, before = _follow_sound(recording[:place][::-1], sound[:at][::-1], wear)
    audible = _count_audible(sound[at:]) + _count_audible(sound[:at][::-1])
    found = (before + after) / max(1, audible)
    added = end + start - sound.size  # by gaps; negative if the sound was compressed
    if found < MIN_FOUND or not (MIN_LENGTH - 1) * sound.size <= added <= MAX_TEAR:
        return None
    return Match(place - start, place + end, min(1.0, found))


def _count_audible(sound: _Floats) -> int:
    """Return how many grains of a sound are audible."""
    return sum(_is_audible(sound[at : at + GRAIN]) for at in range(0, sound.size, GRAIN))


def _is_audible(grain: _Floats) -> bool:
    return float((grain**2).sum()) >= FAINT**2 * grain.size


def _follow_sound(recording: _Floats, sound: _Floats, wear: Wear) -> tuple[int, int]:
    """Return how far the sound was followed in the recording, and how many audible grains match."""
    at = place = last = grains = 0
    while at < sound.size:
        grain = sound[at : at + GRAIN]
        heard = recording[place : place + grain.size]
        if _is_same(heard, grain, wear.differs):
            at, place = at + grain.size, place + grain.size
            last, grains = place, grains + _is_audible(grain)
            continue
        at += grain.size  # this grain is lost in the gap
        first = max(0, place - wear.squeezed)
        found = _find_after_gap(recording[first:], sound[at : at + PROBE], least=wear.again)
        if found is not None:
            place = first + found
        elif not wear.patient:
            break
    return last, grains


def _is_same(heard: _Floats, grain: _Floats, differs: float) -> bool:
    if heard.size < grain.size:
        return False
    other = float(((heard - grain) ** 2).sum())
    return other <= differs * float((grain**2).sum()) + HISS**2 * grain.size


def _find_after_gap(recording: _Floats, probe: _Floats, *, least: float) -> int | None:
    """Return where the sound continues in the recording after a gap; `None` if it does not."""
    window = recording[: MAX_TEAR + probe.size]
    if probe.size < GRAIN or window.size < probe.size:
        return None
    products = np.correlate(window, probe, mode="valid")
    energy = np.convolve(window**2, np.ones(probe.size), mode="valid")
    own = float((probe**2).sum())
    alike = products / np.sqrt(np.maximum(energy, HISS**2 * probe.size) * max(own, 1.0))
    best = int(alike.argmax())
    return best if alike[best] >= least else None
