"""An utterance that a flush ends early is decoded with the quiet that belongs after it."""

from typing import Any

import numpy as np
import pytest

from lab.simulators.ears.heard import HearingSettings
from lab.simulators.ears.hearing import FRAME_S, FRAME_SAMPLES, SETTLE_FRAMES, Hearing
from tests.lab.simulators import synthetic_caller as caller

RATE_HZ = 16_000


class Notebook:
    """Replaces the recogniser: records the decoded sound, and hears no words."""

    def __init__(self, **settings: Any) -> None:
        self.searched: list[np.ndarray] = []

    def begin(self, *, gain: float) -> None:
        self.searched = []

    def add(self, samples: np.ndarray) -> None:
        self.searched.append(samples)

    def close(self) -> None:
        """There is nothing to close."""

    def words(self, *, offset_s: float) -> tuple[()]:
        return ()

    def others(self, count: int) -> tuple[()]:
        return ()


@pytest.mark.parametrize("quiet_s", [0.0, 0.06, 0.1, 0.3], ids=str)
def test_after_the_last_voiced_frame_there_is_always_as_much_quiet(quiet_s: float) -> None:
    books: list[Notebook] = []

    def notebook(**settings: Any) -> Any:
        books.append(Notebook(**settings))
        return books[-1]

    hearing = Hearing(HearingSettings(rate_hz=RATE_HZ, endpoint_s=None), recogniser=notebook)
    list(hearing.hear(caller.say("What are your opening hours?") + caller.noise(quiet_s, rms=3)))
    quiet = hearing._quiet_frames
    list(hearing.flush())

    (book,) = books
    ahead = np.concatenate(book.searched)[-(max(0, SETTLE_FRAMES - quiet) * FRAME_SAMPLES) :]
    assert quiet >= round(quiet_s / FRAME_S) - 1
    if quiet < SETTLE_FRAMES:
        assert ahead.size == (SETTLE_FRAMES - quiet) * FRAME_SAMPLES
        assert not ahead.any()
