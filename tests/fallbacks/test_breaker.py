"""The circuit breaker of one rung."""

from collections.abc import Callable, Sequence

import pytest

from fallbacks.breaker import TRANSITIONS, Breaker, BreakerSettings, Input, Permit, State
from fallbacks.events import BreakerMoved
from fallbacks.failure import Severity


def breaker(*, probing: bool = True) -> Breaker:
    return Breaker("tts", "cartesia", now=0.0, settings=BreakerSettings(probing=probing))


def permit(asked: Breaker, now: float = 0.0, *, probe: bool = False) -> Permit:
    given = asked.permit(now, probe=probe)
    assert given is not None
    return given


def opened(*, probing: bool = True) -> Breaker:
    made = breaker(probing=probing)
    made.trip(0.0)
    return made


def half_opened(*, probing: bool = True) -> Breaker:
    made = opened(probing=probing)
    made.tick(30.0)
    return made


@pytest.mark.parametrize("state", State)
def test_the_table_has_a_line_for_every_state_and_input(state: State) -> None:
    assert set(TRANSITIONS[state]) == set(Input)


def test_the_third_consecutive_failure_opens_a_breaker() -> None:
    asked = breaker()

    assert asked.failed(permit(asked), 1.0) == ()
    assert asked.failed(permit(asked), 2.0) == ()
    (moved,) = asked.failed(permit(asked), 3.0)

    assert moved == BreakerMoved(
        stage="tts",
        provider="cartesia",
        before="closed",
        after="open",
        cause="failures",
        after_s=3.0,
        severity=Severity.MEDIUM,
    )


def test_a_conclusive_failure_opens_a_breaker_at_once() -> None:
    asked = breaker()

    (moved,) = asked.failed(permit(asked), 1.0, trip=True, rest_s=900.0)

    assert moved.cause == "tripped"
    assert asked.wake_at == 901.0


def test_a_breaker_half_opens_after_its_rest_and_not_before() -> None:
    asked = opened()

    assert asked.tick(29.9) == ()
    (moved,) = asked.tick(30.0)

    assert (moved.before, moved.after, moved.cause) == ("open", "half_open", "rested")


@pytest.mark.parametrize(
    ("cause", "act"),
    [
        ("probe", lambda asked: asked.succeeded(permit(asked, 1.0, probe=True), 1.2)),
        ("reset", lambda asked: asked.reset(1.0)),
    ],
)
def test_a_good_probe_or_an_operator_half_opens_a_breaker_before_its_rest_is_over(
    cause: str, act: Callable[[Breaker], Sequence[BreakerMoved]]
) -> None:
    (moved,) = act(opened())

    assert (moved.after, moved.cause) == ("half_open", cause)


@pytest.mark.parametrize(("goes_well", "then"), [(True, "closed"), (False, "open")])
def test_a_callers_attempt_at_the_end_of_the_rest_is_counted(*, goes_well: bool, then: str) -> None:
    asked = opened()
    given = asked.permit(29.9, last_resort=True)
    assert given is not None

    asked.tick(30.0)
    assert asked.permit(30.1, last_resort=True) is None
    (asked.succeeded if goes_well else asked.failed)(given, 30.5)

    assert asked.state == then


def test_two_successes_close_a_breaker() -> None:
    asked = half_opened()

    assert asked.succeeded(permit(asked, 31.0, probe=True), 31.2) == ()
    (moved,) = asked.succeeded(permit(asked, 32.0, probe=True), 32.2)

    assert (moved.before, moved.after, moved.cause) == ("half_open", "closed", "proven")
    assert moved.severity is Severity.LOW


def test_a_failed_trial_may_name_its_rest() -> None:
    asked = half_opened()

    asked.failed(permit(asked, 31.0, probe=True), 32.0, rest_s=60.0)

    assert asked.wake_at == 92.0


def test_an_open_breaker_that_is_tripped_again_keeps_the_longer_rest() -> None:
    asked = opened()

    asked.trip(10.0, rest_s=100.0)
    asked.trip(20.0, rest_s=5.0)

    assert asked.wake_at == 110.0


def test_another_processs_opening_counts_while_its_rest_lasts() -> None:
    asked = breaker()

    (moved,) = asked.follow(State.OPEN, since=1.0, now=2.0, rest_s=0.5)

    assert moved.after == "open"
    assert asked.wake_at == 2.5


@pytest.mark.parametrize("made", [opened, half_opened])
def test_a_caller_without_another_rung_tries_an_open_one_and_a_success_closes_it(
    made: Callable[[], Breaker],
) -> None:
    asked = made()
    others_left = asked.permit(31.0)
    given = asked.permit(31.0, last_resort=True)
    second, probe = asked.permit(31.1, last_resort=True), asked.permit(31.1, probe=True)
    assert given is not None

    moved = asked.succeeded(given, 32.0)

    assert (others_left, second, probe) == (None, None, None)  # one trial at a time
    assert moved[-1].after == "closed"
    assert asked.state is State.CLOSED


@pytest.mark.parametrize("made", [opened, half_opened, lambda: half_opened(probing=False)])
def test_results_of_an_older_stream_do_not_count_for_an_open_breaker(
    made: Callable[[], Breaker],
) -> None:
    asked = made()
    before = asked.state

    for now in (31.0, 31.1):
        for learn in (asked.succeeded, asked.failed):
            given = asked.permit(now, hears=True)
            assert given is not None
            assert learn(given, now) == ()

    assert asked.state is before
    assert not asked.on_trial(31.2)


def test_a_rung_that_recovered_and_failed_again_is_no_longer_preferred() -> None:
    asked = opened()
    asked.succeeded(permit(asked, 1.0, probe=True), 1.4)
    (moved,) = asked.failed(permit(asked, 2.0, probe=True), 2.4)
    asked.tick(32.4)

    assert moved.after == "open"
    assert asked.state is State.HALF_OPEN
    assert not asked.probe_succeeded


def test_the_time_in_each_state_is_kept() -> None:
    asked = half_opened()
    asked.failed(permit(asked, 35.0, probe=True), 36.0)

    assert asked.spent_s(40.0) == {
        State.CLOSED: 0.0,
        State.OPEN: 30.0 + 4.0,
        State.HALF_OPEN: 6.0,
    }


def test_a_caller_does_not_wait_for_a_trial_by_a_probe() -> None:
    asked = half_opened()
    permit(asked, 31.0, probe=True)

    assert asked.on_trial(31.1)
    assert not asked.on_trial(31.1, by_probe=False)
