"""One incident: when it grows worse, and its texts."""

from typing import Any

import pytest

from calls.incident import Incident, IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.failure import Severity


def found(rung: str = "openai", severity: Severity = Severity.MEDIUM) -> IncidentBegan:
    return IncidentBegan(
        stage="llm",
        rung=rung,
        kind="timeout",
        severity=severity,
        reason="no word in 2 s",
        then="openai-b is asked instead",
    )


LATE = (found(), False)
LEFT_ALONE = (found(), True)
STAGE = (found(""), False)
REFUSED = IncidentBegan(
    stage="llm", rung="openai", kind="auth", severity=Severity.HIGH, reason="401", then="goodbye"
)
Met = tuple[IncidentBegan, bool]


def begun(first: Met = LATE, **more: Any) -> Incident:
    return Incident(first[0], is_breaker_open=first[1], **{"now": 0.0, **more})


@pytest.mark.parametrize(
    ("first", "then", "worse"),
    [
        (LATE, LATE, False),
        (LATE, (found(severity=Severity.LOW), False), False),
        (LATE, (found(severity=Severity.HIGH), False), True),
        (LATE, LEFT_ALONE, True),
        (LATE, (found(severity=Severity.LOW), True), True),
        (LEFT_ALONE, LEFT_ALONE, False),
        (LEFT_ALONE, LATE, False),
        (LEFT_ALONE, (found(severity=Severity.CRITICAL), False), True),
        (STAGE, (found(""), True), False),
    ],
    ids=["the same", "lighter", "heavier", "open now", "lighter, but open now",
         "still open", "closed again", "open before, heavier now", "a whole stage"],
)  # fmt: skip
def test_a_worse_state_than_reported_is_worse(first: Met, then: Met, worse: bool) -> None:  # noqa: FBT001 - a table
    assert bool(begun(first).add(then[0], is_breaker_open=then[1])) is worse


@pytest.mark.parametrize(
    "worse",
    [(found(severity=Severity.HIGH), False), LEFT_ALONE, (REFUSED, True)],
    ids=["heavier", "open", "both"],
)
def test_a_reported_worse_state_is_not_reported_again(worse: Met) -> None:
    incident = begun()

    grew = [
        incident.add(item, is_breaker_open=alone) for item, alone in (worse, worse, LATE, worse)
    ]

    assert [item is not None for item in grew] == [True, False, False, False]


def test_an_incident_takes_the_worst_severity_and_counts_every_failure() -> None:
    incident = begun()
    incident.add(found())

    assert incident.add(REFUSED, is_breaker_open=True, failures=3) == IncidentGrew(
        stage="llm",
        rung="openai",
        kind="auth",
        severity=Severity.HIGH,
        reason="401",
        then="goodbye",
        failures=5,
    )


@pytest.mark.parametrize(
    ("over", "lasted_s"),
    [(100.0, 0.0), (100.44, 0.4), (100.46, 0.5), (3700.0, 3600.0)],
    ids=["at once", "less than half a second", "half a second", "an hour"],
)
def test_an_incident_ends_with_its_duration_to_a_tenth_of_a_second(
    over: float, lasted_s: float
) -> None:
    incident = begun((REFUSED, True), now=100.0, failures=3)
    incident.add(found())

    assert incident.end(over) == IncidentEnded(
        stage="llm", rung="openai", kind="auth", lasted_s=lasted_s, failures=4
    )


def test_an_incidents_duration_is_never_negative() -> None:
    assert begun(now=100.0).end(99.0).lasted_s == 0.0


def test_an_incident_lasts_until_recovery_and_starts_again_with_the_next_failure() -> None:
    incident = begun(now=100.0)
    assert (incident.began, incident.well_since) == (100.0, None)

    incident.well_since = 105.0
    incident.add(found())

    assert (incident.began, incident.well_since) == (100.0, None)
