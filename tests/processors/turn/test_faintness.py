"""How soon a caller's faint sound is detected, and that noise is not silence."""

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.turn.sound_path import VAD_LATE_S, Faintness

RATE_HZ = 8000
PIECE = RATE_HZ // 50


def sound(length_s: float, level: float) -> NDArray[np.int16]:
    """Return sound of this level, at every other sample."""
    samples = np.full(round(length_s * RATE_HZ), level, np.float64)
    samples[::2] *= -1
    return samples.astype(np.int16)


def heard(*parts: NDArray[np.int16], piece: int = PIECE) -> float:
    """Return for how long the sound has been faint at the end."""
    faintness, samples = Faintness(), np.concatenate(parts)
    for at in range(0, len(samples), piece):
        faintness.hear(samples[at : at + piece], RATE_HZ)
    return faintness.lasts_s


@pytest.mark.parametrize("piece", [80, PIECE, 256, 1000], ids=str)
def test_silence_counts_from_the_last_loud_sample_however_the_sound_is_cut(piece: int) -> None:
    assert heard(sound(0.503, 8000), sound(0.1, 0), piece=piece) == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("level", "faint"), [(0, True), (100, True), (200, True), (300, False), (2000, False)], ids=str
)
def test_thirty_decibels_below_the_loudest_is_faint(level: float, *, faint: bool) -> None:
    assert (heard(sound(0.5, 8000), sound(0.1, level)) > 0) is faint


def test_a_faint_beginning_is_no_silence() -> None:
    assert heard(sound(0.5, 200)) == pytest.approx(0.0, abs=0.001)


def test_past_loud_sound_makes_nothing_faint() -> None:
    assert heard(sound(0.2, 30_000), sound(4.0, 1000)) == pytest.approx(0.0, abs=0.001)


def test_speech_ends_the_silence() -> None:
    assert heard(sound(0.5, 8000), sound(0.3, 0), sound(0.02, 4000)) == pytest.approx(0, abs=0.001)


def test_the_loudest_possible_sample_is_handled() -> None:
    lowest = np.full(PIECE, -32768, np.int16)

    assert heard(lowest, sound(0.1, 0)) == pytest.approx(0.1, abs=0.001)


def test_empty_sound_changes_nothing() -> None:
    assert heard(np.zeros(0, np.int16)) == 0.0


@pytest.mark.parametrize(
    ("faint_s", "later_s", "stopped_at"),
    [
        (0.0, 0.0, 99.8),
        (0.15, 0.0, 99.8),
        (0.24, 0.0, 99.76),
        (0.26, 0.02, 99.76),
        (2.0, 0.0, 99.8 - VAD_LATE_S),
        (0.0, 0.02, 99.8),
    ],
    ids=[
        "noise",
        "less than the VAD's silence",
        "more",
        "the same, asked later",
        "as much as is believed",
        "they speak on",
    ],
)
def test_the_stop_counts_from_the_faint_sound_if_the_vads_silence_began_late(
    faint_s: float, later_s: float, stopped_at: float
) -> None:
    faintness = Faintness()
    faintness.lasts_s = faint_s

    told = faintness.stopped_at(100.0, stop_s=0.2, now=100.0 + later_s)

    assert told == pytest.approx(stopped_at)
