"""Alerts to operators and `alerts.json` agree, though they are written separately."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from calls.events import CallFailed, Event
from fallbacks.breaker import State
from fallbacks.events import AttemptFailed, BreakerMoved
from fallbacks.failure import Kind, Severity, failed
from fallbacks.retrying import RetrySettings
from operations.database.database import Database
from operations.masking import redacted
from operations.notify.alert import AlertRules
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.alerting_rules import Alerting, never_quiet
from operations.notify.dispatcher import AlertDispatcher
from operations.notify.incident_rules import Incidents
from operations.notify.reporter import AlertReporter
from operations.retrying import Retries
from operations.telemetry.emitter import Emitter
from operations.telemetry.record_files import ALERTS, ERRORS, RecordFiles

BEGIN_S = 1_800_000_000.0
LADDERS = {"stt": ["ear"], "llm": ["mind"], "tts": ["cartesia", "elevenlabs"]}
RULES = AlertRules()
Told = tuple[str, str, str, str, str]


def refusal(stage: str, provider: str) -> AttemptFailed:
    failure = failed(Kind.AUTH, stage, provider=provider, reason="401 of +15551234567")
    return AttemptFailed.of(failure, after_s=0.1)


def moved(stage: str, provider: str, after: State) -> BreakerMoved:
    opened = after is State.OPEN
    return BreakerMoved(
        stage=stage,
        provider=provider,
        before=State.CLOSED if opened else State.HALF_OPEN,
        after=after,
        cause="tripped" if opened else "proven",
        after_s=1.0,
        severity=Severity.HIGH if opened else Severity.LOW,
    )


@dataclass
class Story:
    """A process with both writers, whose time the test sets."""

    folder: Path
    outbox: AlertOutbox
    now: float = BEGIN_S
    emitter: Emitter = field(init=False)
    record: RecordFiles = field(init=False)
    reporter: AlertReporter = field(init=False)
    desk: AlertDispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.record = RecordFiles(self.folder, names=(ALERTS, ERRORS), redact=redacted)
        self.reporter = AlertReporter(self.outbox, utc_s=lambda: self.now)
        self.emitter = Emitter(
            listeners=[self.record, self.reporter],
            utc_now=lambda: datetime.fromtimestamp(self.now, UTC),
            incidents=Incidents(LADDERS),
            clock=lambda: self.now,
        )
        self.desk = AlertDispatcher(
            self.outbox, [], RULES, quiet=never_quiet,
            retries=Retries(settings=RetrySettings(attempts=1), emit=self.emitter.emit_for("")),
            leads=lambda: True, utc_s=lambda: self.now,
            describe_replacement=lambda _stage, _rung: "",
        )  # fmt: skip

    async def emit(self, *events: Event, then_s: float = 10.0) -> None:
        for event in events:
            self.emitter.emit_for("call1")(event)
        await self.settle()
        self.now += then_s
        await self.settle()

    async def settle(self) -> None:
        """Process all events, and the events that follow from them."""
        for _ in range(2):
            await self.emitter.flush()
            assert await self.reporter.write()
            await self.desk.decide()
        await self.emitter.flush()
        self.record.write()

    def written(self) -> list[Told]:
        rows = json.loads((self.folder / ALERTS).read_text())
        names = ("service_name", "provider", "kind", "status", "timestamp")
        return sorted(tuple(row[name] for name in names) for row in rows)

    async def sent(self) -> list[Told]:
        return sorted(
            (
                alert.stage.upper(),
                alert.rung,
                alert.kind,
                "UNRESOLVED" if alert.ended_s is None else "RESOLVED",
                datetime.fromtimestamp(alert.began_s, UTC).isoformat()[:19],
            )
            for alert in await self.desk.recent()
        )


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with AsyncExitStack() as stack:
        outbox = AlertOutbox(Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db"))
        stack.push_async_callback(outbox.database.close)
        found = Story(folder=tmp_path / "logs", outbox=outbox)
        await stack.enter_async_context(found.emitter)
        yield found


@pytest.mark.parametrize(("pause", "alerts"), [(0.5, 1), (2.0, 2)], ids=["soon", "late"])
async def test_an_outage_that_returns_soon_is_one_alert_in_both(
    story: Story, pause: float, alerts: int
) -> None:
    for _ in range(2):
        await story.emit(refusal("tts", "cartesia"), moved("tts", "cartesia", State.OPEN))
        await story.emit(moved("tts", "cartesia", State.CLOSED), then_s=RULES.again_s * pause)

    assert story.written() == await story.sent()
    told = [("TTS", "cartesia", "auth", "RESOLVED")]
    assert [text[:4] for text in story.written()] == told * alerts


@pytest.mark.parametrize(
    ("then_s", "status"), [(10.0, "UNRESOLVED"), (RULES.named_again_s + 60, "RESOLVED")]
)
async def test_calls_that_could_not_be_served_are_one_alert_in_both_until_reports_stop(
    story: Story, then_s: float, status: str
) -> None:
    await story.emit(*[CallFailed(where="call", error="a mistake")] * 3, then_s=then_s)

    assert story.written() == await story.sent()
    assert [text[:4] for text in story.written()] == [("CALL", "", "not_served", status)]


async def test_an_incident_resolved_by_an_operator_is_over_in_both(story: Story) -> None:
    await story.emit(refusal("llm", "mind"), moved("llm", "mind", State.OPEN))
    (alert,) = [item for item in await story.desk.recent() if item.rung]

    def resolve(alerting: Alerting, now: float) -> object:
        return alerting.resolve(alert.key, now, by="anna")

    await story.desk.change(resolve)
    await story.settle()

    assert story.written() == await story.sent()
    assert ("LLM", "mind", "auth", "RESOLVED") in [text[:4] for text in story.written()]


async def test_a_day_of_failures_has_the_same_number_of_alerts_in_both(story: Story) -> None:
    for stage, provider in (("tts", "cartesia"), ("stt", "ear"), ("tts", "elevenlabs")):
        await story.emit(refusal(stage, provider), moved(stage, provider, State.OPEN))
    await story.emit(CallFailed(where="call", error="a mistake"))
    for stage, provider in (("stt", "ear"), ("tts", "elevenlabs"), ("tts", "cartesia")):
        await story.emit(moved(stage, provider, State.CLOSED))

    assert story.written() == await story.sent()
    assert len(story.written()) == 6  # three rungs, two stages without any, and the call
    text = (story.folder / ALERTS).read_text() + (story.folder / ERRORS).read_text()
    assert "+1555****67" in text
    assert "5551234567" not in text
