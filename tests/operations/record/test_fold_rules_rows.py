"""Rows that the record writes for single entries."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, MessageLeft, ProviderFailed, UsageMeasured
from calls.leg_events import LegEnded
from fallbacks.events import AttemptFailed, BreakerMoved, RungFollowed, StageRecovered
from fallbacks.failure import Kind, Scope, Severity
from operations.record.fold_rules import (
    ENDED_CALLS,
    WITH_TURNS,
    RecordBatch,
    RecordFold,
    RecordRow,
    breaker_move,
    failure,
    happening,
)

AT = "2026-03-01T12:00:01.000+00:00"
STARTED = CallStarted(transport="twilio", agent="desk", caller="+15550101", called="+15550100")
DIALLED = CallStarted(
    transport="twilio", agent="desk", caller="+15550100", called="+15550199", direction="outbound"
)
ENDED = CallEnded(reason="caller_hung_up", length_s=12.5, verdict="served")
USED = UsageMeasured(turn=1, stage="tts", provider="cartesia", model="m", cost=0.25)
FAILED = AttemptFailed(
    stage="tts",
    provider="cartesia",
    kind=Kind.NETWORK,
    scope=Scope.ENDPOINT,
    after_s=0.4,
    attempt=3,
    permanent=True,
    severity=Severity.HIGH,
    reason="reset",
)
OPENED = BreakerMoved(
    stage="tts",
    provider="cartesia",
    before="closed",
    after="open",
    cause="failures",
    after_s=9.5,
    severity=Severity.MEDIUM,
)


def entry(event: Event, *, call_id: str = "c1", number: int = 1) -> Entry:
    return Entry(call_id=call_id, number=number, at=AT, event=event)


def told(*entries: Entry) -> RecordBatch:
    folded = RecordFold(holder="one", messages="logs/messages")
    for item in entries:
        folded.add(item)
    return folded.take()


@pytest.mark.parametrize(
    ("event", "kind", "stage", "provider"),
    [
        (OPENED, "BreakerMoved", "tts", "cartesia"),
        (StageRecovered(stage="llm", down_s=4.0), "StageRecovered", "llm", ""),
        (ENDED, "CallEnded", "", ""),
    ],
    ids=["a rung's", "a stage's", "a call's"],
)
def test_an_entry_is_in_the_timeline_with_all_its_fields(
    event: Event, kind: str, stage: str, provider: str
) -> None:
    row = {"kind": kind, "stage": stage, "provider": provider, "data": asdict(event)}

    assert happening(entry(event, number=7)) == {"call_id": "c1", "number": 7, "at": AT, **row}


def taken(event: Event, *names: str) -> RecordRow:
    return {name: getattr(event, name) for name in names}


def test_a_failed_attempt_is_kept_with_its_turn_and_severity() -> None:
    own = taken(FAILED, "stage", "provider", "kind", "scope", "severity", "attempt", "permanent")

    assert failure(entry(FAILED), FAILED, 2) == {
        **own, "call_id": "c1", "turn": 2, "at": AT, "reason": "reset",
    }  # fmt: skip


def test_a_failure_outside_the_ladders_is_a_plain_error() -> None:
    off = ProviderFailed(stage="transport", provider="twilio", error="answered 401")

    assert failure(entry(off, call_id=""), off, None) == {
        **taken(off, "stage", "provider"),
        "call_id": "",
        "turn": None,
        "at": AT,
        "kind": "error",
        "scope": "",
        "severity": "low",
        "attempt": 0,
        "permanent": False,
        "reason": "answered 401",
    }


def test_a_breakers_transitions_belong_to_one_process() -> None:
    row = breaker_move(entry(OPENED), OPENED, "one")

    assert row == asdict(OPENED) | {"call_id": "c1", "at": AT, "holder": "one"}


@pytest.mark.parametrize(
    ("started", "number"),
    [(STARTED, "+15550101"), (DIALLED, "+15550199")],
    ids=["called us", "was dialled"],
)
def test_a_message_is_kept_with_its_caller_and_file(started: CallStarted, number: str) -> None:
    batch = told(entry(started), entry(MessageLeft(length_s=4.5), number=2))

    assert batch.voicemails == [
        {
            "call_id": "c1",
            "number": number,
            "path": "logs/messages/c1.wav",
            "length_s": 4.5,
            "at": AT,
            "transcript": "",
        }
    ]


def test_a_message_without_a_call_is_not_kept() -> None:
    batch = told(entry(MessageLeft(length_s=4.5), call_id=""))

    assert (batch.voicemails, batch.calls) == ([], [])


@pytest.mark.parametrize(
    ("ref", "outcomes"), [("CA1", {"CA1": "busy"}), ("", {})], ids=["the carrier's id", "no id"]
)
def test_an_outcome_is_stored_only_under_a_carriers_id(ref: str, outcomes: Any) -> None:
    assert told(entry(LegEnded(call_ref=ref, outcome="busy"), call_id="")).outcomes == outcomes


def test_a_second_end_of_a_call_changes_nothing() -> None:
    folded = RecordFold(holder="one", messages="m")
    for item in (STARTED, ENDED, ENDED):
        folded.add(entry(item))

    (row,) = folded.take().calls
    assert (row["state"], folded.live) == ("ended", frozenset())


def with_ended(name: str, *, later: int) -> RecordFold:
    """Return a fold with an ended call and this many after it, and all rows."""
    folded = RecordFold(holder="one", messages="m")
    for item in (name, *(f"later {number}" for number in range(later))):
        folded.add(entry(STARTED, call_id=item))
        folded.add(entry(ENDED, call_id=item))
    folded.take()
    return folded


@pytest.mark.parametrize(
    ("later", "cost"),
    [(ENDED_CALLS - 1, [0.25]), (ENDED_CALLS, [])],
    ids=["known", "forgotten"],
)
def test_a_cost_after_the_end_finds_the_latest_calls(later: int, cost: list[float]) -> None:
    folded = with_ended("c1", later=later)

    folded.add(entry(replace(USED, behind_call="c1"), call_id=""))

    assert [row["cost"] for row in folded.take().calls] == cost


@pytest.mark.parametrize(
    ("later", "turns"), [(WITH_TURNS - 1, [1]), (WITH_TURNS, [])], ids=["known", "forgotten"]
)
def test_a_late_bill_finds_the_turns_of_the_latest_calls(later: int, turns: list[int]) -> None:
    folded = with_ended("c1", later=later)

    folded.add(entry(USED))

    assert [row["turn"] for row in folded.take().turns] == turns


def test_an_event_of_a_forgotten_call_is_in_the_timeline_and_starts_no_call() -> None:
    folded = with_ended("c1", later=ENDED_CALLS)

    folded.add(entry(USED))
    late = folded.take()

    assert [row["kind"] for row in late.happenings] == ["UsageMeasured"]
    assert (late.calls, late.turns, folded.live) == ([], [], frozenset())


def test_a_breaker_that_another_process_closes_has_an_end_too() -> None:
    rested = replace(OPENED, before="open", after="half_open", cause="rested")
    well = RungFollowed(stage="tts", provider="cartesia", breaker="closed", suspect=False)
    down = replace(well, breaker="open", suspect=True)
    batch = told(entry(well), entry(down), entry(rested), entry(down), entry(well), entry(well))

    assert [(row["before"], row["after"], row["cause"]) for row in batch.breaker_moves] == [
        ("open", "half_open", "rested"),
        ("half_open", "closed", "followed"),
    ]
