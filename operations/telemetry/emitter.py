"""Adds call, number and time to each event, and passes it to all listeners."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Final, Protocol, TypeAlias, runtime_checkable

from loguru import logger

from calls.entry import Emit, Entry, Numbering
from calls.events import Event
from operations.backlog import Backlog
from operations.masking import masked_event
from operations.notify.incident_rules import Incidents

ENTRIES_AT_ONCE: Final = 16  # entries before other tasks run again: a millisecond or two
GATHER_S: Final = 0.2  # for a batch; chosen: a killed process loses the entries of this time
MAX_BATCH: Final = 500  # entries


class Listener(Protocol):
    """Gets every entry."""

    async def hear(self, entry: Entry) -> None:
        """Process one entry. May raise: other listeners are not affected."""
        ...


@runtime_checkable
class BatchListener(Protocol):
    """A listener that takes entries in batches, such as one that writes a file in a thread.

    An emitter passes it only batches. A thread call for each entry took more CPU time than all
    other listeners together (measured: 130 of 210 µs).
    """

    async def hear_all(self, entries: Sequence[Entry]) -> None:
        """Process a batch, in order. May raise."""
        ...


@runtime_checkable
class BufferingListener(Protocol):
    """A listener that buffers entries for a disk or a database."""

    @property
    def waiting(self) -> int:
        """How many entries it holds."""
        ...

    lost: int  # entries that it dropped


class Subscription:
    """The queue of one listener, and the task that empties it.

    Attributes:
        name: The listener's class.
        failed: How often the listener raised.
        dropped: Entries that the listener never got: too many waited, or it was too slow.
    """

    def __init__(self, listener: Listener, *, room: int) -> None:
        """Pass entries to `listener`; at most `room` of them wait."""
        self.name = type(listener).__name__
        self.dropped = 0
        self.failed = 0
        self._listener = listener
        self._waiting = Backlog[Entry](room)
        self._in_progress = 0  # entries in progress
        self._wanted = (
            asyncio.Event()
        )  # set while a task waits in `finish`: then nothing is gathered
        self._queued = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    @property
    def waiting(self) -> int:
        """How many entries are in the queue or in the listener's own buffer."""
        listener = self._listener
        buffered = listener.waiting if isinstance(listener, BufferingListener) else 0
        return len(self._waiting) + buffered

    @property
    def lost(self) -> int:
        """How many entries the queue or the listener dropped."""
        listener = self._listener
        return self.dropped + (listener.lost if isinstance(listener, BufferingListener) else 0)

    @property
    def is_behind(self) -> bool:
        """Whether unprocessed entries are left."""
        return not self._done.is_set()

    def put(self, entry: Entry) -> None:
        """Queue an entry; never waits. If the queue is full, drop the oldest, and count it."""
        self.dropped += self._waiting.put(entry)
        if not self._queued.is_set():
            self._done.clear()
            self._queued.set()

    async def finish(self) -> None:
        """Wait, without a limit, until the queue is empty and its entries are processed.

        A batch that is being gathered is passed on now.
        """
        self._wanted.set()
        await self._done.wait()

    def give_up(self) -> None:
        """Count all unprocessed entries as lost, and log how many; `run` must have ended."""
        left = len(self._waiting) + self._in_progress
        self._waiting.clear()
        self._in_progress = 0
        if left:
            self.dropped += left
            logger.error("{} was too slow at the end: {} entries are lost", self.name, left)

    async def run(self) -> None:
        """Pass entries to the listener until cancelled."""
        listener = self._listener
        hear = self._hear_one_by_one
        if isinstance(listener, BatchListener):
            hear = partial(self._hear_batch, listener)
        while True:
            await self._queued.wait()
            await hear()
            if not self._waiting:
                self._queued.clear()
                self._wanted.clear()
                self._done.set()

    async def _hear_one_by_one(self) -> None:
        """Pass on up to `ENTRIES_AT_ONCE` entries, then let other tasks run."""
        for _ in range(min(ENTRIES_AT_ONCE, len(self._waiting))):
            entry = self._waiting.popleft()
            await self._call_listener(partial(self._listener.hear, entry), entries=1)
        if self._waiting:
            await asyncio.sleep(0)

    async def _hear_batch(self, listener: BatchListener) -> None:
        """Gather entries for `GATHER_S`, or until `finish` is called; then pass on one batch."""
        try:
            async with asyncio.timeout(GATHER_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        taken = self._waiting.take(MAX_BATCH)
        await self._call_listener(partial(listener.hear_all, taken), entries=len(taken))

    async def _call_listener(self, hear: Callable[[], Awaitable[None]], *, entries: int) -> None:
        """Pass entries to the listener; log its exceptions, ever more rarely.

        If this is cancelled, the entries stay in progress, and `give_up` counts them as lost.
        """
        self._in_progress = entries
        try:
            await hear()
            self._in_progress = 0
        except Exception as error:  # noqa: BLE001 - a listener must not hurt a call
            self._in_progress = 0
            self.failed += 1
            if self.failed & (self.failed - 1) == 0:  # only the 1st, 2nd, 4th, 8th time
                text = f"{type(error).__name__}: {error}"
                logger.error("{} failed, {} times so far: {}", self.name, self.failed, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerCounts:
    """The state of the listeners, by class name; several may share one.

    Attributes:
        waiting: Entries that are not processed yet.
        lost: Entries that will never be processed.
        failed: How often they raised.
    """

    waiting: Counter[str]
    lost: Counter[str]
    failed: Counter[str]


def count_of(subscriptions: Iterable[Subscription]) -> ListenerCounts:
    """Return the state of these subscriptions' listeners."""
    waiting, lost, failed = Counter[str](), Counter[str](), Counter[str]()
    for subscription in subscriptions:
        waiting[subscription.name] += subscription.waiting
        lost[subscription.name] += subscription.lost
        failed[subscription.name] += subscription.failed
    return ListenerCounts(waiting=waiting, lost=lost, failed=failed)


Clock: TypeAlias = Callable[[], float]
PendingEvent: TypeAlias = tuple[str, Numbering, Event, float]
"""The call's id, its numbering, the event, and when it was emitted, on the clock."""

QUEUE_ENTRIES: Final = 10_000  # for each listener: a minute of twenty busy calls
MAX_PENDING: Final = 1_000  # events, emitted by code that does not yield to the loop
FLUSH_S: Final = 5.0  # for the listeners, at the end; then the rest is lost (chosen)
TICK_S: Final = 1.0  # between two checks for incidents that end because time has passed


class Emitter:
    """The single path from events to listeners: `emit` never waits and never raises.

    Each listener has its own queue: a slow or failing one affects only itself. Incident events are
    created here, right after the events that cause them, so that every listener gets the same ones.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[Listener],
        utc_now: Callable[[], datetime],
        incidents: Incidents | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Pass events to these listeners.

        Args:
            listeners: Each gets every entry, in order.
            utc_now: The time of day, for the entries.
            incidents: Creates incident events, for this emitter only; `None` for none.
            clock: In seconds, cheaper to read than the time of day; `None` to use the latter.
        """
        self._subscriptions = [Subscription(listener, room=QUEUE_ENTRIES) for listener in listeners]
        self._utc_now = utc_now
        self._incidents = incidents
        self._clock = clock or (lambda: utc_now().timestamp())
        self._own_numbers = Numbering()  # of entries outside calls
        self._pending: deque[PendingEvent] = deque()  # until the event loop is free
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()

    def emit_for(self, call_id: str, numbers: Numbering | None = None) -> Emit:
        """Return the `emit` function of a call.

        The call's numbering is freed with the last reference to the function: nothing here grows
        with past calls, and an event after the call's end still gets its number.

        Args:
            call_id: The call; empty for the process itself.
            numbers: Continues this numbering of a call's entries; `None` for a new one.
        """
        numbers = (numbers or Numbering()) if call_id else self._own_numbers
        clock, pending, schedule = self._clock, self._pending, self._schedule_delivery

        def emit(event: Event) -> None:
            pending.append((call_id, numbers, event, clock()))
            schedule()

        return emit

    def _schedule_delivery(self) -> None:
        """Pass all pending events on together when the event loop is free, or now if too many wait.

        Before the emitter is entered, there is no loop yet: they wait, up to `MAX_PENDING`.
        The code that emits them is serving a call; creating entries and waking listeners takes ten
        times as long as this.
        """
        if len(self._pending) >= MAX_PENDING:
            self._pass_on_all()
        elif self._loop is not None and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pass_on_scheduled)

    def _pass_on_scheduled(self) -> None:
        self._scheduled = False  # an event emitted from now on schedules the next call
        self._pass_on_all()

    def _pass_on_all(self) -> None:
        """Mask each event, and queue it for every listener, followed by the incidents it causes."""
        utc_now, now = self._utc_now(), self._clock()
        while self._pending:
            call_id, numbers, event, emitted_s = self._pending.popleft()
            event = masked_event(event)
            moment = utc_now - timedelta(seconds=now - emitted_s)
            at = moment.isoformat(timespec="milliseconds")
            caused = self._incidents.handle(event, emitted_s) if self._incidents else ()
            for item in (event, *caused):
                entry = Entry(call_id=call_id, number=numbers.next(), at=at, event=item)
                for subscription in self._subscriptions:
                    subscription.put(entry)

    def describe_replacement(self, stage: str, rung: str) -> str:
        """Return what replaces a rung (if `rung` is empty, the stage) now; empty if unknown."""
        return self._incidents.rungs.describe_replacement(stage, rung) if self._incidents else ""

    @property
    def waiting(self) -> int:
        """The number of entries that the slowest listener has not processed yet."""
        return max((subscription.waiting for subscription in self._subscriptions), default=0)

    @property
    def lost_entries(self) -> int:
        """The number of lost entries, over all listeners."""
        return sum(subscription.lost for subscription in self._subscriptions)

    def counts(self) -> ListenerCounts:
        """Return the state of each listener."""
        return count_of(self._subscriptions)

    async def flush(self, within_s: float = FLUSH_S) -> None:
        """Wait until all entries are processed, for at most `within_s`; the rest stays queued."""
        self._pass_on_all()
        late = [subscription for subscription in self._subscriptions if subscription.is_behind]
        if not late:
            return
        try:
            async with asyncio.timeout(within_s):
                for subscription in late:
                    await subscription.finish()
        except TimeoutError:
            pass  # losses are counted and logged at the end

    async def __aenter__(self) -> "Emitter":
        """Start a task for each listener, and pass on the events that were emitted before."""
        await self._group.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._schedule_delivery()
        for subscription in self._subscriptions:
            task = self._group.create_task(subscription.run(), name=f"telling {subscription.name}")
            self._tasks.append(task)
        if self._incidents is not None:
            ending = _end_incidents(self._incidents, self.emit_for(""), self._clock)
            ticking = self._group.create_task(ending, name="incidents")
            self._tasks.append(ticking)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Flush, unless the block raised; then stop the listeners; what is left counts as lost."""
        if error is None:
            await self.flush()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
        for subscription in self._subscriptions:
            subscription.give_up()


async def _end_incidents(incidents: Incidents, emit: Emit, clock: Clock) -> None:
    """Emit the ends of incidents that end because time has passed."""
    while True:
        await asyncio.sleep(TICK_S)
        for event in incidents.tick(clock()):
            emit(event)
