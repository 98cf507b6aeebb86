"""Repeated lines are logged once a minute, with their number."""

from operations.telemetry.bridge import APART_S, Repeats


def test_a_repetition_within_a_minute_is_counted_and_logged_after_it() -> None:
    repeats = Repeats()

    assert [repeats.may_log("full", at) for at in (0.0, 1.0, 2.0)] == [True, False, False]
    assert list(repeats.due(APART_S - 1.0)) == []
    assert list(repeats.due(APART_S)) == [("full", 2)]


def test_lines_from_before_the_clock_was_set_back_suppress_nothing() -> None:
    repeats = Repeats()
    for at in (3600.0, 3601.0):
        repeats.may_log("full", at)

    assert list(repeats.due(10.0)) == [("full", 1)]
    assert not repeats.may_log("full", 11.0)
    assert list(repeats.due(10.0 + APART_S)) == [("full", 1)]
