"""Each surface shows the same sentence about the same failure, with its cure and without a code."""

# pyright: reportArgumentType=false

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from typing import Any

import pytest

from bot.server.call_routes import _failure_as_json as on_the_calls_page
from calls.entry import Entry
from calls.incident import IncidentBegan
from calls.sentences import Vendor, cure_of, sentence
from fallbacks.events import AttemptFailed
from fallbacks.failure import ONE_CALL, Kind, failed
from operations.masking import without_words
from operations.notify.alert import Alert
from operations.notify.alerting_rules import new_alert
from operations.notify.channel import alert_as_json, alert_text
from operations.notify.incident_rules import Incidents
from operations.postmortem.page import _failures_table as in_the_evidence
from operations.postmortem.story import _failure_as_json as in_the_evidence_file
from operations.record.reader import FailureRow
from operations.telemetry.live import ConsoleSums, Live
from operations.telemetry.logs import LogFields, _line_of

VENDORS = {
    ("llm", "openai"): Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm openai"),
    ("tts", "voice"): Vendor(title="Cartesia", key="CARTESIA_KEY", place="stages.tts voice"),
}
LADDERS = {"llm": ["openai"], "tts": ["voice"]}
AT = "2027-01-15T08:00:00.000+00:00"
TOLD = {
    "a wrong key": ("llm", "openai", Kind.AUTH, "401", "OpenAI rejects OPENAI_API_KEY (401)"),
    "a key that one call found wrong": (
        *("llm", "openai", Kind.AUTH, f"{ONE_CALL}: 401 invalid_api_key"),
        "OpenAI refused one call's request (401); it is being probed",
    ),
    "no credit": (
        *("tts", "voice", Kind.QUOTA, "402"),
        "Cartesia has no credit left for CARTESIA_KEY (402)",
    ),
    "too many requests": (
        *("tts", "voice", Kind.RATE_LIMITED, "slow_down"),
        "Cartesia limits the requests of CARTESIA_KEY",
    ),
    "too late": ("llm", "openai", Kind.TIMEOUT, "first_late", "OpenAI does not answer in time"),
    "silent": ("tts", "voice", Kind.SILENT, "no_audio", "Cartesia answers with nothing"),
}
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
ROW: Mapping[str, Any] = {"id": 1, "call_id": "c1", "turn": 1, "at": NOON}


def failure_of(stage: str, rung: str, kind: Kind, reason: str) -> AttemptFailed:
    return AttemptFailed.of(failed(kind, stage, provider=rung, reason=reason), after_s=0.1)


def alert_of(event: AttemptFailed) -> Alert:
    incidents = Incidents(LADDERS, steps=("clip", "keypad"), vendors=VENDORS)
    found = IncidentBegan(
        stage=event.stage,
        rung=event.provider,
        kind=event.kind,
        severity=event.severity,
        reason=incidents.rungs.explain(event.stage, event.provider, event.kind, event.reason),
    )
    (fact,) = incidents.add_failure(found, 0.0)
    assert isinstance(fact, IncidentBegan)
    return new_alert(fact, 0.0)


def row_of(event: AttemptFailed) -> FailureRow:
    same = {name: getattr(event, name) for name in ("stage", "provider", "reason", "attempt")}
    codes = {name: str(getattr(event, name)) for name in ("kind", "scope", "severity")}
    return FailureRow(**ROW, **same, **codes, permanent=event.permanent)


@pytest.mark.parametrize("name", TOLD)
async def test_each_surface_shows_the_sentence(name: str) -> None:
    *place, says = TOLD[name]
    event = failure_of(*place)  # type: ignore[arg-type] - a table
    entry = Entry(call_id="c1", number=1, at=AT, event=event)
    row, alert, cure = row_of(event), alert_of(event), cure_of(event.kind, says)
    sums, live = ConsoleSums(VENDORS), Live(words=False, vendors=VENDORS)
    await sums.hear(entry)
    await live.hear(entry)
    (rung,) = sums.recent.rungs(datetime.fromisoformat(AT).timestamp())
    page = in_the_evidence({"failures": [in_the_evidence_file(row, VENDORS)]})
    on_page = on_the_calls_page(row, VENDORS)
    line = _line_of(entry, without_words, LogFields().read(entry), VENDORS)

    assert alert_text(alert).title.endswith(f": {says}")
    assert (sentence(cure_of(event.kind)) in alert_text(alert).lines) is bool(cure)
    assert "Callers will get the keypad menu." in alert_text(alert).whole
    assert alert_as_json(alert)["cure"] == cure
    assert (on_page["says"], on_page["cure"]) == (says, cure)
    assert f"{escape(says)}.</td>" in page
    assert rung["last_failure"]["says"] == says
    assert (await anext(live.watch()))["says"] == says
    assert f" AttemptFailed turn=0 breaker=closed {says} {{" in line
    assert str(event.kind) in asdict(row).values()  # the codes stay for programs
