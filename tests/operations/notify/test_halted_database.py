"""An alert about the database does not wait in the database."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from loguru import logger

from calls.entry import Entry
from calls.events import Event, RecordHalted, RecordResumed
from configuration.settings import Settings
from operations.database.database import Database
from operations.database.upgrading import upgrade
from operations.masking import redacted
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.configured_alerts import tell_operators, utc_s
from operations.notify.incident_rules import CALM_S, Incidents
from operations.notify.reporter import AlertReporter
from operations.telemetry.logs import Log
from operations.telemetry.record_files import RecordFiles
from tests.kit.waiting import until
from tests.operations.notify.conftest import Receiver
from tests.operations.record.test_record_listener import STAGES
from tests.operations.telemetry.incident_feed import IncidentFeed

FULL = RecordHalted(reason="database or disk is full")
BACK = RecordResumed(after_s=60.0, lost_entries=0)


@dataclass
class HaltedProcess:
    """A process whose database may refuse to write, with one channel."""

    path: Path
    feeds: list[IncidentFeed]
    told: list[Event] = field(default_factory=list)
    now: float = field(default_factory=utc_s)

    async def hear(self, event: Event) -> None:
        at = datetime.fromtimestamp(self.now, UTC).isoformat()
        for feed in self.feeds:
            await feed.hear(Entry(call_id="", number=1, at=at, event=event))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self._alter(
            "CREATE TRIGGER full BEFORE INSERT ON alert_facts "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        yield
        self._alter("DROP TRIGGER full")

    def _alter(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            database.execute(statement)
            database.commit()


@asynccontextmanager
async def a_house(
    folder: Path, url: str, *, leads: Callable[[], bool] = lambda: True
) -> AsyncIterator[HaltedProcess]:
    path = folder / "holdline.db"
    settings = Settings.model_validate(
        {
            "stages": STAGES,
            "logs": {"dir": folder},
            "storage": {"url": f"sqlite+aiosqlite:///{path}"},
            "alerts": {"webhook": {"url": url}},
        }
    )
    await upgrade(settings.storage.url)
    database = Database(settings.storage.url)
    outbox = AlertOutbox(database)
    reporter = AlertReporter(outbox, utc_s=utc_s)
    files = RecordFiles(folder, names=("alerts.json",), redact=redacted)
    pool = HaltedProcess(
        path, [IncidentFeed(item, Incidents({})) for item in (reporter, files, Log())]
    )
    async with AsyncExitStack() as stack:
        stack.callback(files.write)
        stack.push_async_callback(database.close)
        await stack.enter_async_context(
            tell_operators(settings, reporter, outbox, emit=pool.told.append, leads=leads)
        )
        yield pool


def posted(receiver: Receiver) -> list[tuple[str, str]]:
    sent = [said["data"] for _, _, _, said in receiver.asked]
    return [(item["status"], item["kind"]) for item in sent]


async def test_a_database_that_refuses_writes_is_reported_without_it_and_its_end_through_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    levels: list[str] = []
    sink = logger.add(lambda line: levels.append(line.record["level"].name), level="CRITICAL")
    async with a_house(tmp_path, receiver.url) as pool:
        with pool.refusing():
            await pool.hear(FULL)
            await until(lambda: bool(receiver.asked))
            await pool.hear(FULL)  # another refused batch
        await pool.hear(BACK)
        pool.now += CALM_S + 1.0
        await pool.hear(BACK)  # and time has passed
        await until(lambda: len(receiver.asked) > 1)
        await asyncio.sleep(0.2)
    logger.remove(sink)

    assert posted(receiver) == [("open", "record_halted"), ("resolved", "record_halted")]
    first = receiver.asked[0][3]["data"]
    assert first["severity"] == "CRITICAL"
    assert "full" in first["reason"]
    assert "CRITICAL" in levels
    (alert,) = json.loads((tmp_path / "alerts.json").read_text())
    assert alert["severity"] == "CRITICAL"
    assert "database or disk is full" in alert["error_message"]


async def test_a_process_that_does_not_lead_leaves_the_report_to_the_leader(
    receiver: Receiver, tmp_path: Path
) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="ERROR", format="{message}")
    async with a_house(tmp_path, receiver.url, leads=lambda: False) as pool:
        with pool.refusing():
            await pool.hear(FULL)
            await until(lambda: any("alerts cannot be stored" in line for line in lines))
            await asyncio.sleep(0.2)
    logger.remove(sink)

    assert receiver.asked == []
