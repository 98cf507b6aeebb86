"""Gives each fact its call, number and time, and hands it to everyone who listens."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, TypeAlias

from calls.entry import Entry, Numbering, Tell
from calls.events import Event
from operations.masking import masked_event
from operations.notify.incident_rules import Incidents
from operations.telemetry.subscription import Listener, ListenerCounts, Subscription, count_of

Clock: TypeAlias = Callable[[], float]
Told: TypeAlias = tuple[str, Numbering, Event, float]
"""A fact as it was told: its call, what numbers the call's entries, and when by the clock."""

QUEUE_ENTRIES: Final = 10_000  # of each listener: a minute of twenty busy calls; then the oldest go
PENDING_FACTS: Final = 1_000  # told at a stretch by somebody who never lets go of the loop
FLUSH_S: Final = 5.0  # for the listeners, at the end: a slower one loses the rest (chosen)
TICK_S: Final = 1.0  # between two looks at which incidents are over by the passing of time


class Emitter:
    """The one road from facts to listeners: `tell` never waits and never raises.

    Each listener has a queue of its own: one that is slow, or fails, hurts nobody but itself.
    Incidents are made here, right behind the facts that begin or end them, so that every listener
    is told the same.
    """

    def __init__(
        self,
        *,
        listeners: Sequence[Listener],
        utc_now: Callable[[], datetime],
        incidents: Incidents | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Tell these listeners.

        Args:
            listeners: Each hears every entry, in the order in which they were told.
            utc_now: The time of day, for the entries.
            incidents: Makes incidents of facts; nobody else may ask it. None: nobody does.
            clock: Seconds; quicker to read than the time of day, which it may be. None: it is.
        """
        self._subscriptions = [Subscription(each, room=QUEUE_ENTRIES) for each in listeners]
        self._utc_now = utc_now
        self._incidents = incidents
        self._clock = clock or (lambda: utc_now().timestamp())
        self._own_numbers = Numbering()  # of the process' entries
        self._pending: deque[Told] = deque()  # until the loop is free next
        self._rung = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()

    def tell_for(self, call_id: str, numbers: Numbering | None = None) -> Tell:
        """Return what a call hands its facts to; an empty `call_id` is the process itself.

        The count of a call's entries goes when nobody holds its `tell` any more: nothing here grows
        with the calls that were, and a fact told after the end still has its number.

        Args:
            call_id: Of the call.
            numbers: Of its entries; None: they begin.
        """
        numbers = (numbers or Numbering()) if call_id else self._own_numbers
        clock, pending, bell = self._clock, self._pending, self._ring

        def tell(event: Event) -> None:
            pending.append((call_id, numbers, event, clock()))
            bell()

        return tell

    def _ring(self) -> None:
        """Have what is told handed out as soon as the loop is free: once for all of it.

        The code that tells is in the middle of a call; making entries and waking those who listen
        takes ten times as long as this.
        """
        if len(self._pending) >= PENDING_FACTS:
            self._hand_out()
        elif self._loop is not None and not self._rung:
            self._rung = True
            self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        self._rung = False
        self._hand_out()

    def _hand_out(self) -> None:
        """Make entries of what was told, and of what that means, and give them to all queues."""
        utc_now, now = self._utc_now(), self._clock()
        while self._pending:
            call_id, numbers, event, told = self._pending.popleft()
            event = masked_event(event)
            moment = utc_now - timedelta(seconds=now - told)
            at = moment.isoformat(timespec="milliseconds")
            more = self._incidents.handle(event, told) if self._incidents else ()
            for fact in (event, *more):
                entry = Entry(call_id=call_id, number=numbers.next(), at=at, event=fact)
                for each in self._subscriptions:
                    each.put(entry)

    @property
    def waiting(self) -> int:
        """How many entries the slowest listener has not heard yet."""
        return max((each.waiting for each in self._subscriptions), default=0)

    @property
    def lost_entries(self) -> int:
        """How many entries were lost, by all listeners together."""
        return sum(each.lost for each in self._subscriptions)

    def counts(self) -> ListenerCounts:
        """Return how each listener fares."""
        return count_of(self._subscriptions)

    async def flush(self, within_s: float = FLUSH_S) -> None:
        """Wait until every entry told so far was heard, or as long as that may take."""
        self._hand_out()
        late = [each for each in self._subscriptions if each.behind]
        if not late:
            return
        try:
            async with asyncio.timeout(within_s):
                for each in late:
                    await each.done()
        except TimeoutError:
            pass  # what is lost by it is counted and logged at the end

    async def __aenter__(self) -> "Emitter":
        await self._group.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._ring()
        for each in self._subscriptions:
            task = self._group.create_task(each.run(), name=f"telling {each.name}")
            self._tasks.append(task)
        if self._incidents is not None:
            over = _tell_what_is_over(self._incidents, self.tell_for(""), self._clock)
            ticking = self._group.create_task(over, name="incidents")
            self._tasks.append(ticking)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.flush()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
        for each in self._subscriptions:
            each.give_up()


async def _tell_what_is_over(incidents: Incidents, tell: Tell, clock: Clock) -> None:
    """Tell of incidents that are over because nothing more has happened."""
    while True:
        await asyncio.sleep(TICK_S)
        for fact in incidents.tick(clock()):
            tell(fact)
