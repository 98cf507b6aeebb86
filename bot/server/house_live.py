"""The live view of the whole house: what happens here, and in the other processes."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from bot.workers.pool import House
from operations.telemetry.live import Live

WAITING: Final = 1_000  # entries for one who watches

Item = TypeVar("Item")


class HouseLive:
    """Watched as a `Live` is."""

    def __init__(self, live: Live, house: House) -> None:
        """Show this process's own view to others of the house, and theirs here."""
        self._live = live
        self._elsewhere = house.views
        if house.views:
            house.views.share(live.watch)

    @property
    def watchers(self) -> int:
        """How many watch this process now."""
        return self._live.watchers

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the recent entries, then each new one, until the watcher goes."""
        merged = merge(*self._sources())
        try:
            async for each in merged:
                yield each
        finally:
            await merged.aclose()  # type: ignore[attr-defined] - a generator

    def _sources(self) -> list[AsyncIterator[Mapping[str, Any]]]:
        own: AsyncIterator[Mapping[str, Any]] = self._live.watch()
        return [own, self._elsewhere.watch()] if self._elsewhere else [own]


async def merge(*sources: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Yield what any of them yields, as it comes, until the watcher goes."""
    with _pour_together(sources) as queue:
        while True:
            yield await queue.get()


async def gather(*sources: AsyncIterator[Item], within_s: float) -> AsyncIterator[Sequence[Item]]:
    """Yield what any of them yields, what comes within so many seconds together."""
    with _pour_together(sources) as queue:
        while True:
            first = await queue.get()
            await asyncio.sleep(within_s)
            yield [first, *(queue.get_nowait() for _ in range(queue.qsize()))]


@contextmanager
def _pour_together(sources: Iterable[AsyncIterator[Item]]) -> Iterator[asyncio.Queue[Item]]:
    queue: asyncio.Queue[Item] = asyncio.Queue(WAITING)

    async def pour(items: AsyncIterator[Item]) -> None:
        async for each in items:
            await queue.put(each)

    loop = asyncio.get_running_loop()  # a task group cannot end when a generator is closed
    tasks = [loop.create_task(pour(each), name="watch the house") for each in sources]
    try:
        yield queue
    finally:
        for each in tasks:
            each.cancel()
