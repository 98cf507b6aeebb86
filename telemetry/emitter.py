"""Gives each fact its call, number and time, and hands it to everyone who listens."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from types import TracebackType
from typing import Final, Protocol

from loguru import logger

from calls.entry import Entry, Tell
from calls.events import Event
from telemetry.masking import event_without_keys

QUEUE_ENTRIES: Final = 10_000  # a minute of twenty busy calls; beyond that entries are lost


class Listener(Protocol):
    """Someone who is told everything."""

    async def hear(self, entry: Entry) -> None:
        """Hear one entry. May raise: it hurts nobody else."""
        ...


class Emitter:
    """The one road from facts to listeners: `tell` never waits and never raises.

    A full queue loses the entry and counts it; a listener that raises is logged and counted.
    """

    def __init__(self, *, listeners: Sequence[Listener], utc_now: Callable[[], datetime]) -> None:
        self._listeners = listeners
        self._utc_now = utc_now
        self._queue: asyncio.Queue[Entry] = asyncio.Queue(QUEUE_ENTRIES)
        self._task: asyncio.Task[None] | None = None
        self._group = asyncio.TaskGroup()
        self.lost_entries = 0
        self.failed_listeners: Counter[str] = Counter()

    def tell_for(self, call_id: str) -> Tell:
        """Return what a call hands its facts to; an empty `call_id` is the process itself.

        The count of a call's entries goes when nobody holds its `tell` any more: nothing here grows
        with the calls that were, and a fact told after the end still has its number.
        """
        numbers = count(1)

        def tell(event: Event) -> None:
            entry = Entry(
                call_id=call_id,
                number=next(numbers),
                at=self._utc_now().isoformat(timespec="milliseconds"),
                event=event_without_keys(event),
            )
            try:
                self._queue.put_nowait(entry)
            except asyncio.QueueFull:
                self.lost_entries += 1

        return tell

    @property
    def waiting(self) -> int:
        """How many entries nobody has heard yet."""
        return self._queue.qsize()

    async def flush(self) -> None:
        """Wait until every entry told so far was heard."""
        await self._queue.join()

    async def __aenter__(self) -> "Emitter":
        await self._group.__aenter__()
        self._task = self._group.create_task(self._pass_on(), name="emitter")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.flush()
        if self._task:
            self._task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def _pass_on(self) -> None:
        while True:
            entry = await self._queue.get()
            for listener in self._listeners:
                try:
                    await listener.hear(entry)
                except Exception as broken:  # noqa: BLE001 - a listener must not hurt a call
                    name = type(listener).__name__
                    self.failed_listeners[name] += 1
                    logger.error("{} failed: {}: {}", name, type(broken).__name__, broken)
            self._queue.task_done()
