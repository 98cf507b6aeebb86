"""Reports of our own lag: one per incident, with its longest stall."""

from bot.workers.lag_rules import MIN_LAG_S, SAME_PLACE_S, Lagging
from calls.events import ProcessLagged

NOW = 100.0


def test_an_unnoticeable_stall_is_not_reported() -> None:
    lagging = Lagging()

    assert lagging.note("loop", MIN_LAG_S / 2, step="a", now=NOW) == ()
    assert lagging.tick(NOW + SAME_PLACE_S) == ()


def test_the_first_stall_is_reported_at_once_and_later_ones_together() -> None:
    lagging = Lagging()

    first = lagging.note("loop", 1.0, step="a", now=NOW)
    kept = [lagging.note("loop", lag_s, step=step, now=NOW + 1) for lag_s, step in STALLS]
    early = lagging.tick(NOW + SAME_PLACE_S - 1)
    later = lagging.tick(NOW + SAME_PLACE_S)

    assert first == (ProcessLagged(where="loop", lag_s=1.0, step="a", times=1),)
    assert kept == [(), (), ()]
    assert early == ()
    assert later == (ProcessLagged(where="loop", lag_s=3.0, step="c", times=3),)


STALLS = ((0.5, "b"), (3.0, "c"), (0.4, "d"))


def test_after_a_quiet_period_the_next_stall_is_reported_at_once_again() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)

    assert lagging.tick(NOW + SAME_PLACE_S) == ()
    (told,) = lagging.note("loop", 0.5, step="b", now=NOW + SAME_PLACE_S)

    assert (told.lag_s, told.step) == (0.5, "b")


def test_each_place_is_reported_separately() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)

    assert [
        process_lagged.where for process_lagged in lagging.note("line", 0.3, step="", now=NOW)
    ] == ["line"]
    assert lagging.note("loop", 1.0, step="a", now=NOW) == ()


def test_a_barely_noticeable_stall_is_reported() -> None:
    (told,) = Lagging().note("line", MIN_LAG_S, step="a", now=NOW)

    assert told == ProcessLagged(where="line", lag_s=MIN_LAG_S, step="a", times=1)


def test_the_first_of_two_equal_stalls_is_named() -> None:
    lagging = Lagging()
    for step in ("told", "b", "c"):
        lagging.note("loop", 1.0, step=step, now=NOW)

    assert lagging.tick(NOW + SAME_PLACE_S) == (
        ProcessLagged(where="loop", lag_s=1.0, step="b", times=2),
    )


def test_lasting_lag_is_reported_at_intervals_and_not_each_time() -> None:
    lagging = Lagging()
    told = [len(lagging.note("loop", 1.0, step="a", now=NOW))]
    for second in range(1, 41):
        told.append(len(lagging.note("loop", 1.0, step="a", now=NOW + second)))
        told.append(len(lagging.tick(NOW + second)))

    assert sum(told) == 5


def test_a_place_that_is_not_due_does_not_delay_others() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)
    lagging.note("line", 1.0, step="b", now=NOW + 5)
    lagging.note("loop", 1.0, step="a", now=NOW + 6)
    lagging.note("line", 1.0, step="b", now=NOW + 6)

    told = [[item.where for item in lagging.tick(NOW + later)] for later in (10, 15)]

    assert told == [["loop"], ["line"]]


def test_a_quiet_place_does_not_delay_others() -> None:
    lagging = Lagging()
    lagging.note("loop", 1.0, step="a", now=NOW)
    for _ in range(2):
        lagging.note("line", 1.0, step="b", now=NOW)

    assert [item.where for item in lagging.tick(NOW + SAME_PLACE_S)] == ["line"]
