"""Events of each attempt, field by field, and what its end means for its rung."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fallbacks.attempts import (
    Abandon,
    Admitted,
    Cancel,
    Done,
    Exhausted,
    Failed,
    Finished,
    Owed,
    Progressed,
    Refused,
    Start,
    Suspect,
    Win,
)
from fallbacks.books import AttemptRecords
from fallbacks.deadline import Deadline
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    Fact,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
    Suspected,
)
from fallbacks.failure import Kind, failed
from fallbacks.roster import HealthTable, Place

NOW = 100.0
START = Start(attempt=7, provider="a", until=Deadline(at=101.5))


def roster_of(*names: str) -> HealthTable:
    return HealthTable(
        [Place(stage="tts", provider=name, credential=name) for name in names], now=NOW
    )


def books_for(roster: HealthTable, *, expected: str | None = None) -> AttemptRecords:
    return AttemptRecords("tts", roster, expected=expected, chance=lambda: 0.0)


def begun(*, expected: str | None = None) -> tuple[AttemptRecords, HealthTable]:
    roster = roster_of("a", "b")
    books = books_for(roster, expected=expected)
    books.enter_action(START, NOW)
    return books, roster


def of_kind(kind: type[Fact], facts: Sequence[Fact] | None) -> list[Fact]:
    return [fact for fact in facts or () if isinstance(fact, kind)]


@pytest.mark.parametrize("extra", [False, True])
def test_an_attempt_is_told_with_the_remaining_time(extra: bool) -> None:  # noqa: FBT001 - a table
    books = books_for(roster_of("a"))

    assert books.enter_action(replace(START, extra=extra), NOW + 0.5) == (
        AttemptStarted(stage="tts", provider="a", attempt=7, extra=extra, left_s=1.0),
    )


def test_a_hedge_is_told_with_the_attempt_that_it_hedges() -> None:
    books, _ = begun()
    hedge = Start(attempt=8, provider="b", until=START.until, extra=True, hedge=True)

    assert books.enter_action(hedge, NOW + 0.25) == (
        AttemptStarted(stage="tts", provider="b", attempt=8, extra=True, left_s=1.25),
        HedgeStarted(stage="tts", provider="b", attempt=8, behind="a", after_s=0.25),
    )


def test_a_hedge_without_another_attempt_is_an_ordinary_one() -> None:
    facts = books_for(roster_of("a")).enter_action(replace(START, hedge=True), NOW)

    assert [type(fact) for fact in facts or ()] == [AttemptStarted]


def test_a_second_attempt_that_is_no_hedge_is_not_told_as_one() -> None:
    books, _ = begun()

    facts = books.enter_action(Start(attempt=8, provider="b", until=START.until), NOW)

    assert [type(fact) for fact in facts or ()] == [AttemptStarted]


def test_the_winner_is_told_with_its_time_from_its_start() -> None:
    books, roster = begun()

    assert books.enter_action(Win(attempt=7, provider="a"), NOW + 0.25) == (
        AttemptWon(stage="tts", provider="a", attempt=7, after_s=0.25),
    )
    assert roster.health("tts", "a").latency.p50_s > 0.25  # one measured, the rest imagined


@pytest.mark.parametrize(
    ("expected", "chosen"),
    [
        (None, []),  # the first one asked
        ("a", []),
        ("b", [RungChosen(stage="tts", before="b", after="a", cause="failover")]),
    ],
)
def test_an_unexpected_voice_is_told(expected: str | None, chosen: list[RungChosen]) -> None:
    books, _ = begun(expected=expected)

    facts = books.enter_action(Win(attempt=7, provider="a"), NOW)

    assert of_kind(RungChosen, facts) == chosen


def test_the_winner_is_expected_from_then_on() -> None:
    books, _ = begun(expected="b")
    books.enter_action(Win(attempt=7, provider="a"), NOW)
    books.enter_action(Start(attempt=8, provider="b", until=START.until), NOW)

    facts = books.enter_action(Win(attempt=8, provider="b"), NOW + 1)

    assert of_kind(RungChosen, facts) == [
        RungChosen(stage="tts", before="a", after="b", cause="failover")
    ]


def test_an_attempt_that_waited_counts_from_its_admission() -> None:
    books, _ = begun()

    assert books.enter_event(Admitted(attempt=7, waited=True), NOW + 0.5) == (
        Owed(attempt=7),
        (LimitReached(stage="tts", provider="a", attempt=7, waited_s=0.5, asked=True),),
    )
    assert books.enter_action(Win(attempt=7, provider="a"), NOW + 0.75) == (
        AttemptWon(stage="tts", provider="a", attempt=7, after_s=0.25),
    )


def test_an_admission_at_once_is_not_told() -> None:
    books, _ = begun()

    assert books.enter_event(Admitted(attempt=7), NOW) == (Owed(attempt=7), ())


def test_a_missing_place_is_no_failure_of_the_rung() -> None:
    books, roster = begun()

    entered = books.enter_event(Refused(attempt=7), NOW + 0.5)

    assert entered is not None
    event, facts = entered
    assert isinstance(event, Failed)
    assert (event.attempt, event.failure.kind) == (7, Kind.RATE_LIMITED)
    assert (event.failure.stage, event.failure.provider) == ("tts", "a")
    assert facts == (
        LimitReached(stage="tts", provider="a", attempt=7, waited_s=0.5, asked=False),
        AttemptDropped(stage="tts", provider="a", attempt=7, because="limit"),
    )
    assert roster.health("tts", "a").suspect_since is None
    assert books.enter_event(Progressed(attempt=7), NOW + 0.6) is None  # it has ended


def test_a_failure_is_told_with_the_time_and_the_heard_words() -> None:
    books, _ = begun()
    broken = Failed(attempt=7, failure=failed(Kind.CUT, "tts", provider="a"), heard_words=3)

    entered = books.enter_event(broken, NOW + 0.25)

    assert entered is not None
    assert entered[0] is broken
    (told,) = of_kind(AttemptFailed, entered[1])
    assert isinstance(told, AttemptFailed)
    assert (told.attempt, told.after_s, told.heard_words) == (7, 0.25, 3)
    assert books.enter_event(broken, NOW + 0.3) is None  # one failure is one failure


def test_a_rung_that_kept_the_caller_waiting_too_long_has_failed() -> None:
    books, _ = begun()
    abandon = Abandon(attempt=7, provider="a", kind=Kind.TIMEOUT, after_s=0.6)

    (told,) = of_kind(AttemptFailed, books.enter_action(abandon, NOW + 0.6))

    assert isinstance(told, AttemptFailed)
    assert (told.attempt, told.kind, told.provider) == (7, Kind.TIMEOUT, "a")
    assert told.after_s == pytest.approx(0.6)


@pytest.mark.parametrize("because", ["outrun", "barge_in"])
def test_a_cancelled_attempt_does_not_count(because: str) -> None:
    books, roster = begun()
    cancel = Cancel(attempt=7, provider="a", because=because)  # type: ignore[arg-type]

    assert books.enter_action(cancel, NOW) == (
        AttemptDropped(stage="tts", provider="a", attempt=7, because=because),  # type: ignore[arg-type]
    )
    assert roster.health("tts", "a").standing(NOW).usable
    assert books.enter_event(Finished(attempt=7), NOW) is None


def test_a_completed_attempt_clears_the_suspicion() -> None:
    books, roster = begun()
    books.enter_action(Suspect(attempt=7, provider="a", kind=Kind.STALLED), NOW)
    assert roster.health("tts", "a").suspect_since == NOW

    books.enter_action(Done(attempt=7, provider="a"), NOW + 1)

    assert roster.health("tts", "a").suspect_since is None


def test_a_suspicion_has_its_reason() -> None:
    books, _ = begun()
    suspect = Suspect(attempt=7, provider="a", kind=Kind.STALLED)

    assert books.enter_action(suspect, NOW) == (
        Suspected(stage="tts", provider="a", kind=Kind.STALLED),
    )


def test_exhaustion_is_told_with_the_number_of_attempts() -> None:
    assert books_for(roster_of("a")).enter_action(Exhausted(attempts=4), NOW) == (
        StageExhausted(stage="tts", attempts=4),
    )


def test_a_rung_that_is_out_is_not_allowed() -> None:
    roster = roster_of("a")
    books = books_for(roster)
    books.enter_action(START, NOW)
    refused = failed(Kind.AUTH, "tts", provider="a")
    entered = books.enter_event(Failed(attempt=7, failure=refused), NOW)

    assert entered is not None
    assert of_kind(BreakerMoved, entered[1]) != []
    assert books.enter_action(replace(START, attempt=8), NOW) is None


def test_events_of_an_unknown_attempt_are_ignored() -> None:
    books, _ = begun()

    assert books.enter_event(Progressed(attempt=99), NOW) is None
    assert books.enter_event(Progressed(attempt=7), NOW) == (Progressed(attempt=7), ())
