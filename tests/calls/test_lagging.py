"""What our own lag is told as: once an incident, with the longest of it."""

from calls.events import ProcessLagged
from calls.lagging import QUIET_S, TOLD_S, Lagging

NOW = 100.0


def test_what_no_caller_notices_is_not_told() -> None:
    lagging = Lagging()

    assert lagging.note("loop", TOLD_S / 2, step="a", now=NOW) == ()
    assert lagging.tick(NOW + QUIET_S) == ()


def test_the_first_stall_is_told_at_once_and_those_that_follow_together() -> None:
    lagging = Lagging()

    first = lagging.note("loop", 1.0, step="a", now=NOW)
    kept = [lagging.note("loop", lag_s, step=step, now=NOW + 1) for lag_s, step in STALLS]
    early = lagging.tick(NOW + QUIET_S - 1)
    later = lagging.tick(NOW + QUIET_S)

    assert first == (ProcessLagged(where="loop", lag_s=1.0, step="a", times=1),)
    assert kept == [(), (), ()]
    assert early == ()
    assert later == (ProcessLagged(where="loop", lag_s=3.0, step="c", times=3),)


STALLS = ((0.5, "b"), (3.0, "c"), (0.4, "d"))


def test_after_a_quiet_while_the_next_stall_is_told_at_once_again() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)

    assert lagging.tick(NOW + QUIET_S) == ()
    (told,) = lagging.note("loop", 0.5, step="b", now=NOW + QUIET_S)

    assert (told.lag_s, told.step) == (0.5, "b")


def test_each_place_is_told_of_by_itself() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)

    assert [each.where for each in lagging.note("line", 0.3, step="", now=NOW)] == ["line"]
    assert lagging.note("loop", 1.0, step="a", now=NOW) == ()
