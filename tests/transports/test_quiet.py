"""How long a line has been silent."""

import pytest

from transports.far_end import Quiet


class Line:
    """A line on a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.quiet = Quiet(lambda: self.now)

    def pause(self, for_s: float) -> None:
        self.now += for_s

    def hear(self, *after_s: float) -> None:
        for number in after_s:
            self.pause(number)
            self.quiet.note()


def test_before_the_first_sound_there_is_no_pause() -> None:
    line = Line()
    line.pause(5.0)
    assert line.quiet.now_s == 0.0

    line.hear(5.0)
    assert line.quiet.take_longest_s() == 0.0


def test_missing_expected_sound_is_a_pause_that_has_not_ended() -> None:
    line = Line()
    line.quiet.expect()
    line.pause(3.0)
    assert line.quiet.now_s == pytest.approx(3.0)

    line.hear(2.0)
    assert line.quiet.now_s == 0.0
    assert line.quiet.take_longest_s() == 0.0


def test_sound_before_it_was_expected_counts() -> None:
    line = Line()
    line.hear(0.0)
    line.pause(3.0)
    line.quiet.expect()

    assert line.quiet.now_s == pytest.approx(3.0)


def test_a_lasting_pause_has_not_ended() -> None:
    line = Line()
    line.hear(0.0)
    line.pause(3.0)

    assert line.quiet.now_s == pytest.approx(3.0)
    assert line.quiet.take_longest_s() == 0.0


def test_an_ended_pause_is_reported_once_however_late() -> None:
    line = Line()
    line.hear(0.0, 0.02, 1.25, 0.02, 0.02)

    assert line.quiet.take_longest_s() == pytest.approx(1.25)
    line.hear(0.02)
    assert line.quiet.take_longest_s() == pytest.approx(0.02)
