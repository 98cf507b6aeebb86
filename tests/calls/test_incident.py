"""One incident: when it grows worse, and its texts."""

from typing import Any

import pytest

from calls.incident import Incident, IncidentBegan, IncidentEnded, IncidentGrew, Trouble
from fallbacks.failure import Severity


def trouble(rung: str = "openai", severity: Severity = Severity.MEDIUM, **more: Any) -> Trouble:
    return Trouble(stage="llm", rung=rung, kind="timeout", severity=severity, **more)


LATE = trouble(reason="no word in 2 s")
LEFT_ALONE = trouble(left_alone=True)
STAGE = trouble("")
REFUSED = Trouble(
    stage="llm",
    rung="openai",
    kind="auth",
    severity=Severity.HIGH,
    reason="401",
    left_alone=True,
    failures=3,
)


@pytest.mark.parametrize(
    ("first", "then", "worse"),
    [
        (LATE, LATE, False),
        (LATE, trouble(severity=Severity.LOW), False),
        (LATE, trouble(severity=Severity.HIGH), True),
        (LATE, LEFT_ALONE, True),
        (LATE, trouble(severity=Severity.LOW, left_alone=True), True),
        (LEFT_ALONE, LEFT_ALONE, False),
        (LEFT_ALONE, LATE, False),
        (LEFT_ALONE, trouble(severity=Severity.CRITICAL), True),
        (STAGE, trouble("", left_alone=True), False),
    ],
    ids=["the same", "lighter", "heavier", "left alone now", "lighter, but left alone now",
         "still left alone", "asked again", "left alone before, heavier now", "a whole stage"],
)  # fmt: skip
def test_a_worse_state_than_reported_is_worse(first: Trouble, then: Trouble, worse: bool) -> None:  # noqa: FBT001 - a table
    assert Incident(first, now=0.0).add(then) is worse


@pytest.mark.parametrize(
    "worse",
    [trouble(severity=Severity.HIGH), LEFT_ALONE, REFUSED],
    ids=["heavier", "left alone", "both"],
)
def test_a_reported_worse_state_is_not_reported_again(worse: Trouble) -> None:
    incident = Incident(LATE, now=0.0)

    assert [incident.add(item) for item in (worse, worse, LATE, worse)] == [
        True,
        False,
        False,
        False,
    ]


def test_it_begins_with_the_first_failure() -> None:
    assert Incident(LATE, now=0.0).begin("openai-b is asked instead") == IncidentBegan(
        stage="llm",
        rung="openai",
        kind="timeout",
        severity=Severity.MEDIUM,
        reason="no word in 2 s",
        then="openai-b is asked instead",
    )


def test_it_grows_to_the_worst_and_counts_every_failure() -> None:
    incident = Incident(LATE, now=0.0)
    for item in (LATE, REFUSED, LATE):
        incident.add(item)

    assert incident.grow("openai-b is asked instead") == IncidentGrew(
        stage="llm",
        rung="openai",
        kind="auth",
        severity=Severity.HIGH,
        reason="401",
        then="openai-b is asked instead",
        failures=6,
    )


@pytest.mark.parametrize(
    ("over", "lasted_s"),
    [(100.0, 0.0), (100.44, 0.4), (100.46, 0.5), (3700.0, 3600.0)],
    ids=["at once", "less than half a second", "half a second", "an hour"],
)
def test_it_ends_with_how_long_it_lasted_to_a_tenth_of_a_second(
    over: float, lasted_s: float
) -> None:
    incident = Incident(REFUSED, now=100.0)
    incident.add(LATE)

    assert incident.end(over) == IncidentEnded(
        stage="llm", rung="openai", kind="auth", lasted_s=lasted_s, failures=4
    )


def test_its_length_is_never_negative() -> None:
    assert Incident(LATE, now=100.0).end(99.0).lasted_s == 0.0


def test_it_lasts_until_recovery_and_starts_again_with_the_next_failure() -> None:
    incident = Incident(LATE, now=100.0)
    assert (incident.began, incident.well_since) == (100.0, None)

    incident.well_since = 105.0
    incident.add(LATE)

    assert (incident.began, incident.well_since) == (100.0, None)
