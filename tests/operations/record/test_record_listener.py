"""The writer of the record: timely, bounded, reports an outage once, and recovers by itself."""

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from loguru import logger
from sqlalchemy import event, select
from sqlalchemy.engine.interfaces import DBAPIConnection

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallStarted,
    Event,
    RecordHalted,
    RecordResumed,
)
from calls.operations_events import CallCut
from configuration.settings import Settings
from fallbacks.events import AttemptFailed, BreakerMoved
from fallbacks.failure import Kind, Scope
from operations.database.database import Database, StorageError
from operations.database.tables import CALLS
from operations.postmortem.gathering import close_for_dead_processes, find_outages, gather
from operations.record import record_listener
from operations.record.fold_rules import RecordBatch, RecordFold, RecordRow
from operations.record.reader import RecordReader
from operations.record.record_listener import (
    BATCH_ENTRIES,
    BATCH_S,
    WAITING,
    RecordListener,
    keep_record,
    make_record_listener,
)
from operations.record.writer import RecordWriter
from runtime import clock
from tests.kit.waiting import until
from tests.share_servers import Server, postgres
from tests.small_disk import SmallDisk, mounted

STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}],
}
STARTED = CallStarted(transport="twilio", agent="desk", caller="+15550101")
ENDED = CallEnded(reason="caller_hung_up", length_s=12.5)
FAILED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.NETWORK, scope=Scope.CONFIGURATION, after_s=0.4
)
OPENED = BreakerMoved(
    stage="tts", provider="cartesia", before="closed", after="open", cause="failures", after_s=1.0
)
CLOSED = replace(OPENED, before="open", after="closed", cause="proven")
SAID = AgentSaid(turn=0, text="word " * 200)

__all__ = ["postgres"]


def settings_of(url: str, folder: Path) -> Settings:
    tree = {"stages": STAGES, "logs": {"dir": folder}, "storage": {"url": url}}
    return Settings.model_validate(tree)


class Told:
    """The keeper's own events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [type(item).__name__ for item in self.events]


async def hear(keeper: RecordListener, *events: Event, call_id: str = "c1", first: int = 1) -> None:
    for number, each in enumerate(events, start=first):
        at = clock.utc_now().isoformat(timespec="milliseconds")
        await keeper.hear(Entry(call_id=call_id, number=number, at=at, event=each))


@asynccontextmanager
async def running(url: str, folder: Path, told: Told) -> AsyncIterator[RecordListener]:
    settings = settings_of(url, folder)
    async with Database(url) as database:
        keeper = make_record_listener(settings, database)
        async with keep_record(keeper, settings, emit=told):
            yield keeper


@contextmanager
def full(keeper: RecordListener) -> Iterator[None]:
    """Limit SQLite to its current pages, as a full disk does."""
    assert keeper._writer.database._thread
    engine = keeper._writer.database._thread.engine
    pages = [1]

    def limit(connection: DBAPIConnection, *_: object) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count={pages[0]}")

    event.listen(engine, "checkout", limit)
    try:
        yield
    finally:
        pages[0] = 2**30


async def numbers(url: str) -> list[int]:
    async with Database(url) as database:
        page = await RecordReader(database).call("c1")
    return [happening.number for happening in page.happenings] if page else []


async def until_written(keeper: RecordListener, url: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await numbers(url)) < count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


class SlowWriter(RecordWriter):
    """Records its queries, and hangs when told to."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.numbers: list[int] = []
        self.entries = 0
        self.hangs = False
        self.cut = 0  # calls, at the next check
        self.refused_until_s = 0.0

    async def write(self, batch: RecordBatch, *, number: int, now: datetime) -> None:
        self.at_s.append(clock.monotonic())
        self.numbers.append(number)
        if self.hangs:
            await asyncio.Event().wait()
        if clock.monotonic() < self.refused_until_s:
            raise StorageError("database is locked")
        self.entries += len(batch.happenings)

    @property
    def lost_files(self) -> int:
        return 0

    async def reach(self) -> None:
        pass

    async def shared_moment(self, here: datetime) -> datetime:
        return here

    async def interrupt_cut(self, now: datetime) -> list[RecordRow]:
        found, self.cut = self.cut, 0
        return [{"id": f"c{number}", "verdict": "lost"} for number in range(found)]


@pytest.fixture
def slow() -> SlowWriter:
    return SlowWriter()


def keeper_of(writer: RecordWriter) -> RecordListener:
    return RecordListener(
        writer,
        RecordFold(holder="one", messages=""),
        utc_now=clock.utc_now,
        clock=clock.monotonic,
    )


@asynccontextmanager
async def listening(writer: RecordWriter) -> AsyncIterator[tuple[RecordListener, Told]]:
    """Run a listener during the block, and write its last entries after it."""
    keeper, told = keeper_of(writer), Told()
    keeper.emit = told
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(keeper.run())
        yield keeper, told
        keeper.end()
        await running


@pytest.mark.virtual_time
async def test_no_entry_waits_for_longer_than_half_a_second(slow: SlowWriter) -> None:
    async with listening(slow) as (keeper, _):
        for number in range(50):
            await hear(keeper, STARTED, call_id=str(number))
            await asyncio.sleep(0.1)

    pauses = [after - before for before, after in zip(slow.at_s, slow.at_s[1:], strict=False)]
    assert max(pauses) < 0.51
    assert len(slow.at_s) <= 12


@pytest.mark.virtual_time
async def test_no_entry_waits_longer_when_there_are_more_than_a_batch_holds(
    slow: SlowWriter,
) -> None:
    told_s: list[float] = []
    waited_s: list[float] = []
    async with listening(slow) as (keeper, _):
        for number in range(2500):  # of twenty calls, ten times their usual events
            told_s.append(clock.monotonic())
            await hear(keeper, STARTED, call_id=str(number))
            await asyncio.sleep(0.002)
            waited_s.append(clock.monotonic() - told_s[min(slow.entries, number)])

    assert max(waited_s) < 0.51


@pytest.mark.virtual_time
async def test_calls_cut_with_their_process_are_reported_once(slow: SlowWriter) -> None:
    slow.cut = 3
    async with listening(slow) as (keeper, told):
        await hear(keeper, STARTED)
        await asyncio.sleep(60.0)

    assert told.events == [CallCut(call_id=f"c{number}", verdict="lost") for number in range(3)]


@pytest.mark.virtual_time
async def test_a_hanging_database_does_not_block_calls_and_is_reported_once(
    slow: SlowWriter,
) -> None:
    slow.hangs = True
    async with listening(slow) as (keeper, told):
        for _ in range(10):
            before_s = clock.monotonic()
            await hear(keeper, STARTED, SAID)
            assert clock.monotonic() == before_s
            await asyncio.sleep(BATCH_S)
        assert told.kinds == ["RecordHalted"]

        slow.hangs = False
        await asyncio.sleep(2 * BATCH_S)
        assert told.kinds == ["RecordHalted", "RecordResumed"]
        assert slow.entries == 20
        assert keeper.lost == 0
    assert slow.numbers == sorted(slow.numbers)  # the first is sent again until it is accepted


@pytest.mark.virtual_time
async def test_an_overlong_wait_drops_the_oldest_and_counts_them(slow: SlowWriter) -> None:
    slow.hangs = True
    async with listening(slow) as (keeper, told):
        await hear(keeper, STARTED)
        await asyncio.sleep(1.0)
        for number in range(WAITING + 100):
            await hear(keeper, SAID, first=number)
        assert keeper.lost == 100
        assert keeper.waiting == WAITING

        slow.hangs = False
        await asyncio.sleep(60.0)
    assert slow.entries == WAITING + 1
    (_, resumed) = told.events
    assert isinstance(resumed, RecordResumed)
    assert resumed.lost_entries == 100


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("began", "ended", "call_id"),
    [(STARTED, ENDED, "c1"), (OPENED, CLOSED, "")],
    ids=["a call", "an open breaker"],
)
async def test_a_running_call_or_an_open_breaker_sends_heartbeats_without_events(
    slow: SlowWriter, began: Event, ended: Event, call_id: str
) -> None:
    async with listening(slow) as (keeper, _):
        await hear(keeper, began, call_id=call_id)
        await asyncio.sleep(30.0)
        busy = len(slow.at_s)
        await hear(keeper, ended, call_id=call_id)
        await asyncio.sleep(30.0)

    assert 6 <= busy <= 9
    assert len(slow.at_s) <= busy + 2  # no disk work without events


@pytest.mark.virtual_time
async def test_the_process_ends_in_time_while_the_database_hangs(
    slow: SlowWriter, tmp_path: Path
) -> None:
    keeper = keeper_of(slow)
    slow.hangs = True
    settings = settings_of("sqlite+aiosqlite:///:memory:", tmp_path)
    async with keep_record(keeper, settings, emit=Told()):
        await hear(keeper, STARTED)
        await asyncio.sleep(1.0)
        began_s = clock.monotonic()

    assert clock.monotonic() - began_s < 10.0


async def test_the_last_events_are_written_at_the_end(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    async with running(url, tmp_path, Told()) as keeper:
        await hear(keeper, STARTED, *[SAID] * (2 * BATCH_ENTRIES), ENDED)

    assert len(await numbers(url)) == 2 * BATCH_ENTRIES + 2


@pytest.mark.parametrize(
    ("after", "causes"),
    [("open", ["failures", "process_gone"]), ("half_open", ["failures", "process_gone"]),
     ("closed", ["failures"])],
)  # fmt: skip
async def test_an_outage_ends_with_the_process_that_is_replaced(
    tmp_path: Path, after: str, causes: list[str]
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    async with running(url, tmp_path, Told()) as keeper:
        await hear(keeper, replace(OPENED, after=after), call_id="")
    now = clock.utc_now()

    found = await gather(url, now - timedelta(minutes=1), now + timedelta(seconds=1))

    outages = find_outages(
        [], close_for_dead_processes(found.breaker_moves, found.seen, now), found.since
    )
    assert [move.cause for move in found.breaker_moves] == causes
    assert [outage.ended is not None for outage in outages] == [True] * (after != "closed")


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("refused_s", "told_of"),
    [(2.5, []), (9.0, []), (12.5, ["RecordHalted", "RecordResumed"])],
)
async def test_a_halt_is_reported_when_it_lasts(
    slow: SlowWriter, refused_s: float, told_of: list[str]
) -> None:
    async with listening(slow) as (keeper, told):
        slow.refused_until_s = clock.monotonic() + refused_s
        await hear(keeper, STARTED)
        await asyncio.sleep(1.0)
        assert keeper.halted  # `/readyz` says so at once
        await asyncio.sleep(30.0)

    assert told.kinds == told_of
    assert slow.entries == 1


@pytest.mark.virtual_time
async def test_many_short_waits_are_never_reported(slow: SlowWriter) -> None:
    async with listening(slow) as (keeper, told):
        for number in range(10):
            slow.refused_until_s = clock.monotonic() + 2.5
            await hear(keeper, SAID, first=number)
            await asyncio.sleep(6.0)

    assert told.kinds == []


async def test_a_full_database_loses_nothing_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_listener, "REPORT_AFTER_S", 0.0)
    url, told = f"sqlite+aiosqlite:///{tmp_path}/holdline.db", Told()
    async with running(url, tmp_path, told) as keeper:
        await hear(keeper, STARTED)
        await until_written(keeper, url, 1)
        with full(keeper):
            await hear(keeper, *[SAID] * 50, first=2)
            await until(lambda: "RecordHalted" in told.kinds)
        await until_written(keeper, url, 51)
        await until(lambda: "RecordResumed" in told.kinds)

    halted = told.events[0]
    assert isinstance(halted, RecordHalted)
    assert "full" in halted.reason
    assert told.kinds == ["RecordHalted", "RecordResumed"]
    assert await numbers(url) == list(range(1, 52))
    assert keeper.lost == 0


@contextmanager
def small_place(server: Server) -> Iterator[tuple[Path, SmallDisk]]:
    """Mount a disk with a folder in which the server may write; yield both."""
    owner = Path(f"/proc/{server.process.pid}").stat()
    with tempfile.TemporaryDirectory(prefix="holdline-disk-") as place:
        Path(place).chmod(0o755)  # the server runs as nobody
        with mounted(Path(place) / "disk", size="24m") as disk:
            folder = disk.folder / "space"
            folder.mkdir(mode=0o700)
            os.chown(folder, owner.st_uid, owner.st_gid)
            yield folder, disk


@asynccontextmanager
async def on_small_disk(server: Server) -> AsyncIterator[tuple[str, SmallDisk]]:
    """Run a database of the server on a disk of its own; yield its address and the disk."""
    with small_place(server) as (folder, disk):
        connection = await asyncpg.connect(server.url)
        try:
            await connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            await connection.execute("CREATE DATABASE small TABLESPACE small")
            yield server.url.rpartition("/")[0] + "/small", disk
        finally:
            await connection.execute("DROP DATABASE IF EXISTS small WITH (FORCE)")
            await connection.execute("DROP TABLESPACE IF EXISTS small")
            await connection.close()


@pytest.mark.slow
async def test_a_server_with_a_full_disk_loses_nothing_within_the_bound(
    postgres: Server, tmp_path: Path
) -> None:
    told = Told()
    async with on_small_disk(postgres) as (address, disk):
        url = address.replace("postgresql://", "postgresql+asyncpg://")
        async with running(url, tmp_path, told) as keeper:
            await hear(keeper, STARTED)
            await until_written(keeper, url, 1)
            disk.fill()
            await hear(keeper, *[SAID] * 400, first=2)
            await until(lambda: "RecordHalted" in told.kinds)
            disk.make_room()
            await until_written(keeper, url, 401)
            await until(lambda: "RecordResumed" in told.kinds)
        found = await numbers(url)

    halted = told.events[0]
    assert isinstance(halted, RecordHalted)
    assert "No space left" in halted.reason
    assert told.kinds == ["RecordHalted", "RecordResumed"]
    assert found == [*range(1, 402)]
    assert keeper.lost == 0


@pytest.mark.parametrize("ahead_s", [-120.0, -75.0, 120.0])
async def test_no_call_of_a_machine_whose_clock_is_wrong_is_taken_for_cut(
    postgres: Server, ahead_s: float
) -> None:
    url = (await postgres.fresh_url()).replace("postgresql://", "postgresql+asyncpg://")
    cut = list[RecordRow]()

    def keeper(holder: str, *, ahead_s: float) -> RecordListener:
        found = RecordListener(
            RecordWriter(Database(url), holder=holder),
            RecordFold(holder=holder, messages=""),
            utc_now=lambda: clock.utc_now() + timedelta(seconds=ahead_s),
            clock=clock.monotonic,
        )
        found.report_cut = cut.append
        return found

    wrong, right = keeper("wrong", ahead_s=ahead_s), keeper("right", ahead_s=0.0)
    await hear(wrong, STARTED)
    await wrong.write()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(right.run())
        await asyncio.sleep(1.0)
        right.end()
        await running
    async with right._writer.database.reading() as connection:
        states = (await connection.execute(select(CALLS.c.state))).scalars().all()
    for one in (wrong, right):
        await one.close()
        await one._writer.database.close()

    assert states == ["live"]
    assert not cut


@pytest.mark.slow
async def test_a_hanging_server_is_waited_for_and_its_work_is_not_repeated(
    postgres: Server, tmp_path: Path
) -> None:
    url = (await postgres.fresh_url()).replace("postgresql://", "postgresql+asyncpg://")
    told = Told()
    async with running(url, tmp_path, told) as keeper:
        await hear(keeper, STARTED)
        await until_written(keeper, url, 1)
        postgres.pause()
        try:
            await hear(keeper, *[SAID] * 50, first=2)
            await until(lambda: "RecordHalted" in told.kinds)
        finally:
            postgres.resume()
        await until_written(keeper, url, 51)

    assert told.kinds == ["RecordHalted", "RecordResumed"]
    assert await numbers(url) == list(range(1, 52))


async def test_only_the_refused_row_is_lost(tmp_path: Path) -> None:
    url, told = f"sqlite+aiosqlite:///{tmp_path}/holdline.db", Told()
    async with running(url, tmp_path, told) as keeper:
        await hear(keeper, replace(FAILED, attempt=2**70))
        await until(lambda: keeper.lost == 1)
        await hear(keeper, STARTED, first=2)
        await until_written(keeper, url, 1)

    assert told.kinds == []


@pytest.mark.parametrize("busy", [True, False], ids=["in a call", "idle"])
async def test_a_deleted_file_is_reported_and_created_again(tmp_path: Path, *, busy: bool) -> None:
    told, file = Told(), tmp_path / "holdline.db"
    url = f"sqlite+aiosqlite:///{file}"
    async with running(url, tmp_path, told) as keeper:
        await hear(keeper, STARTED)
        await until_written(keeper, url, 1)
        for suffix in ("", "-wal", "-shm"):
            os.unlink(f"{file}{suffix}")  # noqa: PTH108 - in a coroutine
        if busy:
            await hear(keeper, SAID, ENDED, first=2)
        await until(lambda: told.kinds == ["RecordHalted", "RecordResumed"])
        await until(lambda: keeper.waiting == 0)
        await hear(keeper, ENDED, first=4)
        await until_written(keeper, url, 3 if busy else 1)

    assert keeper.lost == 0
    assert "deleted or replaced" in str(told.events[0])


async def test_an_outdated_database_is_named_at_the_start(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    with sqlite3.connect(tmp_path / "holdline.db") as connection:
        connection.execute("CREATE TABLE callbacks (id INTEGER PRIMARY KEY)")
    connection.close()
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), level="ERROR")
    async with running(url, tmp_path, Told()):
        await until(lambda: any("holdline db upgrade" in line for line in lines))
    logger.remove(sink)
