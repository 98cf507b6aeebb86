"""Follows a known sound through gaps that were torn into it: pure, on arrays.

When audio arrives at a telephone some milliseconds too late, silence stands in the middle of a
word. A listener hears a click and the word; so does the judge. From a piece of the sound that was
found for certain it is followed to both ends, sample by sample, and looked for again behind each
gap.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bot.drilling.places import RATE_HZ, Match, Pcm

_Floats: TypeAlias = NDArray[np.floating[Any]]

TEAR_MOST: Final = RATE_HZ // 4  # silence inside a word; with more it is no longer one word
GRAIN: Final = RATE_HZ // 200  # how closely a sound is followed
PROBE: Final = GRAIN * 5  # what it is found again by
SAME: Final = 0.1  # of its energy may differ; the telephone's coding leaves 0.001
HISS: Final = 30.0  # of 32768: differences that nobody hears
ENOUGH: Final = 0.75  # of the audible grains must be there: each gap costs one
FAINT: Final = 100.0  # of 32768, root mean square: a grain below it is hardly heard
AGAIN: Final = 0.95  # chosen, as in `matching`


def mended(recording: _Floats, sound: Pcm, *, at: int, place: int) -> Match | None:
    """Return where a torn sound stands, if nearly all of it is there.

    Args:
        recording: What was heard.
        sound: What was sent.
        at: A sample of the sound that was found for certain ...
        place: ... at this sample of the recording.
    """
    wanted = sound.astype(np.float64)
    end, after = _followed(recording[place:], wanted[at:])
    # Backwards is forwards, seen from the end.
    start, before = _followed(recording[:place][::-1], wanted[:at][::-1])
    there = (before + after) / max(1, _audible(wanted[at:]) + _audible(wanted[:at][::-1]))
    if there < ENOUGH or end + start - sound.size > TEAR_MOST:
        return None
    return Match(place - start, place + end, min(1.0, there))


def _audible(sound: _Floats) -> int:
    """Return how many grains of a sound can be heard."""
    return sum(_loud(sound[at : at + GRAIN]) for at in range(0, sound.size, GRAIN))


def _loud(grain: _Floats) -> bool:
    return float((grain**2).sum()) >= FAINT**2 * grain.size


def _followed(recording: _Floats, sound: _Floats) -> tuple[int, int]:
    """Return where the sound was last followed to in the recording, and its grains so far."""
    at = place = last = grains = 0
    while at < sound.size:
        grain = sound[at : at + GRAIN]
        heard = recording[place : place + grain.size]
        if _same(heard, grain):
            at, place = at + grain.size, place + grain.size
            last, grains = place, grains + _loud(grain)
            continue
        at += grain.size  # the gap goes through this one
        found = _again(recording, sound[at : at + PROBE], place=place)
        if found is None:
            break
        place = found
    return last, grains


def _same(heard: _Floats, grain: _Floats) -> bool:
    if heard.size < grain.size:
        return False
    differs = float(((heard - grain) ** 2).sum())
    return differs <= SAME * float((grain**2).sum()) + HISS**2 * grain.size


def _again(recording: _Floats, probe: _Floats, *, place: int) -> int | None:
    """Return the first place near by where the sound goes on."""
    window = recording[place : place + TEAR_MOST + probe.size]
    if probe.size < GRAIN or window.size < probe.size:
        return None
    products = np.correlate(window, probe, mode="valid")
    energy = np.convolve(window**2, np.ones(probe.size), mode="valid")
    own = float((probe**2).sum())
    alike = products / np.sqrt(np.maximum(energy, HISS**2 * probe.size) * max(own, 1.0))
    best = int(alike.argmax())
    return place + best if alike[best] >= AGAIN else None
