"""One piece of work: what it tells of a failure."""

import itertools

import pytest

from fallbacks.deadline import Deadline
from fallbacks.facts import AttemptFailed
from fallbacks.failure import Kind, Severity, failed
from fallbacks.roster import Place, Roster
from fallbacks.work import Fact, StagePolicy, Work


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (Kind.AUTH, Severity.HIGH),
        (Kind.PROTOCOL, Severity.MEDIUM),
        (Kind.OVERLOADED, Severity.LOW),
    ],
)
def test_a_failure_is_told_as_loudly_as_it_deserves(kind: Kind, severity: Severity) -> None:
    told: list[Fact] = []
    roster = Roster([Place(stage="llm", provider="openai", credential="key")], now=100.0)
    policy = StagePolicy(stage="llm", roster=roster)
    work = Work(policy, tell=told.append, numbers=itertools.count(1))
    work.start(Deadline(at=101.5), now=100.0)

    work.failed(1, failed(kind, "llm", provider="openai"), now=100.1)

    (fact,) = [each for each in told if isinstance(each, AttemptFailed)]
    assert fact.severity is severity
