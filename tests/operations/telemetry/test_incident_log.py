"""Incidents in the log: one line each, however many calls meet them."""

import json
from pathlib import Path
from typing import Any

from calls.entry import Entry
from calls.events import Event
from fallbacks.events import AttemptFailed, BreakerMoved, RungChosen, StageExhausted, Suspected
from fallbacks.failure import Kind, Scope, Severity
from operations.notify.incident_rules import Incidents
from operations.telemetry import logs
from tests.kit.log_file import lines_in
from tests.operations.telemetry.incident_feed import IncidentFeed

RUNG: Any = {"stage": "llm", "provider": "openai"}
REFUSED = (
    AttemptFailed(
        **RUNG,
        kind=Kind.AUTH,
        scope=Scope.CREDENTIAL,
        after_s=0.1,
        attempt=1,
        permanent=True,
        severity=Severity.HIGH,
        reason="401 invalid_api_key",
    ),
    Suspected(**RUNG, kind=Kind.AUTH),
    BreakerMoved(
        **RUNG,
        before="closed",
        after="open",
        cause="tripped",
        after_s=9.0,
        severity=Severity.HIGH,
    ),
    RungChosen(stage="llm", before="openai", after="openai-b", cause="failover"),
)
CLOSED = BreakerMoved(**RUNG, before="half_open", after="closed", cause="proven", after_s=1.0)


async def log_calls(*events: Event, calls: int = 1) -> None:
    incidents = Incidents({"llm": ["openai", "openai-b"]}, steps=("clip", "goodbye"))
    log = IncidentFeed(logs.Log(), incidents)
    at = (f"2026-01-01T00:{minute:02}:00.000+00:00" for minute in range(60))
    for call, when in zip(range(calls), at, strict=False):
        for number, event in enumerate(events, start=1):
            await log.hear(Entry(call_id=f"call{call}", number=number, at=when, event=event))


async def test_many_calls_that_meet_one_refused_key_are_one_line(log_file: Path) -> None:
    await log_calls(*REFUSED, calls=50)

    (line,) = lines_in(log_file)
    assert " ERROR " in line
    assert " openai rejects its key (401); openai-b is used instead; " in line
    assert json.loads(line[line.index("{") :]) == {
        "stage": "llm",
        "rung": "openai",
        "kind": "auth",
        "severity": "high",
        "reason": "openai rejects its key (401)",
        "then": "openai-b is used instead; openai is tested until it works again",
    }


async def test_its_end_is_one_more_line(log_file: Path) -> None:
    await log_calls(*REFUSED, *REFUSED, CLOSED)

    began, ended = lines_in(log_file)
    assert "IncidentBegan" in began
    assert " WARNING " in ended
    assert json.loads(ended[ended.index("{") :]) == {
        "stage": "llm",
        "rung": "openai",
        "kind": "auth",
        "lasted_s": 0.0,
        "failures": 2,
    }


async def test_a_stage_without_a_rung_is_critical(log_file: Path) -> None:
    await log_calls(StageExhausted(stage="llm", attempts=2), calls=5)

    (line,) = lines_in(log_file)
    assert " CRITICAL " in line
    assert '"then": "callers will hear a recorded sentence"' in line
