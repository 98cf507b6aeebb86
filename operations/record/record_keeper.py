"""Keeps the record: takes each fact as it is told, and has the database take them twice a second.

A database that is away, full or hanging holds nobody up: what fits the bound waits for it, and is
written when it is back. That it is away is told once, and that it is back.
"""

import asyncio
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from loguru import logger

from bot import clock
from bot.config.settings import Settings
from calls.entry import Entry, Tell
from calls.events import Event, RecordHalted, RecordResumed
from calls.operations_events import CallsCut
from operations.database.database import RefusedRowsError, StorageError
from operations.database.upgrading import find_lag
from operations.keep_running import keep_running
from operations.record.fold_rules import RecordBatch, RecordFold
from operations.record.writer import RecordWriter


class RecordOutage:
    """Whether the record is being written."""

    def __init__(self, *, tell: Callable[[Event], None], clock: Callable[[], float]) -> None:
        """Begin with a database that takes everything."""
        self._tell = tell
        self._clock = clock
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether the database takes nothing now."""
        return self._since is not None

    def note_away(self, why: str) -> None:
        """Tell that a batch was not taken, unless that is known."""
        if self._since is None:
            self._since = self._clock()
            logger.error("the record cannot be written: {}", why)
            self._tell(RecordHalted(reason=why))

    def note_back(self, *, lost_entries: int) -> None:
        """Tell that one was taken again, if that is news, and how many entries were lost so far."""
        if self._since is not None:
            after_s, self._since = self._clock() - self._since, None
            logger.info("the record is written again; {} entries were lost", lost_entries)
            self._tell(RecordResumed(after_s=after_s, lost_entries=lost_entries))


LOOK_S: Final = 15.0  # between two looks; behind an outage each process writes again within 12 s
SET_S: Final = 2.0  # chosen: a clock that is merely brought into step moves by far less


class CutCalls:
    """Marks them as interrupted in the record."""

    def __init__(
        self,
        writer: RecordWriter,
        *,
        tell: Callable[[Event], None],
        utc_now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Mark in `writer`'s database."""
        self._writer = writer
        self._tell = tell
        self._utc_now = utc_now
        self._clock = clock
        self._look_at = 0.0
        self._ahead_s: float | None = None  # the time of day, of the clock, at the last look
        self._away = False  # the database was, when it was asked last

    def note_away(self) -> None:
        """Note that the database takes nothing: no process can give a sign of life meanwhile."""
        self._away = True

    async def look(self, *, within_s: float) -> None:
        """Look, if it is time to; a database that does not answer is left to the next batch.

        The first time that it answers behind an outage only that is noted: to who comes first, the
        calls of all others, and of this process, too, seem to be cut. So they do when the clock was
        set forward, until each process has given a sign of life again.
        """
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_S
        if self._was_set_forward():
            return
        try:
            async with asyncio.timeout(within_s):
                if self._away:
                    await self._writer.reach()
                    self._away = False
                    return
                cut = await self._writer.interrupt_cut(self._utc_now())
        except (StorageError, TimeoutError):
            self.note_away()
            return  # the next batch says so, if it goes on
        if cut:
            logger.warning("{} calls were cut with their process: marked as interrupted", cut)
            self._tell(CallsCut(calls=cut))

    def _was_set_forward(self) -> bool:
        before_s, self._ahead_s = self._ahead_s, self._utc_now().timestamp() - self._clock()
        return before_s is not None and self._ahead_s - before_s > SET_S


WRITE_S: Final = 0.5  # from batch to batch: with the write it is what a process that dies loses
LEAST_S: Final = 0.05  # of rest, for a database that takes long for each
HEARTBEAT_S: Final = 5.0  # of the calls that go on
ANSWER_S: Final = 10.0  # for one batch; a database that takes longer counts as hanging
AGAIN_S: Final = 2.0  # after a batch that was not taken
GONE: Final = "the file was deleted or replaced, and a new one is begun"
LAST_S: Final = 3.0  # for what is left at the end
WAITING: Final = 20_000  # entries; some 20 MB, and ten minutes of five busy calls
AT_ONCE: Final = 200  # entries of a batch: 11 ms of computing, in small steps (measured)


class RecordListener:
    """Listens in every process that answers callers.

    Attributes:
        lost_entries: That came when too many waited.
        tell: Takes what becomes of the record itself.
    """

    def __init__(
        self,
        writer: RecordWriter,
        fold: RecordFold,
        *,
        utc_now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is opened."""
        self._writer = writer
        self._fold = fold
        self._utc_now = utc_now
        self._clock = clock
        self._waiting: deque[Entry] = deque()
        self._batch: RecordBatch | None = None  # that was sent, and perhaps not taken
        self._left_over = False  # whether more waited than it holds; that must not wait once more
        self._number = 0
        self._beat_at = 0.0
        self._ending = asyncio.Event()
        self.lost_entries = 0
        self.tell: Tell = lambda _: None

        def tell(event: Event) -> None:
            self.tell(event)  # to whoever is told by then

        self._outage = RecordOutage(tell=tell, clock=clock)
        self._cut = CutCalls(writer, tell=tell, utc_now=utc_now, clock=clock)

    @property
    def waiting(self) -> int:
        """How many entries are not written yet, those of a batch under way left out."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """How many there was no room for."""
        return self.lost_entries

    @property
    def halted(self) -> bool:
        """Whether the database takes nothing now."""
        return self._outage.lasts

    async def hear(self, entry: Entry) -> None:
        """Keep one entry until it is written; waits for nothing."""
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self.lost_entries += 1
        self._waiting.append(entry)

    async def run(self) -> None:
        """Write until it is ended."""
        while not self._ending.is_set():
            began_s = self._clock()
            written = await self.write()
            if written:
                await self._cut.look(within_s=ANSWER_S)
            if not (written and self._left_over):
                took_s = self._clock() - began_s
                await self._pause(max(LEAST_S, WRITE_S - took_s) if written else AGAIN_S)

    async def _pause(self, for_s: float) -> None:
        try:
            async with asyncio.timeout(for_s):
                await self._ending.wait()
        except TimeoutError:
            pass

    async def write(self) -> bool:
        """Have the next batch written; False: the database did not take it, and it waits on."""
        if self._batch is None:
            self._batch = await self._next_batch()
        if self._writer.is_gone:
            self._outage.note_away(GONE)
        if self._batch is None and not self._outage.lasts:
            return True
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._batch is None:
                    await self._writer.reach()
                else:
                    now = self._utc_now()
                    await self._writer.write(self._batch, number=self._number, now=now)
        except RefusedRowsError as error:
            self.lost_entries += len(self._batch.happenings) if self._batch else 0
            logger.error("the database refuses a part of the record, which is lost: {}", error)
        except (StorageError, TimeoutError) as error:
            self._outage.note_away(str(error) or f"no answer within {ANSWER_S:g} s")
            self._cut.note_away()
            return False
        self._batch = None
        self._outage.note_back(lost_entries=self.lost_entries)
        return True

    def end(self) -> None:
        """Have `run` return once it has done what it is at."""
        self._ending.set()

    async def close(self) -> None:
        """Have all that waits written, as far as the database takes it now; let go of it."""
        try:
            async with asyncio.timeout(LAST_S):
                while (self._waiting or self._batch) and await self.write():
                    pass
        except TimeoutError:
            pass
        if self._waiting or self._batch:
            logger.error("the record ends early, with {} entries in hand", len(self._waiting))
        await self._writer.close()

    async def _next_batch(self) -> RecordBatch | None:
        beats = self._clock() >= self._beat_at
        taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        self._left_over = bool(self._waiting)
        if not taken and not (beats and self._fold.live):
            return None
        batch = await asyncio.to_thread(self._fold_all, taken)
        if beats:
            self._beat_at = self._clock() + HEARTBEAT_S
            batch.live = self._fold.live
        self._number += 1
        return batch

    def _fold_all(self, entries: list[Entry]) -> RecordBatch:
        for entry in entries:
            self._fold.add(entry)
        return self._fold.take()


def record_keeper(settings: Settings) -> RecordListener:
    """Return what keeps the record of this process."""
    holder = f"{socket.gethostname()[:40]}-{secrets.token_hex(6)}"
    return RecordListener(
        RecordWriter(settings.storage.url, holder=holder),
        RecordFold(holder=holder, messages=str(settings.logs.dir / "messages")),
        utc_now=clock.utc_now,
        clock=clock.monotonic,
    )


@asynccontextmanager
async def keep_record(
    keeper: RecordListener | None, settings: Settings, *, tell: Tell
) -> AsyncIterator[None]:
    """Have the record written while the block runs, and its rest behind it."""
    if keeper is None:
        yield
        return
    keeper.tell = tell
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(keep_running("the record", keeper.run), name="the record")
        looking = tasks.create_task(_name_lag(settings.storage.url), name="the tables' version")
        try:
            yield
        finally:
            keeper.end()
            await asyncio.wait([writing], timeout=LAST_S)
            writing.cancel()  # a database that hangs holds up no end
            looking.cancel()
            await asyncio.wait([writing, looking])
            await keeper.close()


async def _name_lag(url: str) -> None:
    """Say once, at the start, that the database is behind."""
    try:
        async with asyncio.timeout(ANSWER_S):
            lag = await find_lag(url)
    except (StorageError, TimeoutError):
        return  # the first batch says so
    if lag:
        logger.error("storage.url: the database {}", lag)
