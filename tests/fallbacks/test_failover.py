"""One piece of work: which rung is asked, wins, or is cancelled."""

import itertools
from dataclasses import replace

from fallbacks.attempts import (
    Abandon,
    Action,
    Cancel,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Owed,
    Progressed,
    Start,
    Suspect,
    Win,
)
from fallbacks.deadline import Deadline
from fallbacks.failover import Failover
from fallbacks.failure import Failure, Kind, Scope, failed, finding
from fallbacks.health import Standing
from fallbacks.ladder import Allowance, Pace

UNTIL = Deadline(at=101.5)
PACE = Pace(late_min_s=0.35, late_max_s=0.8, gap_s=0.4)


class Stage:
    """Rungs that a test can break."""

    def __init__(self, *providers: str) -> None:
        self.rungs = {
            provider: Standing(provider=provider, usable=True, suspect=False, p50_s=0.2, p95_s=0.5)
            for provider in providers
        }
        self.allowance = Allowance()

    def work(self, *, pace: Pace = PACE, hedges: Allowance | None = None) -> Failover:
        return Failover(
            lambda _: list(self.rungs.values()),
            pace=pace,
            allowance=self.allowance,
            numbers=itertools.count(1),
            hedges=hedges,
        )

    def close(self, provider: str) -> None:
        self.rungs[provider] = replace(self.rungs[provider], usable=False)

    def spend(self) -> None:
        while self.allowance.take():
            pass


def failure(provider: str, kind: Kind = Kind.OVERLOADED) -> Failure:
    return failed(kind, "llm", provider=provider)


def start(attempt: int, provider: str, *, extra: bool = False, mended: bool = False) -> Start:
    return Start(attempt=attempt, provider=provider, until=UNTIL, extra=extra, mended=mended)


def test_a_healthy_rung_is_asked_once_and_heard() -> None:
    work = Stage("a", "b").work()

    assert work.start(UNTIL, now=100.0) == (start(1, "a"),)
    assert work.handle(Progressed(attempt=1), now=100.3) == (Win(attempt=1, provider="a"),)
    assert work.handle(Progressed(attempt=1), now=100.4) == ()
    assert work.handle(Finished(attempt=1), now=100.5) == (Done(attempt=1, provider="a"),)
    assert work.wake_at is None


def test_after_a_failure_the_next_rung_is_asked_in_the_same_instant() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.1) == (start(2, "b"),)


def test_moving_on_after_a_failure_needs_no_allowance() -> None:
    stage = Stage("a", "b")
    stage.spend()
    work = stage.work()
    work.start(UNTIL, now=100.0)

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.1) == (start(2, "b"),)


def test_a_late_rung_is_suspect_and_raced_but_not_killed() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)

    assert work.wake_at == 100.5
    assert work.tick(100.49) == ()
    assert work.tick(100.5) == (
        Suspect(attempt=1, provider="a", kind=Kind.TIMEOUT),
        start(2, "b", extra=True),
    )


def test_the_first_content_wins_and_the_late_rung_becomes_suspect() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    won, lost = work.handle(Progressed(attempt=2), now=100.7)

    assert won == Win(attempt=2, provider="b")
    assert isinstance(lost, Abandon)
    assert (lost.attempt, lost.kind) == (1, Kind.TIMEOUT)
    assert work.handle(Progressed(attempt=1), now=100.8) == ()
    assert work.winner == 2


def test_a_late_rung_that_speaks_first_wins_and_the_other_is_cancelled() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    assert work.handle(Progressed(attempt=1), now=100.6) == (
        Win(attempt=1, provider="a"),
        Cancel(attempt=2, provider="b", because="outrun"),
    )


def test_a_rung_that_was_only_outrun_stands_ready_when_the_winner_fails() -> None:
    stage = Stage("a", "b")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)
    work.handle(Progressed(attempt=1), now=100.6)
    stage.spend()

    cut = Failed(attempt=1, failure=failure("a", Kind.CUT))

    assert work.handle(cut, now=100.8) == (start(3, "b"),)


def test_a_rung_that_kept_the_caller_waiting_is_not_ready_when_the_winner_fails() -> None:
    stage = Stage("a", "b")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)
    work.handle(Progressed(attempt=2), now=100.6)
    stage.spend()

    def cut(attempt: int) -> tuple[Action, ...]:
        return work.handle(Failed(attempt=attempt, failure=failure("b", Kind.CUT)), now=100.8)

    assert cut(2) == (start(3, "b"),)
    assert cut(3) == (start(4, "b"),)
    assert cut(4) == (Exhausted(attempts=4),)


def test_a_stalled_winner_is_raced_from_its_last_word() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.handle(Progressed(attempt=1), now=100.3)
    work.handle(Progressed(attempt=1), now=100.5)

    assert work.wake_at == 100.9
    actions = work.tick(100.9)
    won, lost = work.handle(Progressed(attempt=2), now=101.1)

    assert actions == (
        Suspect(attempt=1, provider="a", kind=Kind.STALLED),
        start(2, "b", extra=True),
    )
    assert won == Win(attempt=2, provider="b")
    assert isinstance(lost, Abandon)
    assert lost.kind is Kind.STALLED


def test_silence_is_no_gap_while_nothing_is_requested() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.handle(Progressed(attempt=1), now=100.3)

    work.handle(Idled(attempt=1), now=100.4)
    assert work.wake_at is None

    work.handle(Owed(attempt=1), now=105.0)
    assert work.wake_at == 105.4


def test_more_work_for_a_silent_rung_does_not_excuse_its_silence() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.handle(Owed(attempt=1), now=100.4)

    assert work.wake_at == 100.5


def test_without_allowance_for_a_race_a_late_rung_is_replaced_when_patience_ends() -> None:
    stage = Stage("a", "b")
    stage.spend()
    work = stage.work()
    work.start(UNTIL, now=100.0)

    assert work.tick(100.5) == (Suspect(attempt=1, provider="a", kind=Kind.TIMEOUT),)
    assert work.wake_at == 100.8
    gone, started = work.tick(100.8)

    assert isinstance(gone, Abandon)
    assert started == start(2, "b")


def test_the_only_rung_left_is_waited_for_until_the_deadline() -> None:
    stage = Stage("a")
    stage.spend()
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    assert work.wake_at == 101.5
    gone, exhausted = work.tick(101.5)

    assert isinstance(gone, Abandon)
    assert exhausted == Exhausted(attempts=1)


def test_a_deadline_that_moved_on_gives_the_only_rung_more_time() -> None:
    stage = Stage("a")
    stage.spend()
    work = stage.work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    work.until = Deadline(at=103.0)

    assert work.wake_at == 103.0


def test_the_only_rung_left_is_asked_again_after_a_transient_failure() -> None:
    work = Stage("a").work()
    work.start(UNTIL, now=100.0)

    for attempt in (1, 2):
        assert work.handle(Failed(attempt=attempt, failure=failure("a")), now=100.1) == (
            start(attempt + 1, "a"),
        )
    assert work.handle(Failed(attempt=3, failure=failure("a")), now=100.2) == (
        Exhausted(attempts=3),
    )


def test_when_all_have_failed_each_is_asked_again_without_an_allowance() -> None:
    stage = Stage("a", "b")
    stage.spend()
    work = stage.work()
    work.start(UNTIL, now=100.0)

    asked = ["a", "b", "a", "a", "b", "b"]
    for attempt, (failed_one, next_one) in enumerate(itertools.pairwise(asked), start=1):
        gone = Failed(attempt=attempt, failure=failure(failed_one))
        assert work.handle(gone, now=100.0 + attempt / 100) == (start(attempt + 1, next_one),)
    assert work.handle(Failed(attempt=6, failure=failure("b")), now=100.1) == (
        Exhausted(attempts=6),
    )


def test_a_rung_with_a_refused_key_is_not_asked_again() -> None:
    stage = Stage("a")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    stage.close("a")

    assert work.handle(Failed(attempt=1, failure=failure("a", Kind.AUTH)), now=100.1) == (
        Exhausted(attempts=1),
    )


def test_a_rung_that_the_roster_took_out_meanwhile_is_skipped() -> None:
    stage = Stage("a", "b", "c")
    work = stage.work()
    work.start(UNTIL, now=100.0)
    stage.close("b")

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.1) == (start(2, "c"),)


def test_a_short_rate_limit_is_waited_for_by_the_only_rung() -> None:
    work = Stage("a").work()
    work.start(UNTIL, now=100.0)
    limited = failed(Kind.RATE_LIMITED, "llm", provider="a", retry_after_s=0.25)

    assert work.handle(Failed(attempt=1, failure=limited), now=100.0) == ()
    assert work.wake_at == 100.25
    assert work.tick(100.25) == (start(2, "a"),)


def test_a_payload_is_repaired_once_and_sent_to_the_same_rung() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    too_long = failed(finding(Kind.BAD_REQUEST, Scope.PAYLOAD), "llm", provider="a")

    assert work.handle(Failed(attempt=1, failure=too_long), now=100.1) == (
        start(2, "a", mended=True),
    )
    assert work.handle(Failed(attempt=2, failure=too_long), now=100.2) == (start(3, "b"),)


def test_when_the_rung_in_the_race_fails_the_next_is_asked_while_the_late_one_runs_on() -> None:
    work = Stage("a", "b", "c").work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    assert work.handle(Failed(attempt=2, failure=failure("b")), now=100.6) == (start(3, "c"),)
    assert work.handle(Progressed(attempt=1), now=100.7) == (
        Win(attempt=1, provider="a"),
        Cancel(attempt=3, provider="c", because="outrun"),
    )


def test_when_the_late_one_fails_the_race_continues_without_a_third() -> None:
    work = Stage("a", "b", "c").work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    assert work.handle(Failed(attempt=1, failure=failure("a")), now=100.6) == ()


def test_an_answer_without_words_is_a_failure() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)

    gone, started = work.handle(Finished(attempt=1), now=100.2)

    assert isinstance(gone, Abandon)
    assert gone.kind is Kind.SILENT
    assert started == start(2, "b")


def test_a_recogniser_that_heard_a_cough_may_end_without_words() -> None:
    work = Stage("a", "b").work(pace=replace(PACE, silent_end_ok=True))
    work.start(UNTIL, now=100.0)

    assert work.handle(Finished(attempt=1), now=100.2) == (Done(attempt=1, provider="a"),)


def test_a_barge_in_cancels_all_attempts_and_counts_against_none() -> None:
    work = Stage("a", "b").work()
    work.start(UNTIL, now=100.0)
    work.tick(100.5)

    assert work.cancel("caller") == (
        Cancel(attempt=1, provider="a", because="caller"),
        Cancel(attempt=2, provider="b", because="caller"),
    )
    assert work.handle(Progressed(attempt=1), now=100.6) == ()
    assert work.tick(200.0) == ()


def test_no_usable_rung_is_exhaustion_at_once() -> None:
    stage = Stage("a")
    stage.close("a")

    assert stage.work().start(UNTIL, now=100.0) == (Exhausted(attempts=0),)


def test_a_hedge_asks_the_second_rung_early_and_counts_against_none() -> None:
    stage = Stage("a", "b")
    stage.rungs["a"] = replace(stage.rungs["a"], p95_s=0.2)
    work = stage.work(hedges=Allowance(share=0.05, floor=1))
    work.start(UNTIL, now=100.0)

    assert work.tick(100.2) == (replace(start(2, "b", extra=True), hedge=True),)
    assert work.handle(Progressed(attempt=2), now=100.3) == (
        Win(attempt=2, provider="b"),
        Cancel(attempt=1, provider="a", because="outrun"),
    )


def test_hedging_is_off_unless_asked_for() -> None:
    stage = Stage("a", "b")
    stage.rungs["a"] = replace(stage.rungs["a"], p95_s=0.2)
    work = stage.work()
    work.start(UNTIL, now=100.0)

    assert work.tick(100.34) == ()
