"""Our own lag, with numbers for time: the provider's clock stops while we stall."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallbacks.attempt_events import Ask, AttemptAction, EmitEvent, Failed, Progressed, Stop
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.deadline import Deadline
from fallbacks.events import AttemptDropped, AttemptFailed, AttemptWon, Suspected
from fallbacks.failure import Kind, failed
from fallbacks.ladder import Allowance, StagePolicy
from fallbacks.lag import GRACE_S, PERIOD_S, SLACK_S, Lag
from fallbacks.stt_times import FIRST_CONNECTION_S
from fallbacks.tts_times import CONNECT_S
from processors.hearing.feed_rules import Feed
from processors.speaking.rung import Connection

NOW = 100.0
UNTIL = Deadline(at=NOW + 1.5)


def beaten(lag: Lag, *, since: float, until: float) -> None:
    """Let the loop run in time."""
    for beat in range(round((until - since) / PERIOD_S) + 1):
        lag.beat(since + beat * PERIOD_S)


def test_a_running_loop_reports_no_stall() -> None:
    lag = Lag()
    beaten(lag, since=NOW, until=NOW + 10.0)

    assert lag.provider_s(NOW + 10.0) == NOW + 10.0
    assert lag.moment_of(NOW + 11.0) == NOW + 11.0


def test_there_is_no_stall_before_or_after_the_measurement() -> None:
    lag = Lag()
    assert lag.provider_s(NOW) == NOW

    lag.beat(NOW)
    lag.stop()

    assert lag.provider_s(NOW + 60.0) == NOW + 60.0


def test_a_stall_is_known_on_demand_before_the_ticker_has_run() -> None:
    lag = Lag()
    beaten(lag, since=NOW, until=NOW + 1.0)

    assert lag.stalled_s(NOW + 4.0) == pytest.approx(3.0 - PERIOD_S)
    lag.beat(NOW + 4.0)
    assert lag.stalled_s(NOW + 4.0) == pytest.approx(3.0 - PERIOD_S)


def test_after_a_stall_the_providers_clock_continues_a_grace_later() -> None:
    lag = Lag()
    beaten(lag, since=NOW, until=NOW + 1.0)
    asked_s = lag.provider_s(NOW + 1.0)

    beaten(lag, since=NOW + 2.0, until=NOW + 2.0 + GRACE_S)

    assert lag.provider_s(NOW + 2.0 + GRACE_S) == pytest.approx(asked_s + PERIOD_S)
    assert lag.moment_of(asked_s + 0.5) == pytest.approx(NOW + 2.5 + GRACE_S - PERIOD_S)


def test_a_loop_that_is_always_a_little_late_still_detects_a_silent_rung() -> None:
    lag = Lag()
    for beat in range(100):  # 5 s of steps of 50 ms
        lag.beat(NOW + beat * 0.05)

    assert lag.provider_s(NOW + 4.95) - NOW > 1.5


@given(
    steps=st.lists(st.floats(min_value=0.001, max_value=4.0), min_size=1, max_size=40),
    asks=st.lists(st.floats(min_value=0.0, max_value=1.0), min_size=40, max_size=40),
)
def test_the_providers_clock_goes_neither_back_nor_faster_than_time(
    steps: Sequence[float], asks: Sequence[float]
) -> None:
    lag, now, shown_s = Lag(), NOW, NOW
    lag.beat(now)
    for step_s, ask in zip(steps, asks, strict=False):
        asked_at = now + ask * step_s
        between_s = lag.provider_s(asked_at)  # a query in the middle of a step
        now += step_s
        lag.beat(now)
        then_s = lag.provider_s(now)

        assert shown_s - 1e-9 <= between_s <= then_s + SLACK_S + 1e-9
        assert shown_s - 1e-9 <= then_s <= shown_s + step_s + 1e-9
        assert then_s - shown_s <= 2 * (PERIOD_S + SLACK_S) + 1e-9
        shown_s = then_s


@given(
    steps=st.lists(st.floats(min_value=0.001, max_value=4.0), min_size=1, max_size=20),
    more_s=st.floats(min_value=0.001, max_value=10.0),
)
def test_a_moment_has_come_when_the_providers_clock_shows_it(
    steps: Sequence[float], more_s: float
) -> None:
    lag, now = Lag(), NOW
    lag.beat(now)
    for step_s in steps:
        now += step_s
        lag.beat(now)
    wanted_s = lag.provider_s(now) + more_s

    at = lag.moment_of(wanted_s)

    lag.stop()  # nothing stalls any more
    assert at > now
    assert lag.provider_s(at) == pytest.approx(wanted_s)
    assert lag.provider_s(at - more_s / 2) < wanted_s


def work(
    lag: Lag, *names: str, hedges: Allowance | None = None
) -> tuple[Attempting, AvailabilityTable]:
    places = [Place(stage="llm", provider=name, credential=name) for name in names]
    availability = AvailabilityTable(places, now=NOW)
    policy = StagePolicy(stage="llm", availability=availability, lag=lag, hedges=hedges)
    return Attempting(policy, numbers=itertools.count(1)), availability


def kinds(steps: Sequence[AttemptAction]) -> list[type]:
    return [type(step.fact if isinstance(step, EmitEvent) else step) for step in steps]


@pytest.mark.parametrize("length_s", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("hedged", [False, True])
def test_our_stall_neither_makes_a_rung_late_nor_starts_a_race(
    *, length_s: float, hedged: bool
) -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW)
    hedges = Allowance(share=0.5, floor=3) if hedged else None
    asked, availability = work(lag, "a", "b", hedges=hedges)
    asked.start(UNTIL, NOW)

    after = NOW + length_s
    rung = asked.tick(after)  # the alarm is the first to run
    woken = asked.wake_at
    won = asked.handle(Progressed(attempt=1), after + GRACE_S / 2)

    assert rung == ()
    assert woken is not None
    assert woken > after + GRACE_S
    assert kinds(won) == [AttemptWon, *kinds(won)[1:]]
    assert availability.of("llm", "a").latency.quantile(0.95) == availability.of(
        "llm", "b"
    ).latency.quantile(0.95)
    assert availability.of("llm", "a").suspect_since is None


def test_a_rung_that_stays_silent_after_our_stall_is_late_by_its_own_clock() -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW)
    asked, _ = work(lag, "a", "b")
    asked.start(UNTIL, NOW)
    asked.tick(NOW + 3.0)

    late_at = asked.wake_at
    assert late_at is not None
    beaten(lag, since=NOW + 3.0, until=late_at)

    assert Suspected in kinds(asked.tick(late_at))


def test_a_late_rung_is_not_given_up_before_sound_from_our_stall_was_read() -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW + 1.0)
    asked, availability = work(lag, "a")
    asked.start(UNTIL, NOW)
    asked.tick(NOW + 0.8)  # late, through its own fault

    after = NOW + 4.0
    at_once = asked.tick(after)
    answered = asked.handle(Progressed(attempt=1), after + GRACE_S / 2)

    assert not any(isinstance(item, Stop) for item in at_once)
    assert AttemptFailed not in kinds(answered)
    assert availability.of("llm", "a").breaker.failures == 0


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.STALLED])
def test_a_librarys_timeout_during_our_stall_is_no_failure_and_the_same_rung_is_asked(
    kind: Kind,
) -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW)
    asked, availability = work(lag, "a", "b")
    asked.start(UNTIL, NOW)

    failure = failed(kind, "llm", provider="a")
    steps = asked.handle(Failed(attempt=1, failure=failure), NOW + 1.0)

    assert AttemptDropped in kinds(steps)
    assert AttemptFailed not in kinds(steps)
    assert [step.provider for step in steps if isinstance(step, Ask)] == ["a"]
    assert availability.of("llm", "a").breaker.failures == 0


def test_a_timeout_without_a_stall_of_ours_counts_against_the_rung() -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW + 0.4)
    asked, _ = work(lag, "a", "b")
    asked.start(UNTIL, NOW)

    failure = failed(Kind.TIMEOUT, "llm", provider="a")
    steps = asked.handle(Failed(attempt=1, failure=failure), NOW + 0.4)

    assert AttemptFailed in kinds(steps)
    assert [step.provider for step in steps if isinstance(step, Ask)] == ["b"]


def test_a_connection_that_is_made_while_we_stall_is_not_hanging() -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW)
    connection = Connection("cartesia", lag=lag)
    connection.began(NOW)

    assert connection.report_failure(NOW + 3.0) is None
    beaten(lag, since=NOW + 3.0, until=NOW + 4.0)
    assert connection.report_failure(NOW + 3.0 + GRACE_S + CONNECT_S) is not None


def test_a_recogniser_is_neither_mute_nor_overdue_while_we_stall() -> None:
    lag = Lag()
    beaten(lag, since=NOW - 1.0, until=NOW)
    feed = Feed("deepgram", reconnected_by_us=True, lag=lag)
    feed.opening.note_started(NOW)

    assert not feed.opening.note_overdue(NOW + FIRST_CONNECTION_S + 1.0)
    beaten(lag, since=NOW + FIRST_CONNECTION_S + 1.0, until=NOW + 2 * FIRST_CONNECTION_S + 2.0)
    assert feed.opening.note_overdue(NOW + 2 * FIRST_CONNECTION_S + 2.0)
