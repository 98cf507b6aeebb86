"""The end of an incident, and its text."""

import pytest

from calls.events import CallEnded, Event
from calls.incident import UNKNOWN, Incident, IncidentBegan, IncidentEnded
from calls.sentences import Vendor
from fallbacks.events import RungFollowed
from fallbacks.failure import Kind, Severity
from operations.notify.incident_rules import AGAIN_S, CALM_S, Incidents
from tests.operations.notify.test_incident_rules import (
    EXHAUSTED,
    LADDERS,
    LATE,
    REFUSED,
    STEPS,
    attempt_failed,
    chosen,
    cleared,
    moved,
    told_by,
    won,
)


def test_a_breaker_that_closes_ends_the_incident_at_once() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*REFUSED, *REFUSED, of=incidents)
    rested = [moved("half_open"), moved("open"), moved("half_open")]
    assert told_by(*rested, at=1800.0, of=incidents) == []

    assert told_by(cleared(), moved("closed"), at=2000.0, of=incidents) == [
        IncidentEnded(stage="llm", rung="openai", kind="auth", lasted_s=2000.0, failures=2)
    ]


def test_a_suspicion_that_comes_and_goes_is_one_incident() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told = [
        incident_fact
        for turn in range(20)
        for incident_fact in told_by(*LATE, cleared(), at=turn * CALM_S * 0.9, of=incidents)
    ]
    last_s = 19 * CALM_S * 0.9

    assert [type(index) for index in told] == [IncidentBegan]
    assert incidents.tick(last_s + CALM_S) == (
        IncidentEnded(stage="llm", rung="openai", kind="timeout", lasted_s=last_s, failures=20),
    )
    assert incidents.tick(last_s + CALM_S) == ()


def followed(breaker: str, *, suspect: bool = False, rung: str = "openai") -> Event:
    return RungFollowed(stage="llm", provider=rung, breaker=breaker, suspect=suspect)


def test_an_outage_that_another_process_found_is_reported_with_its_cause() -> None:
    vendors = {("llm", "openai"): Vendor(title="OpenAI", key="OPENAI_API_KEY", place="")}
    incidents = Incidents(LADDERS, steps=STEPS, vendors=vendors)

    event = RungFollowed(
        stage="llm", provider="openai", breaker="open", suspect=True, kind="auth", reason="401"
    )
    (began,) = incidents.handle(event, 1.0)

    assert isinstance(began, IncidentBegan)
    assert (began.kind, began.reason) == ("auth", "OpenAI rejects OPENAI_API_KEY (401)")


def test_a_report_without_a_cause_does_not_replace_the_cause_of_an_incident() -> None:
    known = IncidentBegan(
        stage="llm", rung="a", kind="auth", severity=Severity.LOW, reason="it rejects the key"
    )
    empty = IncidentBegan(
        stage="llm", rung="a", kind=UNKNOWN, severity=Severity.HIGH, reason="it does not work"
    )

    grew = Incident(known, now=0.0).add(empty)

    assert grew is not None
    assert (grew.kind, grew.reason) == ("auth", "it rejects the key")


def test_a_suspicion_cleared_by_another_process_is_cleared_here_too() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    began = told_by(*LATE, of=incidents)

    incidents.handle(followed("closed"), 1.0)

    assert [type(incident_fact) for incident_fact in began] == [IncidentBegan]
    assert incidents.tick(1.0 + CALM_S - 0.1) == ()
    assert [type(incident) for incident in incidents.tick(1.0 + CALM_S)] == [IncidentEnded]


def test_a_breaker_closed_by_another_process_ends_the_incident_here_at_once() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(attempt_failed(Kind.NETWORK), moved("open"), of=incidents)

    halfway = incidents.handle(followed("half_open", suspect=True), 1.0)
    over = incidents.handle(followed("closed"), 2.0)

    assert halfway == ()
    assert [type(incident) for incident in over] == [IncidentEnded]


def test_another_processes_suspicion_begins_no_incident_here() -> None:
    assert told_by(followed("closed", suspect=True), followed("closed")) == []


def test_a_breaker_opened_by_another_process_is_an_incident_here_too() -> None:
    began, ended = told_by(followed("open", suspect=True), followed("closed"))

    assert isinstance(began, IncidentBegan)
    assert isinstance(ended, IncidentEnded)
    assert (began.rung, began.kind, began.severity) == ("openai", "unknown", Severity.MEDIUM)
    assert (ended.rung, ended.failures) == ("openai", 0)


def test_all_breakers_of_a_stage_opened_by_other_processes_are_an_outage_here_too() -> None:
    told = told_by(*(followed("open", rung=name) for name in LADDERS["llm"]))

    assert [fact.rung for fact in told] == [*LADDERS["llm"], ""]
    assert isinstance(told[-1], IncidentBegan)
    assert told[-1].severity is Severity.CRITICAL


@pytest.mark.parametrize(
    "events",
    [
        [],
        [won("openai")],
        [moved("open"), moved("half_open"), cleared(), won("openai")],
        [followed("closed", suspect=True), won("openai")],
        [followed("open"), won("openai")],
    ],
    ids=["suspect", "a late answer", "half open", "suspect elsewhere", "open elsewhere"],
)
def test_an_incident_lasts_until_its_rung_has_recovered(events: list[Event]) -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*LATE, *events, of=incidents)

    assert incidents.tick(3600.0) == ()


def test_a_rate_limit_is_over_when_the_rung_answers_again() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(attempt_failed(Kind.RATE_LIMITED), chosen(), of=incidents)
    told_by(won("openai"), at=9.0, of=incidents)

    (ended,) = incidents.tick(9.0 + CALM_S)

    assert (ended.kind, ended.lasted_s) == ("rate_limited", 9.0)


def test_a_stage_has_a_usable_rung_again_when_one_breaker_closes() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(moved("open", "deepgram", "stt"), at=1.0, of=incidents)

    told = told_by(moved("half_open", "deepgram", "stt"), at=30.0, of=incidents)
    told += told_by(moved("closed", "deepgram", "stt"), at=31.0, of=incidents)

    kinds = ("unknown", "no_usable_rung")
    assert told == [
        IncidentEnded(stage="stt", rung=rung, kind=kind, lasted_s=30.0, failures=0)
        for rung, kind in zip(("deepgram", ""), kinds, strict=True)
    ]


def test_a_breaker_that_opens_does_not_end_its_stages_incident() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(EXHAUSTED, of=incidents)

    (rung,) = told_by(moved("open"), of=incidents)
    (ended,) = told_by(moved("closed"), of=incidents)[1:]

    assert isinstance(rung, IncidentBegan)
    assert (ended.rung, ended.kind) == ("", "exhausted")


def test_a_rung_that_fails_for_hours_is_named_once() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*REFUSED, of=incidents)

    assert told_by(*REFUSED, at=2 * AGAIN_S, of=incidents) == []


def test_recovery_counts_from_the_first_good_answer() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(EXHAUSTED, of=incidents)
    told_by(won("openai-b"), at=5.0, of=incidents)
    told_by(won("openai-b"), at=20.0, of=incidents)

    assert incidents.tick(5.0 + CALM_S) == (
        IncidentEnded(stage="llm", rung="", kind="exhausted", lasted_s=5.0, failures=1),
    )


def test_any_event_reports_incidents_that_have_ended_by_then() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(EXHAUSTED, of=incidents)
    told_by(won("openai"), at=5.0, of=incidents)
    hung_up = CallEnded(reason="caller_hung_up", length_s=60.0)

    assert incidents.handle(hung_up, 34.9) == ()
    assert [type(incident) for incident in incidents.handle(hung_up, 35.0)] == [IncidentEnded]


def test_ended_incidents_are_reported_before_new_ones() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(EXHAUSTED, of=incidents)
    told_by(won("openai"), at=5.0, of=incidents)

    told = incidents.handle(EXHAUSTED, 100.0)

    assert [type(incident) for incident in told] == [IncidentEnded, IncidentBegan]


def test_a_breaker_that_closes_clears_the_suspicion_as_well() -> None:
    incidents = Incidents(LADDERS, steps=STEPS)
    told_by(*LATE, moved("open"), moved("half_open"), moved("closed"), of=incidents)
    told_by(attempt_failed(Kind.NETWORK, severity=Severity.MEDIUM), at=100.0, of=incidents)
    told_by(won("openai"), at=103.0, of=incidents)

    assert incidents.tick(103.0 + CALM_S) == (
        IncidentEnded(stage="llm", rung="openai", kind="network", lasted_s=3.0, failures=1),
    )


def test_a_proven_rung_that_is_outrun_begins_no_incident() -> None:
    again = told_by(*REFUSED, moved("half_open"), moved("closed"), chosen())

    assert [type(incident_fact) for incident_fact in again] == [IncidentBegan, IncidentEnded]


def test_a_rung_that_answered_after_a_glitch_and_is_outrun_begins_no_incident() -> None:
    assert told_by(attempt_failed(Kind.TIMEOUT), won("openai"), chosen()) == []
