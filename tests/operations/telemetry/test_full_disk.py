"""A disk that is really full: calls continue, one report is made, and all is written later.

Root mounts 64 KiB of memory; other users get files that may not grow beyond a few.
"""

import json
import resource
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loguru import logger

from calls.entry import Entry
from calls.events import Event
from calls.incident import DISK, IncidentBegan, IncidentEnded
from calls.operations_events import WritesRefused, WritesResumed
from fallbacks.events import AttemptFailed
from fallbacks.failure import Kind, Scope, Severity
from operations.masking import redacted
from operations.notify.incident_rules import Incidents
from operations.telemetry import logs
from operations.telemetry.emitter import Emitter
from operations.telemetry.journal import Journal
from operations.telemetry.logs import LogFile
from operations.telemetry.record_files import NAMES, RecordFiles
from tests.small_disk import SmallDisk, mounted

FAILED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.1,
    severity=Severity.MEDIUM, reason="it was cut " * 20,
)  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as found:
        yield found


@pytest.fixture
def short_files() -> Iterator[int]:
    """Limit every file to 4 KiB, for any user."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def now() -> datetime:
    return datetime(2026, 1, 30, 12, 34, 56, tzinfo=UTC)


class Hears:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def hear(self, entry: Entry) -> None:
        self.events.append(entry.event)

    def count(self, *kinds: type) -> int:
        return sum(isinstance(event, kinds) for event in self.events)


async def tell_and_write(emitter: Emitter, record: RecordFiles, *events: Event) -> None:
    """Tell events; each is written if possible, as are the events about it."""
    emit = emitter.emit_for("")
    for event in events:
        emit(event)
        for _ in range(2):
            await emitter.flush()
            await record.write_now(emit)


def whole(path: Path) -> int:
    """Return how many lines a file has; each must be complete."""
    text = path.read_text()
    assert not text or text.endswith("\n")
    return len([json.loads(line) for line in text.splitlines()])


def test_a_line_that_does_not_fit_leaves_no_partial_line(tmp_path: Path, short_files: int) -> None:
    file = LogFile(tmp_path / "logs.jsonl")
    line = json.dumps({"said": "x" * 300}) + "\n"
    fits = short_files // len(line)
    for _ in range(fits):
        file.write(line)
    with pytest.raises(OSError, match="File too large"):
        file.write(line)
    file.close()

    assert whole(tmp_path / "logs.jsonl") == fits


async def test_a_calls_record_has_no_partial_line_after_a_full_disk(
    tmp_path: Path, short_files: int
) -> None:
    journal = Journal(tmp_path)

    def told(number: int) -> Entry:
        return Entry(call_id="c1", number=number, at="", event=FAILED)

    with pytest.raises(OSError, match="File too large"):
        await journal.hear_all([told(number) for number in range(20)])
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * short_files, most))
    await journal.hear_all([told(20)])

    assert whole(tmp_path / "c1.jsonl") == 1


async def test_a_full_disk_is_one_incident_and_loses_no_row(disk: SmallDisk) -> None:
    folder = disk.folder / "logs"
    record, hears = RecordFiles(folder, names=NAMES, redact=redacted), Hears()
    emitter = Emitter(listeners=[record, hears], utc_now=now, incidents=Incidents({}))
    async with emitter:
        await tell_and_write(emitter, record, FAILED)
        disk.fill()
        await tell_and_write(emitter, record, *[FAILED] * 20)
        refused = hears.count(WritesRefused)
        disk.make_room()
        await tell_and_write(emitter, record, FAILED)

    assert refused == 1
    assert hears.count(WritesRefused, WritesResumed) == 2
    began = [event for event in hears.events if isinstance(event, IncidentBegan)]
    told = [(event.rung, event.severity) for event in began if event.stage == DISK]
    assert told == [("logs", Severity.HIGH)]
    assert hears.count(IncidentEnded) == 1
    assert record.lost == 0
    assert len(json.loads((folder / "error_log.json").read_text())) == 22
    assert whole(folder / "app_logs.json") == whole(folder / "logs.jsonl") == 22
    assert [load["status"] for load in json.loads((folder / "alerts.json").read_text())
            if load["service_name"] == "DISK"] == ["RESOLVED"]  # fmt: skip


def test_the_log_counts_the_lines_lost_to_a_full_disk_and_stays_whole(disk: SmallDisk) -> None:
    folder = disk.folder / "logs"
    logs.set_up(level="INFO", folder=folder)
    logger.info("before")
    logs.flush()
    disk.fill()
    for number in range(200):
        logger.info("meanwhile {} {}", number, "x" * 200)
    logs.flush()
    disk.make_room()
    logger.info("after")
    logs.flush()
    logger.remove()

    lines = [json.loads(line) for line in (folder / "holdline.jsonl").read_text().splitlines()]
    lost = 202 - sum("meanwhile" in line["message"] or line["message"] in {"before", "after"}
                     for line in lines)  # fmt: skip
    assert lost > 100
    assert (
        lines[-2]["message"] == f"{lost} lines of the log were lost here: the output was too slow"
    )
    assert lines[-1]["message"] == "after"
    text = (folder / "holdline.log").read_text().splitlines()
    assert text[-1].endswith("- after")
    assert "lines of the log were lost here" in text[-2]


async def test_a_calls_own_record_without_disk_space_does_not_stop_the_call(
    disk: SmallDisk,
) -> None:
    hears = Hears()
    emitter = Emitter(listeners=[Journal(disk.folder / "calls"), hears], utc_now=now)
    async with emitter:
        disk.fill()
        for _ in range(50):
            emitter.emit_for("call1")(FAILED)
        await emitter.flush()
        disk.make_room()
        emitter.emit_for("call2")(FAILED)
        await emitter.flush()

    assert hears.count(AttemptFailed) == 51
    assert whole(disk.folder / "calls" / "call2.jsonl") == 1
