"""Writes the record: collects events and writes them to the database twice a second.

A database that is down, full or hanging blocks nothing: events wait up to a bound, and are written
later. An outage that lasts for `REPORT_AFTER_S` is reported once, and so is its end.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from loguru import logger

from calls.entry import Emit, Entry
from calls.events import RecordHalted, RecordResumed
from calls.operations_events import CallCut
from configuration.settings import Settings
from operations.backlog import Backlog
from operations.database.database import Database, RefusedRowsError, StorageError
from operations.database.upgrading import find_version_problem
from operations.keep_running import keep_running
from operations.record.fold_rules import RecordBatch, RecordFold, RecordRow
from operations.record.writer import RecordWriter
from runtime import clock

CUT_CALLS_CHECK_S: Final = 15.0  # after an outage each process writes again within 12 s
MAX_CLOCK_JUMP_S: Final = 2.0  # chosen: a larger jump means that the clock was set forward


class CutCalls:
    """Marks calls of dead processes as interrupted in the record."""

    def __init__(
        self,
        writer: RecordWriter,
        *,
        utc_now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Use `writer`'s database."""
        self._writer = writer
        self._utc_now = utc_now
        self._clock = clock
        self._next_check_at = 0.0
        self._ahead_s: float | None = None  # the time of day minus the clock at the last check
        self._was_down = False  # at the last check or write

    def note_down(self) -> None:
        """Record that the database is down, so that no process can write heartbeats."""
        self._was_down = True

    async def mark_if_due(self, *, within_s: float) -> Sequence[RecordRow]:
        """Mark the calls of dead processes if a check is due; return their rows.

        An outage of the database is not reported here: the next batch reports it.

        Nothing is marked at the first check after an outage: without heartbeats, the calls of all
        processes, including this one, look dead. The same holds after the clock was set forward,
        until each process has written a heartbeat.
        """
        if self._clock() < self._next_check_at:
            return ()
        self._next_check_at = self._clock() + CUT_CALLS_CHECK_S
        if self._was_set_forward():
            return ()
        try:
            async with asyncio.timeout(within_s):
                if self._was_down:
                    await self._writer.reach()
                    self._was_down = False
                    return ()
                now = await self._writer.shared_moment(self._utc_now())
                return await self._writer.interrupt_cut(now)
        except (StorageError, TimeoutError):
            self.note_down()
            return ()  # the next batch reports it if it lasts

    def _was_set_forward(self) -> bool:
        before_s, self._ahead_s = self._ahead_s, self._utc_now().timestamp() - self._clock()
        return before_s is not None and self._ahead_s - before_s > MAX_CLOCK_JUMP_S


WRITE_S: Final = 0.5  # between batches: this plus the write is what a dying process loses
MIN_PAUSE_S: Final = 0.05  # between batches, even if the database is slow
HEARTBEAT_S: Final = 5.0  # of a process with calls in progress, or with an open breaker
BATCH_S: Final = 10.0  # for one batch; a slower database counts as hanging
RETRY_S: Final = 2.0  # after a batch that could not be written
REPORT_AFTER_S: Final = 10.0  # shorter outages, such as a backup's lock, are not reported (chosen)
FILE_GONE: Final = "the file was deleted or replaced; a new one was created"
LAST_S: Final = 3.0  # for the last batches, at the end
WAITING: Final = 20_000  # entries; about 20 MB, and ten minutes of five busy calls
BATCH_ENTRIES: Final = 200  # these take 11 ms of computing in small steps (measured)


class RecordListener:
    """Collects the events of a process that answers callers, and writes them.

    Attributes:
        lost: The number of entries that were dropped or refused.
        emit: Receives events about the record itself.
        report_cut: Receives the row of each call whose process died.
    """

    def __init__(
        self,
        writer: RecordWriter,
        fold: RecordFold,
        *,
        utc_now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Create a listener; nothing is opened yet."""
        self._writer = writer
        self._fold = fold
        self._utc_now = utc_now
        self._clock = clock
        self._waiting = Backlog[Entry](WAITING)
        self._batch: RecordBatch | None = None  # sent, but not confirmed
        self._left_over = False  # whether entries remain: then the next batch follows at once
        self._number = 0
        self._beat_at = 0.0
        self._ending = asyncio.Event()
        self.lost = 0
        self.emit: Emit = lambda _: None
        self.report_cut: Callable[[RecordRow], None] = lambda _: None
        self._lost_files = 0
        self._halted_at: float | None = None  # since when the database refuses writes
        self._reported = False  # whether that was reported to operators
        self._cut = CutCalls(writer, utc_now=utc_now, clock=clock)

    @property
    def waiting(self) -> int:
        """The number of waiting entries, without those of the current batch."""
        return len(self._waiting)

    @property
    def halted(self) -> bool:
        """Whether the database refuses writes now."""
        return self._halted_at is not None

    async def hear(self, entry: Entry) -> None:
        """Queue one entry; never waits. If too many wait, the oldest is lost, and counted."""
        self.lost += self._waiting.put(entry)

    async def run(self) -> None:
        """Write batches until `end`.

        Between them, mark the calls of dead processes, and report each: an event, and `report_cut`.
        """
        while not self._ending.is_set():
            began_s = self._clock()
            written = await self.write()
            cut = await self._cut.mark_if_due(within_s=BATCH_S) if written else ()
            for row in cut:
                logger.warning("call {} lost its process: marked as interrupted", row["id"])
                self.emit(CallCut(call_id=row["id"], verdict=row["verdict"]))
                self.report_cut(row)
            if not (written and self._left_over):
                took_s = self._clock() - began_s
                await self._pause_or_end(max(MIN_PAUSE_S, WRITE_S - took_s) if written else RETRY_S)

    async def _pause_or_end(self, for_s: float) -> None:
        """Wait for some seconds, but no longer than until the process ends."""
        try:
            async with asyncio.timeout(for_s):
                await self._ending.wait()
        except TimeoutError:
            pass

    async def write(self) -> bool:
        """Write the next batch; return False if it could not be written yet.

        The next call then tries the same batch again. A batch that the database rejects is dropped.
        """
        if self._batch is None:
            self._batch = await self._next_batch()
        began_s = self._clock()
        if self._writer.lost_files > self._lost_files:
            self._lost_files = self._writer.lost_files
            self._record_write_failure(
                FILE_GONE, since_s=began_s - REPORT_AFTER_S
            )  # reported at once
        if self._batch is None and not self.halted:
            return True
        try:
            async with asyncio.timeout(BATCH_S):
                if self._batch is None:  # only find out whether the outage is over
                    await self._writer.reach()
                else:
                    now = await self._writer.shared_moment(self._utc_now())
                    await self._writer.write(self._batch, number=self._number, now=now)
        except RefusedRowsError as error:
            self.lost += len(self._batch.happenings) if self._batch else 0
            logger.error("the database rejects a part of the record, which is lost: {}", error)
        except (StorageError, TimeoutError) as error:
            self._record_write_failure(
                str(error) or f"no answer within {BATCH_S:g} s", since_s=began_s
            )
            self._cut.note_down()
            return False
        self._batch = None
        self._record_recovery()
        return True

    def _record_write_failure(self, why: str, *, since_s: float) -> None:
        """Record that a batch could not be written; report the outage after `REPORT_AFTER_S`.

        Args:
            why: The reason, in one line.
            since_s: When the batch was sent, on the monotonic clock.
        """
        if self._halted_at is None:
            self._halted_at = since_s
            logger.warning("the record cannot be written: {}", why)
        if not self._reported and self._clock() - self._halted_at >= REPORT_AFTER_S:
            self._reported = True
            logger.error("the record has not been written for {:g} s: {}", REPORT_AFTER_S, why)
            self.emit(RecordHalted(reason=why))

    def _record_recovery(self) -> None:
        """Record a recovery; report it if the outage was reported."""
        if self._halted_at is not None:
            after_s, self._halted_at = self._clock() - self._halted_at, None
            logger.info("the record is written again; {} entries were lost", self.lost)
            if self._reported:
                self.emit(RecordResumed(after_s=after_s, lost_entries=self.lost))
            self._reported = False

    def end(self) -> None:
        """Make `run` return after its current step."""
        self._ending.set()

    async def close(self) -> None:
        """Write everything that waits, for at most `LAST_S`; log what is lost.

        `run` must have ended.
        """
        try:
            async with asyncio.timeout(LAST_S):
                while (self._waiting or self._batch) and await self.write():
                    pass
                if self._fold.is_troubled and not self._batch:
                    await self._close_breakers()
        except TimeoutError:
            pass
        if self._waiting or self._batch:
            logger.error("the record ends early, with {} entries unwritten", len(self._waiting))

    async def _close_breakers(self) -> None:
        """Record that the breakers of this process end with it; no batch may be unconfirmed."""
        self._fold.end(self._utc_now().isoformat(timespec="milliseconds"))
        self._batch = self._fold.take()
        self._number += 1
        await self.write()

    async def _next_batch(self) -> RecordBatch | None:
        """Return the next entries as a batch; `None` if there is nothing to write.

        A batch without entries is a heartbeat, which is written when one is due.
        """
        is_heartbeat = self._clock() >= self._beat_at
        taken = self._waiting.take(BATCH_ENTRIES)
        self._left_over = bool(self._waiting)
        if not taken and not (is_heartbeat and (self._fold.live or self._fold.is_troubled)):
            return None
        batch = await asyncio.to_thread(self._fold_all, taken)
        if is_heartbeat:
            self._beat_at = self._clock() + HEARTBEAT_S
            batch.live = self._fold.live
        self._number += 1
        return batch

    def _fold_all(self, entries: list[Entry]) -> RecordBatch:
        for entry in entries:
            self._fold.add(entry)
        return self._fold.take()


def make_record_listener(settings: Settings, database: Database) -> RecordListener:
    """Return the record's listener for this process."""
    machine = settings.server.machine or socket.gethostname()[:40]
    holder = f"{machine}-{secrets.token_hex(6)}"
    return RecordListener(
        RecordWriter(database, holder=holder),
        RecordFold(holder=holder, messages=str(settings.logs.dir / "messages")),
        utc_now=clock.utc_now,
        clock=clock.monotonic,
    )


@asynccontextmanager
async def keep_record(
    record_listener: RecordListener | None, settings: Settings, *, emit: Emit
) -> AsyncIterator[None]:
    """Write the record during the block, and afterwards the entries that still wait.

    Sets the listener's `emit`. Without a listener, this does nothing.
    """
    if record_listener is None:
        yield
        return
    record_listener.emit = emit
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(
            keep_running("the record", record_listener.run), name="the record"
        )
        checking_version = tasks.create_task(
            _log_version_problem(settings.storage.url), name="the tables' version"
        )
        try:
            yield
        finally:
            record_listener.end()
            await asyncio.wait([writing], timeout=LAST_S)
            writing.cancel()  # a hanging database must not delay the end
            checking_version.cancel()
            await asyncio.wait([writing, checking_version])
            await record_listener.close()


async def _log_version_problem(url: str) -> None:
    """Log why this program cannot use the database as it is, if so."""
    try:
        async with asyncio.timeout(BATCH_S):
            problem = await find_version_problem(url)
    except (StorageError, TimeoutError):
        return  # the first batch reports it
    if problem:
        logger.error("storage.url: the database {}", problem)
