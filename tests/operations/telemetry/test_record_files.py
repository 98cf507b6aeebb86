"""The record as files that other tools read."""

import asyncio
import json
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, TranscriptFinal
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    RungFollowed,
)
from fallbacks.failure import Kind, Scope, Severity
from operations.masking import redacted
from operations.notify.incident_rules import Incidents
from operations.telemetry import record_files
from operations.telemetry import record_files as record_folder
from operations.telemetry.record_files import ALERTS, ERRORS, NAMES, RECORD, RecordFiles
from tests.kit.waiting import until
from tests.operations.telemetry.incident_feed import IncidentFeed

LADDERS = {"tts": ["cartesia", "elevenlabs"], "stt": ["deepgram"]}
BEGAN = datetime(2026, 1, 30, 12, 34, 56, tzinfo=UTC)
REFUSED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.AUTH, scope=Scope.CREDENTIAL, after_s=0.1,
    permanent=True, severity=Severity.HIGH, reason="401",
)  # fmt: skip
GLITCH = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.1
)
OPENED = BreakerMoved(
    stage="tts", provider="cartesia", before="closed", after="open", cause="tripped",
    after_s=9.0, severity=Severity.HIGH,
)  # fmt: skip
RETRY = RetryPlanned(stage="crm", provider="crm", kind=Kind.CUT, retry=1, wait_s=5.0)
CLOSED = BreakerMoved(
    stage="tts",
    provider="cartesia",
    before="half_open",
    after="closed",
    cause="proven",
    after_s=1.0,
)


class Written:
    """A record that was told events, one a second, and has written them."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.record = RecordFiles(folder, redact=redacted, **options)
        self.feed = IncidentFeed(self.record, Incidents(LADDERS))
        self.told = 0

    async def emit(self, *events: Event) -> None:
        await self.hear(*events)
        self.record.write()

    async def hear(self, *events: Event) -> None:
        for event in events:
            at = (BEGAN + timedelta(seconds=self.told)).isoformat(timespec="milliseconds")
            self.told += 1
            await self.feed.hear(Entry(call_id="c", number=self.told, at=at, event=event))

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}

    def array(self, name: str) -> list[dict[str, Any]]:
        return json.loads((self.folder / name).read_text())

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


async def test_a_failure_is_in_the_error_log_with_retries_and_circuit(
    tmp_path: Path,
) -> None:
    it = Written(tmp_path)
    await it.emit(
        RetryPlanned(stage="tts", provider="cartesia", kind=Kind.CUT, retry=2, wait_s=10.0),
        REFUSED,
        OPENED,
        GLITCH,
    )

    assert it.array(ERRORS) == [
        {
            "timestamp": "2026-01-30T12:34:57",
            "service_name": "cartesia",
            "error_category": "permanent",
            "message": "auth: 401",
            "retry_count": 2,
            "circuit_state": "CLOSED",
            "call_id": "c",
        },
        {
            "timestamp": "2026-01-30T12:34:59",
            "service_name": "cartesia",
            "error_category": "transient",
            "message": "cut",
            "retry_count": 0,  # a permanent failure is not retried
            "circuit_state": "OPEN",
            "call_id": "c",
        },
    ]


@pytest.mark.parametrize(
    ("before", "later_s", "retries"),
    [
        ((), 0, 0),
        ((RETRY,), 10, 1),
        ((RETRY,), 60, 1),  # as long as one request may take
        ((RETRY,), 86_400, 0),  # it succeeded, which nothing reports
        ((RETRY, replace(RETRY, retry=2, wait_s=600.0)), 610, 2),
        ((RETRY, RetriesExhausted(stage="crm", provider="crm", kind=Kind.CUT, tries=2)), 1, 0),
        ((RETRY, AttemptWon(stage="crm", provider="crm", attempt=1, after_s=0.1)), 1, 0),
    ],
)
async def test_a_failure_counts_the_retries_of_its_own_sequence(
    tmp_path: Path, before: tuple[Event, ...], later_s: int, retries: int
) -> None:
    it = Written(tmp_path)
    await it.emit(*before)
    it.told += later_s
    await it.emit(replace(GLITCH, stage="crm", provider="crm"))

    assert it.array(ERRORS)[-1]["retry_count"] == retries
    assert it.lines("app_logs.json")[-1]["retry_count"] == retries


async def test_exhausted_retries_are_counted_in_their_own_row(tmp_path: Path) -> None:
    it = Written(tmp_path)
    await it.emit(RETRY, RetriesExhausted(stage="crm", provider="crm", kind=Kind.CUT, tries=2))

    assert [row["retry_count"] for row in it.array(ERRORS)] == [1]


async def test_a_circuit_is_as_another_process_reported_it_last(tmp_path: Path) -> None:
    it = Written(tmp_path)
    for breaker in ("open", "half_open", "closed"):
        await it.emit(
            RungFollowed(stage="tts", provider="cartesia", breaker=breaker, suspect=False), GLITCH
        )

    assert [row["circuit_state"] for row in it.array(ERRORS)] == ["OPEN", "HALF_OPEN", "CLOSED"]
    assert [app["circuit_state"] for app in it.lines("app_logs.json")] == [
        "OPEN", "HALF_OPEN", "CLOSED",
    ]  # fmt: skip


async def test_an_alert_is_one_row_from_begin_to_end(tmp_path: Path) -> None:
    it = Written(tmp_path)
    await it.emit(REFUSED, REFUSED, OPENED)
    during = it.array(ALERTS)
    await it.emit(CLOSED)
    after = it.array(ALERTS)

    assert len(during) == len(after) == 1
    assert (
        during[0].items()
        >= {
            "timestamp": "2026-01-30T12:34:56",
            "severity": "HIGH",
            "service_name": "TTS",
            "error_message": "cartesia rejects its key (401)",
            "status": "UNRESOLVED",
            "provider": "cartesia",
        }.items()
    )
    assert (after[0]["status"], after[0]["resolved_at"]) == ("RESOLVED", "2026-01-30T12:34:59")


async def test_two_processes_that_meet_one_incident_write_one_alert(tmp_path: Path) -> None:
    one, other = Written(tmp_path), Written(tmp_path)
    await one.emit(REFUSED)
    await other.emit(REFUSED)
    both = one.array(ALERTS)
    await other.emit(OPENED, CLOSED)
    await one.emit(OPENED, CLOSED)

    assert [row["status"] for row in both] == ["UNRESOLVED"]
    assert [row["status"] for row in one.array(ALERTS)] == ["RESOLVED"]


async def test_an_alert_that_returns_lasts_from_its_return(tmp_path: Path) -> None:
    it = Written(tmp_path)
    await it.emit(REFUSED, CLOSED)
    it.told += 300  # s of health
    await it.emit(REFUSED, CLOSED)
    (row,) = it.array(ALERTS)

    assert (row["reopened_at"], row["lasted_s"]) == ("2026-01-30T12:39:58", 1.0)


@pytest.mark.parametrize("ended", [(), (CLOSED,)], ids=["during", "after"])
async def test_a_process_that_does_not_know_the_cause_keeps_it(
    tmp_path: Path, ended: tuple[Event, ...]
) -> None:
    one, other = Written(tmp_path), Written(tmp_path)
    await one.emit(REFUSED, OPENED, *ended)
    await other.emit(RungFollowed(stage="tts", provider="cartesia", breaker="open", suspect=False))
    (row,) = one.array(ALERTS)

    assert (row["kind"], row["error_message"]) == (
        "auth",
        "cartesia rejects its key (401)",
    )


async def test_the_complete_record_and_the_recovery_have_a_line_each(tmp_path: Path) -> None:
    it = Written(tmp_path)
    await it.emit(
        CallStarted(transport="twilio", agent="a", caller="+15550100"),
        REFUSED,
        OPENED,
        RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="auth"),
        AttemptWon(stage="tts", provider="elevenlabs", attempt=2, after_s=0.1),
        CallEnded(reason="caller_hung_up", length_s=3.0),
    )

    said = [(line["service"], line["status"], line["type"]) for line in it.lines("logs.jsonl")]
    assert said == [
        ("holdline", "call_started", "call"),
        ("cartesia", "failed", "permanent"),
        ("cartesia", "OPEN", "circuit"),
        ("elevenlabs", "took_over", "failover"),
        ("elevenlabs", "ok", "attempt"),
        ("holdline", "call_ended", "call"),
    ]
    recovery = it.lines("error_recovery.log")
    assert [line["level"] for line in recovery] == ["ERROR", "INFO"]
    assert {"timestamp", "level", "logger", "message"} == set(recovery[0])
    apps = it.lines("app_logs.json")
    assert [app["circuit_state"] for app in apps] == ["CLOSED", "CLOSED", "OPEN", "CLOSED",
                                                        "CLOSED", "CLOSED"]  # fmt: skip
    assert len((tmp_path / "app.log").read_text().splitlines()) == 6


async def test_no_words_number_or_key_are_in_any_of_them(tmp_path: Path) -> None:
    it = Written(tmp_path)
    secret = "sk-proj-abcdefghijklmnopqrstuvwx"
    await it.emit(
        CallStarted(transport="twilio", agent="a", caller="+15550123456", called="+15550199999"),
        TranscriptFinal(turn=1, at_s=0.0, provider="deepgram", text="my secret is a parrot"),
        AttemptFailed(
            stage="tts", provider="cartesia", kind=Kind.AUTH, scope=Scope.CREDENTIAL,
            after_s=0.0, severity=Severity.HIGH, reason=f"refused {secret}\n2026-01-01 forged",
        ),
        OPENED,
    )  # fmt: skip

    for name in NAMES:
        written = (tmp_path / name).read_text()
        assert written
        for item in (secret, "parrot", "0123456", "0199999", "\n2026-01-01 forged"):
            assert item not in written, name


async def test_a_disabled_file_is_not_written(tmp_path: Path) -> None:
    it = Written(tmp_path, names=(ALERTS,))
    await it.emit(REFUSED)

    assert it.names() == {ALERTS}


async def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_folder, "NEWEST", 3)
    it = Written(tmp_path)
    await it.emit(*[GLITCH] * 3)
    await it.emit(REFUSED)

    assert [row["message"] for row in it.array(ERRORS)] == ["cut", "cut", "auth: 401"]


async def test_a_damaged_array_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / ERRORS).write_text('[{"half": ')
    it = Written(tmp_path)
    await it.emit(GLITCH)

    assert len(it.array(ERRORS)) == 1
    assert (tmp_path / f"{ERRORS}.spoilt").read_text() == '[{"half": '


async def test_rows_refused_by_a_full_disk_are_written_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.write_text("in the way")
    it = Written(folder)
    await it.emit(GLITCH, REFUSED)
    folder.unlink()
    await it.emit(GLITCH)

    assert [row["message"] for row in it.array(ERRORS)] == ["cut", "auth: 401", "cut"]
    assert [row["status"] for row in it.array(ALERTS)] == ["UNRESOLVED"]
    assert it.record.lost == 0


async def test_a_disk_that_stays_full_loses_the_oldest_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "MAX_WAITING", 2)
    (tmp_path / "logs").write_text("in the way")
    it = Written(tmp_path / "logs", names=(ERRORS,))
    await it.emit(GLITCH, GLITCH, REFUSED)

    assert it.record.lost == 1


async def test_a_stop_during_a_write_waits_for_it_and_writes_the_rest_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "WRITE_S", 0.0)
    begun, is_last = threading.Event(), threading.Event()
    overtaken: list[bool] = []

    def redact(text: str) -> str:
        if threading.current_thread() is threading.main_thread():
            is_last.set()  # the last write, after the stop
        elif not overtaken:
            begun.set()
            overtaken.append(is_last.wait(0.1))
        return text

    it = Written(tmp_path)
    it.record = RecordFiles(tmp_path, names=(RECORD,), redact=redact)
    it.feed = IncidentFeed(it.record, Incidents(LADDERS))
    running = asyncio.create_task(it.record.run(lambda _: None))
    await it.hear(GLITCH)
    await until(begun.is_set)
    await it.hear(REFUSED)
    running.cancel()
    await asyncio.wait([running])

    assert overtaken == [False]
    assert [line["type"] for line in it.lines(RECORD)] == ["transient", "permanent"]


READS = """
import json, sys
from pathlib import Path
path, times = Path(sys.argv[1]), 0
while not Path(sys.argv[2]).exists():
    json.loads(path.read_text())
    times += 1
print(times)
"""


async def test_a_json_array_file_is_complete_at_every_instant(tmp_path: Path) -> None:
    it = Written(tmp_path, names=(ERRORS,))
    await it.emit(GLITCH)
    over = tmp_path / "over"
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READS, str(tmp_path / ERRORS), str(over),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    for _ in range(40):
        await it.emit(GLITCH)
    over.write_text("")
    said, _ = await reader.communicate()

    assert reader.returncode == 0
    assert int(said) > 0
