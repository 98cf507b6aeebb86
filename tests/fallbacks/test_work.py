"""Events of one piece of work, and their order."""

import itertools
from collections.abc import Sequence

import pytest

from fallbacks.attempts import (
    Cancel,
    Failed,
    Finished,
    Progressed,
    Start,
    Step,
    TellFact,
    Win,
    WorkEvent,
)
from fallbacks.deadline import Deadline
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    Fact,
    RungChosen,
    Suspected,
)
from fallbacks.failure import Kind, Severity, failed
from fallbacks.roster import HealthTable, Place
from fallbacks.work import StagePolicy, Work

NOW = 100.0
UNTIL = Deadline(at=101.5)


def ladder(*names: str) -> tuple[Work, HealthTable]:
    places = [Place(stage="llm", provider=name, credential=name) for name in names]
    roster = HealthTable(places, now=NOW)
    return Work(StagePolicy(stage="llm", roster=roster), numbers=itertools.count(1)), roster


def facts(steps: Sequence[Step]) -> list[Fact]:
    return [step.fact for step in steps if isinstance(step, TellFact)]


def doing(steps: Sequence[Step]) -> list[type[Step]]:
    return [type(step) for step in steps if not isinstance(step, TellFact)]


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (Kind.AUTH, Severity.HIGH),
        (Kind.PROTOCOL, Severity.MEDIUM),
        (Kind.OVERLOADED, Severity.LOW),
    ],
)
def test_a_failure_is_told_with_its_severity(kind: Kind, severity: Severity) -> None:
    work, _ = ladder("openai")
    work.start(UNTIL, NOW)

    failure = failed(kind, "llm", provider="openai")
    steps = work.handle(Failed(attempt=1, failure=failure, heard_words=3), NOW + 0.1)

    (fact,) = [item for item in facts(steps) if isinstance(item, AttemptFailed)]
    assert (fact.severity, fact.heard_words, fact.attempt) == (severity, 3, 1)


def test_all_events_come_before_any_wait() -> None:
    work, _ = ladder("a", "b")

    started = work.start(UNTIL, NOW)
    raced = work.tick(NOW + 0.8)
    won = work.handle(Progressed(attempt=2), NOW + 0.9)

    for steps in (started, raced, won):
        kinds = [isinstance(step, TellFact) for step in steps]
        assert kinds == sorted(kinds, reverse=True)
    assert [type(fact) for fact in facts(raced)] == [Suspected, AttemptStarted]
    assert [type(fact) for fact in facts(won)] == [AttemptWon, RungChosen, AttemptFailed]


def test_a_rung_whose_last_permit_is_taken_is_skipped_silently() -> None:
    work, roster = ladder("a", "b")
    roster.health("llm", "a").permit = lambda *_, **__: None  # type: ignore[method-assign]

    steps = work.start(UNTIL, NOW)

    assert [step.provider for step in steps if isinstance(step, Start)] == ["b"]
    assert [fact.provider for fact in facts(steps) if isinstance(fact, AttemptStarted)] == ["b"]


@pytest.mark.parametrize(
    "event",
    [
        Progressed(attempt=1),
        Finished(attempt=1),
        Failed(attempt=1, failure=failed(Kind.CUT, "llm", provider="a")),
    ],
    ids=["words", "an end", "a failure"],
)
def test_results_of_a_cancelled_attempt_are_ignored(event: WorkEvent) -> None:
    work, roster = ladder("a", "b")
    work.start(UNTIL, NOW)

    stopped = work.cancel("caller", NOW + 0.1)

    assert doing(stopped) == [Cancel]
    assert [type(fact) for fact in facts(stopped)] == [AttemptDropped]
    assert work.handle(event, NOW + 0.2) == ()
    assert roster.health("llm", "a").breaker.failures == 0


def test_the_first_rung_with_content_wins_and_was_expected() -> None:
    work, _ = ladder("a", "b")
    work.start(UNTIL, NOW)

    steps = work.handle(Progressed(attempt=1), NOW + 0.2)

    assert doing(steps) == [Win]
    assert [type(fact) for fact in facts(steps)] == [AttemptWon]
    assert work.winner == 1
