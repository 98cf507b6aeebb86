"""One request: which rung is asked, wins or is cancelled, and which events each attempt emits."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    AttemptEvent,
    CancelReason,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Paused,
    Progressed,
    Resumed,
    Stop,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings
from fallbacks.deadline import Deadline
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    FallbackEvent,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
    Suspected,
)
from fallbacks.failure import Failure, Kind, Scope, Severity, failed, finding
from fallbacks.ladder import Allowance, Pace, StagePolicy

NOW = 100.0
UNTIL = Deadline(at=101.5)
PACE = Pace(late_min_s=0.35, late_max_s=0.8, gap_s=0.4)
F = TypeVar("F", bound=FallbackEvent)


class Request(Attempting):
    """A request that returns its actions without the events, and keeps those."""

    def __init__(self, policy: StagePolicy, *, stay_with: str | None = None) -> None:
        super().__init__(policy, numbers=itertools.count(1), stay_with=stay_with)
        self.facts: list[FallbackEvent] = []
        self.kinds: list[list[type]] = []  # of each step, in order

    def start(self, until: Deadline, now: float) -> tuple[AttemptAction, ...]:
        return self._told(super().start(until, now))

    def handle(self, event: AttemptEvent, now: float) -> tuple[AttemptAction, ...]:
        return self._told(super().handle(event, now))

    def tick(self, now: float) -> tuple[AttemptAction, ...]:
        return self._told(super().tick(now))

    def cancel(self, because: CancelReason) -> tuple[AttemptAction, ...]:
        return self._told(super().cancel(because))

    def told(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def lateness(self) -> list[tuple[str, Kind]]:
        """The rungs that became suspect, and why."""
        return [(fact.provider, fact.kind) for fact in self.told(Suspected)]

    @property
    def extras(self) -> list[int]:
        """The attempts that the allowance paid for."""
        return [fact.attempt for fact in self.told(AttemptStarted) if fact.extra]

    def _told(self, actions: Sequence[AttemptAction]) -> tuple[AttemptAction, ...]:
        facts = [action.fact for action in actions if isinstance(action, EmitEvent)]
        self.facts += facts
        self.kinds.append([type(action) for action in actions])
        return tuple(action for action in actions if not isinstance(action, EmitEvent))


class Stage:
    """Rungs that a test can break; each takes 0.5 s, and no failure opens a breaker."""

    def __init__(self, *providers: str, failures: int = 100) -> None:
        places = [Place(stage="llm", provider=name, credential=name) for name in providers]
        settings = BreakerSettings(failures=failures)
        table = AvailabilityTable(places, now=NOW, settings=settings, priors_s={"llm": 0.5})
        self.policy = StagePolicy(stage="llm", availability=table, pace=PACE)

    def work(self, *, stay_with: str | None = None) -> Request:
        return Request(self.policy, stay_with=stay_with)

    def fail_another_call(self, provider: str, kind: Kind) -> None:
        """Let a rung fail another call, so that the next failure is not one call's content."""
        rung = self.policy.availability.of("llm", provider)
        permit = rung.permit(NOW)
        assert permit is not None
        rung.failed(permit, failure(provider, kind), now=NOW, call="another")

    def close(self, provider: str) -> None:
        self.policy.availability.set_out(provider, NOW, out=True)

    def spend(self) -> None:
        while self.policy.allowance.take():
            pass


def begun(*providers: str, allowance: bool = True) -> Request:
    stage = Stage(*providers)
    if not allowance:
        stage.spend()
    work = stage.work()
    work.start(UNTIL, NOW)
    return work


def failure(provider: str, kind: Kind = Kind.OVERLOADED) -> Failure:
    return failed(kind, "llm", provider=provider)


def start(attempt: int, provider: str, *, mended: bool = False) -> Ask:
    return Ask(attempt=attempt, provider=provider, mended=mended)


def late(attempt: int, provider: str) -> Stop:
    return Stop(attempt=attempt, provider=provider, because="late")


def test_a_healthy_rung_is_asked_once_and_heard() -> None:
    work = Stage("a", "b").work()

    assert work.start(UNTIL, now=100.0) == (start(1, "a"),)
    assert work.handle(Progressed(attempt=99), now=100.2) == ()  # it is of no attempt
    assert work.handle(Progressed(attempt=1), now=100.3) == (Use(attempt=1, provider="a"),)
    assert work.handle(Progressed(attempt=1), now=100.4) == ()
    assert work.handle(Finished(attempt=1), now=100.5) == (Done(attempt=1, provider="a"),)
    assert work.wake_at is None


def test_a_late_rung_is_suspect_and_raced_but_not_killed() -> None:
    work = begun("a", "b")

    assert work.wake_at == 100.5
    assert work.tick(100.49) == ()
    assert work.tick(100.5) == (start(2, "b"),)
    assert work.lateness == [("a", Kind.TIMEOUT)]
    assert work.extras == [2]


def test_the_first_content_wins_and_the_late_rung_becomes_suspect() -> None:
    work = begun("a", "b")
    work.tick(100.5)

    won = work.handle(Progressed(attempt=2), now=100.7)

    assert won == (Use(attempt=2, provider="b"), late(1, "a"))
    (lost,) = work.told(AttemptFailed)
    assert (lost.attempt, lost.kind) == (1, Kind.TIMEOUT)
    assert work.handle(Progressed(attempt=1), now=100.8) == ()
    assert work.winner == 2


def test_a_late_rung_that_speaks_first_wins_and_the_other_is_cancelled() -> None:
    work = begun("a", "b")
    work.tick(100.5)

    assert work.handle(Progressed(attempt=1), now=100.6) == (
        Use(attempt=1, provider="a"),
        Stop(attempt=2, provider="b", because="outrun"),
    )


def test_a_rung_that_only_lost_the_race_stands_by_if_the_winner_fails() -> None:
    stage = Stage("a", "b")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)
    work.handle(Progressed(attempt=1), now=100.6)
    stage.spend()

    cut = Failed(attempt=1, failure=failure("a", Kind.CUT))

    assert work.handle(cut, now=100.8) == (start(3, "b"),)


def test_a_rung_that_kept_the_caller_waiting_does_not_stand_by() -> None:
    stage = Stage("a", "b")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)
    work.handle(Progressed(attempt=2), now=100.6)
    stage.spend()

    def cut(attempt: int) -> tuple[AttemptAction, ...]:
        return work.handle(Failed(attempt=attempt, failure=failure("b", Kind.CUT)), now=100.8)

    assert cut(2) == (start(3, "b"),)
    assert cut(3) == (start(4, "b"),)
    assert cut(4) == (Exhausted(attempts=4),)


def test_a_stalled_winner_is_raced_from_its_last_word() -> None:
    work = begun("a", "b")
    work.handle(Progressed(attempt=1), now=100.3)
    work.handle(Progressed(attempt=1), now=100.5)

    assert work.wake_at == 100.9
    raced = work.tick(100.9)
    won = work.handle(Progressed(attempt=2), now=101.1)

    assert raced == (start(2, "b"),)
    assert work.lateness == [("a", Kind.STALLED)]
    assert won == (Use(attempt=2, provider="b"), late(1, "a"))
    assert [fact.kind for fact in work.told(AttemptFailed)] == [Kind.STALLED]


def test_silence_is_no_gap_while_nothing_is_requested() -> None:
    work = begun("a", "b")
    work.handle(Progressed(attempt=1), now=100.3)

    work.handle(Paused(attempt=1), now=100.4)
    assert work.wake_at is None

    work.handle(Resumed(attempt=1), now=105.0)
    assert work.wake_at == 105.4


def test_more_text_for_a_silent_rung_does_not_excuse_its_silence() -> None:
    work = begun("a", "b")
    work.handle(Resumed(attempt=1), now=100.4)

    assert work.wake_at == 100.5


def test_without_allowance_for_a_race_a_late_rung_is_replaced_when_patience_ends() -> None:
    work = begun("a", "b", allowance=False)

    assert work.tick(100.5) == ()
    assert work.lateness == [("a", Kind.TIMEOUT)]
    assert work.wake_at == 100.8
    assert work.tick(100.8) == (late(1, "a"), start(2, "b"))


def test_the_only_rung_left_is_waited_for_until_the_deadline() -> None:
    work = begun("a", allowance=False)
    work.tick(100.5)

    assert work.wake_at == 101.5
    assert work.tick(101.5) == (late(1, "a"), Exhausted(attempts=1))


def test_a_deadline_that_moved_on_gives_the_only_rung_more_time() -> None:
    work = begun("a", allowance=False)
    work.tick(100.5)

    work.until = Deadline(at=103.0)

    assert work.wake_at == 103.0


def test_when_all_have_failed_each_is_asked_again_without_an_allowance() -> None:
    work = begun("a", "b", allowance=False)

    asked = ["a", "b", "a", "a", "b", "b"]
    for attempt, (failed_one, next_one) in enumerate(itertools.pairwise(asked), start=1):
        gone = Failed(attempt=attempt, failure=failure(failed_one))
        assert work.handle(gone, now=100.0 + attempt / 100) == (start(attempt + 1, next_one),)
    assert work.handle(Failed(attempt=6, failure=failure("b")), now=100.1) == (
        Exhausted(attempts=6),
    )


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.PROTOCOL, Kind.SILENT, Kind.NETWORK])
def test_a_request_that_failed_alike_at_every_rung_is_not_sent_again(kind: Kind) -> None:
    work = begun("a", "b")

    work.handle(Failed(attempt=1, failure=failure("a", kind)), NOW + 0.1)
    ended = work.handle(Failed(attempt=2, failure=failure("b", kind)), NOW + 0.2)

    assert ended == (Exhausted(attempts=2),)


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.PROTOCOL, Kind.BAD_REQUEST])
def test_a_call_asks_a_rung_that_failed_it_last_although_probes_succeed(kind: Kind) -> None:
    stage, call = Stage("a", "b"), itertools.count(1)
    found = finding(kind, permanent=True)
    first = Attempting(stage.policy, numbers=call)
    first.start(UNTIL, NOW)
    first.handle(Failed(attempt=1, failure=failed(found, "llm", provider="a")), NOW + 0.1)
    rung = stage.policy.availability.of("llm", "a")
    probe = rung.permit(NOW + 1.0, probe=True)
    assert probe is not None
    rung.succeeded(probe, NOW + 1.0)
    first.cancel("caller")

    own = Attempting(stage.policy, numbers=call).start(Deadline(at=NOW + 9.0), NOW + 2.0)
    other = stage.work().start(Deadline(at=NOW + 9.0), NOW + 2.0)

    assert [action.provider for action in own if isinstance(action, Ask)] == ["b"]
    assert [action.provider for action in other if isinstance(action, Ask)] == ["a"]


def test_a_forbidden_request_of_a_call_is_reported_as_refused_and_not_as_a_rejected_key() -> None:
    work = begun("a", "b")
    forbidden = failed(finding(Kind.AUTH, Scope.REQUEST), "llm", provider="a")

    work.handle(Failed(attempt=1, failure=forbidden), NOW + 0.1)

    (fact,) = work.told(AttemptFailed)
    assert fact.kind is Kind.BAD_REQUEST


def test_a_rung_that_became_unavailable_meanwhile_is_skipped() -> None:
    stage = Stage("a", "b", "c")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    stage.close("b")

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.1) == (start(2, "c"),)


def test_a_payload_is_repaired_once_and_sent_to_the_same_rung() -> None:
    work = begun("a", "b")
    too_long = failed(finding(Kind.BAD_REQUEST, Scope.PAYLOAD), "llm", provider="a")

    assert work.handle(Failed(attempt=1, failure=too_long), now=100.1) == (
        start(2, "a", mended=True),
    )
    assert work.handle(Failed(attempt=2, failure=too_long), now=100.2) == (start(3, "b"),)


def test_when_the_racing_rung_fails_the_next_is_asked_while_the_late_rung_continues() -> None:
    work = begun("a", "b", "c")
    work.tick(100.5)

    assert work.handle(Failed(attempt=2, failure=failure("b")), now=100.6) == (start(3, "c"),)
    assert work.handle(Progressed(attempt=1), now=100.7) == (
        Use(attempt=1, provider="a"),
        Stop(attempt=3, provider="c", because="outrun"),
    )


def test_when_the_late_rung_fails_the_race_continues_without_a_third() -> None:
    work = begun("a", "b", "c")
    work.tick(100.5)

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.6) == ()


def test_an_answer_without_words_is_a_failure() -> None:
    work = begun("a", "b")

    assert work.handle(Finished(attempt=1), now=100.2) == (late(1, "a"), start(2, "b"))
    assert [fact.kind for fact in work.told(AttemptFailed)] == [Kind.SILENT]


def test_a_recogniser_that_heard_a_cough_may_end_without_words() -> None:
    stage = Stage("a", "b")
    stage.policy.pace = replace(PACE, silent_end_ok=True)
    work = stage.work()
    work.start(UNTIL, now=100.0)

    assert work.handle(Finished(attempt=1), now=100.2) == (Done(attempt=1, provider="a"),)


def test_a_barge_in_cancels_all_attempts_and_counts_against_none() -> None:
    work = begun("a", "b")
    work.tick(100.5)

    assert work.cancel("caller") == (
        Stop(attempt=1, provider="a", because="caller"),
        Stop(attempt=2, provider="b", because="caller"),
    )
    assert work.handle(Progressed(attempt=1), now=100.6) == ()
    assert work.tick(200.0) == ()
    assert (work.over, work.wake_at, work.winner) == (True, None, None)


def hedged(*, hedges: Allowance | None) -> Request:
    stage = Stage("a", "b")
    for _ in range(5):
        stage.policy.availability.of("llm", "a").latency.add(0.2)
    stage.policy.hedges = hedges
    work = stage.work()
    work.start(UNTIL, now=100.0)
    return work


def test_a_hedge_asks_the_second_rung_early_and_counts_against_none() -> None:
    work = hedged(hedges=Allowance(share=0.05, floor=1))

    assert work.tick(100.2) == (start(2, "b"),)
    (hedge,) = work.told(HedgeStarted)
    assert (hedge.provider, hedge.attempt, hedge.behind) == ("b", 2, "a")
    assert hedge.after_s == pytest.approx(0.2)
    assert (work.extras, work.lateness) == ([2], [])
    assert work.handle(Progressed(attempt=2), now=100.3) == (
        Use(attempt=2, provider="b"),
        Stop(attempt=1, provider="a", because="outrun"),
    )


def test_hedging_is_off_unless_asked_for() -> None:
    assert hedged(hedges=None).tick(100.34) == ()


def test_all_events_come_before_any_action() -> None:
    work = begun("a", "b")
    work.tick(NOW + 0.5)
    work.handle(Progressed(attempt=2), NOW + 0.9)

    for kinds in work.kinds:
        assert kinds == sorted(kinds, key=lambda kind: kind is not EmitEvent)
    assert [type(fact) for fact in work.facts] == [
        AttemptStarted,
        *(Suspected, AttemptStarted),
        *(AttemptWon, RungChosen, AttemptFailed),
    ]


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (Kind.AUTH, Severity.HIGH),
        (Kind.PROTOCOL, Severity.MEDIUM),
        (Kind.OVERLOADED, Severity.LOW),
    ],
)
def test_a_failure_is_reported_with_its_severity_its_time_and_the_heard_words(
    kind: Kind, severity: Severity
) -> None:
    work = begun("a")
    broken = Failed(attempt=1, failure=failure("a", kind), heard_words=3)

    work.handle(broken, NOW + 0.25)
    again = work.handle(broken, NOW + 0.3)

    (fact,) = work.told(AttemptFailed)
    assert (fact.severity, fact.heard_words, fact.attempt, fact.after_s) == (severity, 3, 1, 0.25)
    assert again == ()  # one failure is one failure


def test_an_attempt_is_reported_with_the_remaining_time() -> None:
    work = Stage("a").work()
    work.start(UNTIL, NOW + 0.5)

    assert work.facts == [
        AttemptStarted(stage="llm", provider="a", attempt=1, extra=False, left_s=1.0)
    ]


@pytest.mark.parametrize("stay_with", [None, "a", "b"])
def test_an_unexpected_rung_is_reported_and_expected_from_then_on(stay_with: str | None) -> None:
    stage = Stage("a", "b")
    if stay_with == "b":
        stage.close("b")  # the rung used so far is unavailable
    work = stage.work(stay_with=stay_with)
    work.start(UNTIL, NOW)
    work.handle(Progressed(attempt=1), NOW + 0.25)
    chosen = work.told(RungChosen)
    stage.policy.availability.set_out("b", NOW, out=False)
    work.handle(Failed(attempt=1, failure=failure("a", Kind.CUT)), NOW + 0.3)
    work.handle(Progressed(attempt=2), NOW + 0.5)

    after_b = RungChosen(stage="llm", before="b", after="a", cause="failover")
    assert chosen == ([after_b] if stay_with == "b" else [])
    assert work.told(AttemptWon)[0].after_s == 0.25
    assert stage.policy.availability.of("llm", "a").latency.quantile(0.1) == 0.25
    assert work.told(RungChosen)[len(chosen) :] == [
        RungChosen(stage="llm", before="a", after="b", cause="failover")
    ]


@pytest.mark.parametrize("waited", [False, True])
def test_an_attempt_that_waited_counts_from_its_beginning(*, waited: bool) -> None:
    work = begun("a")
    work.handle(Paused(attempt=1), NOW)
    work.handle(Resumed(attempt=1, began=True, waited=waited), NOW + 0.5)
    work.handle(Progressed(attempt=1), NOW + 0.75)

    reached = LimitReached(stage="llm", provider="a", attempt=1, waited_s=0.5, asked=True)
    assert work.told(LimitReached) == ([reached] if waited else [])
    assert [fact.after_s for fact in work.told(AttemptWon)] == [0.25]


@pytest.mark.parametrize(("because", "asked"), [("limit", "b"), ("length", "a")])
def test_an_attempt_that_ends_without_a_fault_of_its_rung_blames_none(
    because: str, asked: str
) -> None:
    stage = Stage("a", "b", failures=1)
    work = stage.work()
    work.start(UNTIL, NOW)

    dropped = Dropped(attempt=1, because=because)  # type: ignore[arg-type]
    assert work.handle(dropped, NOW + 0.5) == (start(2, asked),)
    assert work.handle(Progressed(attempt=1), NOW + 0.6) == ()  # it has ended

    limit = LimitReached(stage="llm", provider="a", attempt=1, waited_s=0.5, asked=False)
    assert work.told(LimitReached) == ([limit] if because == "limit" else [])
    assert [fact.because for fact in work.told(AttemptDropped)] == [because]
    assert stage.policy.availability.of("llm", "a").suspect_since is None


def test_a_cancelled_attempt_counts_neither_way_and_its_results_are_ignored() -> None:
    stage = Stage("a", failures=1)
    work = stage.work()
    work.start(UNTIL, NOW)
    work.cancel("caller")

    assert [fact.because for fact in work.told(AttemptDropped)] == ["caller"]
    for event in (
        Progressed(attempt=1),
        Finished(attempt=1),
        Failed(attempt=1, failure=failure("a")),
    ):
        assert work.handle(event, NOW + 0.2) == ()
    assert stage.policy.availability.of("llm", "a").at(NOW).usable


def test_a_completed_attempt_clears_the_suspicion() -> None:
    work = begun("a", allowance=False)
    work.tick(NOW + 0.5)
    rung = work.policy.availability.of("llm", "a")
    suspect_since = rung.suspect_since
    work.handle(Progressed(attempt=1), NOW + 0.6)
    work.handle(Finished(attempt=1), NOW + 1.0)

    assert (suspect_since, rung.suspect_since) == (NOW + 0.5, None)


@pytest.mark.parametrize(
    "event",
    [Failed(attempt=1, failure=failure("a", Kind.SILENT)), Finished(attempt=1)],
    ids=["the provider reports it", "we notice it"],
)
def test_a_failure_that_opens_the_breaker_counts_before_the_next_rung_is_chosen(
    event: AttemptEvent,
) -> None:
    stage = Stage("a", failures=1)
    stage.fail_another_call("a", Kind.SILENT)
    work = stage.work()
    work.start(UNTIL, NOW)

    assert Exhausted(attempts=1) in work.handle(event, NOW + 0.2)
    assert work.told(StageExhausted) == [StageExhausted(stage="llm", attempts=1)]
    assert work.told(BreakerMoved) != []


def test_a_late_rung_whose_breaker_opens_lets_the_caller_try_an_open_rung() -> None:
    stage = Stage("a", "b", failures=1)
    stage.spend()
    stage.fail_another_call("a", Kind.TIMEOUT)
    stage.policy.availability.of("llm", "b").breaker.trip(NOW)
    work = stage.work()
    work.start(UNTIL, NOW)
    work.tick(NOW + 0.5)

    assert work.tick(UNTIL.at) == (late(1, "a"), start(2, "b"))
