"""For how long nothing has come over a line."""

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


def test_before_anything_has_come_there_is_no_pause() -> None:
    line = Line()
    line.pause(5.0)
    assert line.quiet.now_s == 0.0

    line.hear(5.0)
    assert line.quiet.take_longest_s() == 0.0


def test_what_is_expected_and_does_not_come_is_a_pause_that_has_not_ended() -> None:
    line = Line()
    line.quiet.expect()
    line.pause(3.0)
    assert line.quiet.now_s == pytest.approx(3.0)

    line.hear(2.0)
    assert line.quiet.now_s == 0.0
    assert line.quiet.take_longest_s() == 0.0


def test_what_has_come_before_it_was_expected_counts() -> None:
    line = Line()
    line.hear(0.0)
    line.pause(3.0)
    line.quiet.expect()

    assert line.quiet.now_s == pytest.approx(3.0)


def test_a_pause_that_goes_on_has_not_ended() -> None:
    line = Line()
    line.hear(0.0)
    line.pause(3.0)

    assert line.quiet.now_s == pytest.approx(3.0)
    assert line.quiet.take_longest_s() == 0.0


def test_a_pause_that_has_ended_is_known_however_late_one_asks_and_once() -> None:
    line = Line()
    line.hear(0.0, 0.02, 1.25, 0.02, 0.02)

    assert line.quiet.take_longest_s() == pytest.approx(1.25)
    line.hear(0.02)
    assert line.quiet.take_longest_s() == pytest.approx(0.02)
