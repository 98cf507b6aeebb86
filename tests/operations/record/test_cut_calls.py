"""Calls cut with their process, distinguished from calls that could not be written."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallStarted,
    Event,
    ProviderFailed,
    TranscriptFinal,
)
from calls.operations_events import CallCut
from operations.database.database import Database, StorageError
from operations.database.tables import CALLBACKS, CALLS
from operations.record import writer
from operations.record.fold_rules import RecordBatch, RecordFold, RecordRow
from operations.record.record_listener import CUT_CALLS_CHECK_S, RecordListener
from operations.record.writer import CUT_S, RecordWriter

pytestmark = pytest.mark.virtual_time

STARTED = CallStarted(transport="twilio", agent="desk", caller="+15550101")
SAID = AgentSaid(turn=0, text="one moment")
FAILED = ProviderFailed(stage="stt", provider="deepgram", error="gone")
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)


class SharedRecord:
    """Processes that share a database, which can be unavailable."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.away = False
        self.ahead_s = 0.0  # the change of the clock since the morning
        self.told: list[Event] = []

    def utc_now(self) -> datetime:
        return MORNING + timedelta(seconds=time.monotonic() + self.ahead_s)

    def keeper(self, holder: str) -> RecordListener:
        writer = FailingWriter(self, holder)
        fold = RecordFold(holder=holder, messages="")
        keeper = RecordListener(writer, fold, utc_now=self.utc_now, clock=time.monotonic)
        keeper.emit = self.told.append
        return keeper

    @asynccontextmanager
    async def process(self, holder: str, *calls: str) -> AsyncIterator[None]:
        """Let a process record calls in progress; in the first of them both sides talk."""
        keeper = self.keeper(holder)
        for call in calls:
            await hear(keeper, call, STARTED)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(keeper.run())
            talking = tasks.create_task(talk(keeper, *calls[:1]))
            await asyncio.sleep(0.7)  # at different moments
            yield
            talking.cancel()
            keeper.end()
            await running
        await keeper.close()
        await keeper._writer.database.close()

    async def states(self) -> dict[str, str]:
        async with self.database.reading() as connection:
            rows = (await connection.execute(select(CALLS.c.id, CALLS.c.state))).all()
        return {row.id: row.state for row in rows}

    @property
    def cut(self) -> list[Event]:
        return [event for event in self.told if isinstance(event, CallCut)]


class FailingWriter(RecordWriter):
    """A real writer, which can be made to fail."""

    def __init__(self, pool: SharedRecord, holder: str) -> None:
        super().__init__(Database(pool.database.url), holder=holder)
        self._pool = pool

    async def write(self, batch: RecordBatch, *, number: int, now: datetime) -> None:
        self._pass()
        await super().write(batch, number=number, now=now)

    async def reach(self) -> None:
        self._pass()
        await super().reach()

    async def interrupt_cut(self, now: datetime) -> Sequence[RecordRow]:
        self._pass()
        return await super().interrupt_cut(now)

    def _pass(self) -> None:
        if self._pool.away:
            raise StorageError("the database is unavailable")


async def hear(keeper: RecordListener, call_id: str, event: Event) -> None:
    at = (MORNING + timedelta(seconds=time.monotonic())).isoformat(timespec="milliseconds")
    await keeper.hear(Entry(call_id=call_id, number=1, at=at, event=event))


async def talk(keeper: RecordListener, *calls: str) -> None:
    while True:
        await asyncio.sleep(0.3)
        for call in calls:
            await hear(keeper, call, SAID)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[SharedRecord]:
    pool = SharedRecord(f"sqlite+aiosqlite:///{tmp_path}/holdline.db")
    yield pool
    await pool.database.close()


@pytest.mark.parametrize("outage_s", [CUT_S + 1.0, 600.0])
async def test_calls_that_outlast_a_database_outage_are_not_taken_for_cut(
    pool: SharedRecord, outage_s: float
) -> None:
    async with (
        pool.process("first", "c1", "c2"),
        pool.process("second", "c3"),
        pool.process("idle"),
    ):
        await asyncio.sleep(20.0)
        pool.away = True
        await asyncio.sleep(outage_s)
        pool.away = False
        seen: set[str] = set()
        for _ in range(60):
            await asyncio.sleep(1.0)
            seen |= {*(await pool.states()).values()}

    assert seen == {"live"}
    assert pool.cut == []


async def test_calls_whose_process_died_in_an_outage_are_found_after_it(pool: SharedRecord) -> None:
    async with pool.process("first", "c1"):
        dead = pool.keeper("second")
        await hear(dead, "c2", STARTED)
        await dead.write()
        pool.away = True
        await asyncio.sleep(60.0)
        pool.away = False
        await asyncio.sleep(2 * CUT_CALLS_CHECK_S + 3.0)
        states = await pool.states()
        await dead.close()

    assert states == {"c1": "live", "c2": "interrupted"}
    assert pool.cut == [CallCut(call_id="c2", verdict="lost")]


async def test_running_calls_are_not_taken_for_cut_while_the_clock_is_set(
    pool: SharedRecord,
) -> None:
    async with pool.process("first", "c1", "c2"), pool.process("second", "c3"):
        seen: set[str] = set()
        for _ in range(15):  # at each second between two checks
            await asyncio.sleep(CUT_CALLS_CHECK_S)
            pool.ahead_s += 60.0
            await asyncio.sleep(1.0)
            seen |= {*(await pool.states()).values()}

    assert seen == {"live"}
    assert pool.cut == []


HEARD = TranscriptFinal(turn=1, at_s=0.0, provider="deepgram", text="My boiler leaks.")


@pytest.mark.parametrize(
    ("events", "said", "callback"),
    [
        ((STARTED, SAID), (), None),
        ((STARTED, HEARD, replace(HEARD, turn=2, text="Hurry.")), (HEARD.text, "Hurry."), None),
        ((STARTED, HEARD), (HEARD.text,), "a leak"),
    ],
)
async def test_a_cut_calls_row_has_what_the_record_knows_of_the_caller(
    pool: SharedRecord, events: tuple[Event, ...], said: tuple[str, ...], callback: str | None
) -> None:
    dead, rows = pool.keeper("first"), list[RecordRow]()
    for event in events:
        await hear(dead, "c1", event)
    await dead.write()
    if callback:
        wish = {"call_id": "c1", "number": "+1", "reason": callback, "asked_at": MORNING}
        async with pool.database.transaction() as connection:
            await connection.execute(insert(CALLBACKS).values(**wish))
    living = pool.keeper("second")
    living.report_cut = rows.append
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(living.run())
        await asyncio.sleep(CUT_S + 2 * CUT_CALLS_CHECK_S)
        living.end()
        await running
    for keeper in (dead, living):
        await keeper._writer.database.close()

    assert [(row["id"], row["said"], row["callback"]) for row in rows] == [("c1", said, callback)]


async def test_a_process_whose_call_another_one_took_over_does_not_get_its_row_back(
    pool: SharedRecord,
) -> None:
    frozen, taker = pool.keeper("first"), pool.keeper("second")
    await hear(frozen, "c1", STARTED)
    await frozen.write()
    await hear(taker, "c1", replace(STARTED, gap_s=1.0, began_at=MORNING.isoformat()))
    await hear(taker, "c1", CallEnded(reason="caller_hung_up", length_s=9.0))
    await taker.write()
    await hear(frozen, "c1", SAID)  # it wakes up
    await frozen.write()

    assert await pool.states() == {"c1": "ended"}
    for keeper in (frozen, taker):
        await keeper.close()
        await keeper._writer.database.close()


async def test_only_so_many_earlier_parts_of_calls_are_kept_those_of_calls_in_progress_among_them(
    pool: SharedRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_EARLIER", 2)
    first, taker = pool.keeper("first"), pool.keeper("second")
    for number in range(4):
        await hear(first, f"c{number}", STARTED)
        await hear(first, f"c{number}", FAILED)
    await first.write()
    for number in range(4):
        await hear(taker, f"c{number}", replace(STARTED, gap_s=1.0))
        await hear(taker, "c0", SAID)
        await taker.write()
    await hear(taker, "c0", FAILED)
    await taker.write()
    async with pool.database.reading() as connection:
        failures = (await connection.execute(select(CALLS.c.id, CALLS.c.failures))).all()

    assert len(taker._writer._earlier) == 2
    assert dict(map(tuple, failures))["c0"] == 2
    for keeper in (first, taker):
        await keeper.close()
        await keeper._writer.database.close()
