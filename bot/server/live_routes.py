"""`/api/live`: the live view as server-sent events, one JSON object each."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from fastapi.responses import JSONResponse, StreamingResponse

from bot.server.call_routes import PoolCalls
from bot.server.campaign_routes import PoolCampaigns
from bot.workers.pool import WorkerPool
from operations.telemetry.live import Live

MAX_QUEUED: Final = 1_000  # entries queued for one watcher; then its sources wait

Item = TypeVar("Item")


class PoolLiveView:
    """The live view of all processes.

    Attributes:
        watchers: The number of watchers in this process.
    """

    def __init__(self, live: Live, pool: WorkerPool) -> None:
        """Stream this process's view to the others of `pool`, and show theirs here."""
        self.watchers = 0
        self._live = live
        self._elsewhere = pool.views
        if pool.views:
            pool.views.share(live.watch)

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the recent entries, then each new one, until closed."""
        merged = merge(*self._entry_sources())
        self.watchers += 1
        try:
            async for item in merged:
                yield item
        finally:
            self.watchers -= 1
            await merged.aclose()  # type: ignore[attr-defined] - a generator

    def _entry_sources(self) -> list[AsyncIterator[Mapping[str, Any]]]:
        own: AsyncIterator[Mapping[str, Any]] = self._live.watch()
        return [own, self._elsewhere.watch()] if self._elsewhere else [own]


async def merge(*sources: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Yield the items of all sources as they arrive, until closed or one of them raises.

    Does not end when the sources do. Sources wait while `MAX_QUEUED` items are unread.
    """
    with _merged_queue(sources) as queue:
        while True:
            yield _item_or_raise(await queue.get())


async def gather(*sources: AsyncIterator[Item], within_s: float) -> AsyncIterator[Sequence[Item]]:
    """Yield lists of the items of all sources: one item, and those that follow within `within_s`.

    If a source raises an exception, this raises it, and the other items of its list are lost.
    """
    with _merged_queue(sources) as queue:
        while True:
            first = await queue.get()
            await asyncio.sleep(within_s)
            found = [first, *(queue.get_nowait() for _ in range(queue.qsize()))]
            yield [_item_or_raise(queued) for queued in found]


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


def _item_or_raise(queued: Item | _Failed) -> Item:
    if isinstance(queued, _Failed):
        raise queued.error
    return queued


@contextmanager
def _merged_queue(
    sources: Iterable[AsyncIterator[Item]],
) -> Iterator[asyncio.Queue[Item | _Failed]]:
    """Yield a queue that tasks fill from the sources; the end of the block ends the tasks.

    The exception of a source is queued as `_Failed`.
    """
    queue: asyncio.Queue[Item | _Failed] = asyncio.Queue(MAX_QUEUED)

    async def enqueue(items: AsyncIterator[Item]) -> None:
        try:
            async for item in items:
                await queue.put(item)
        except Exception as error:  # noqa: BLE001 - the reader raises it
            await queue.put(_Failed(error))

    loop = asyncio.get_running_loop()  # a task group cannot be left when a generator is closed
    tasks = [loop.create_task(enqueue(source), name="watch all processes") for source in sources]
    try:
        yield queue
    finally:
        for task in tasks:
            task.cancel()


GATHER_S: Final = 0.2  # chosen: each write costs 0.4 ms of CPU time, whatever its size
BEAT_S: Final = 3.0  # chosen: a page reports a lost connection after 8 s without a message
MAX_WATCHERS: Final = 64  # each uses one of the 256 connections
FREQUENT: Final = frozenset(
    {
        *("PhaseMoved", "PauseJudged", "TurnDecided", "TurnEnded", "AttemptStarted"),
        *("AttemptDropped", "FirstToken", "FirstSpeech", "UsageMeasured", "TurnCosted"),
        *("EarlyAnswerAsked", "EarlyAnswerTaken", "EarlyAnswerDropped", "TranscriptFinal"),
        *("AgentSaid",),
    }
)
"""Events that occur many times in a turn; the stream for the console leaves them out."""


def live_router(
    live: PoolLiveView, *, budget_s: float, calls: PoolCalls, campaigns: PoolCampaigns | None = None
) -> APIRouter:
    """Return the route that streams every entry to its watchers.

    The stream begins with an event `settings`, {"budget_s"}, the scale for answer times. With
    `?calls=1`, as the console asks, it leaves out the `FREQUENT` entries, so that a page can follow
    forty calls, and has more events: `calls`, each with all calls in progress; `campaigns`; and the
    heartbeat `beat`, without which a page cannot tell a lost connection from a quiet one.
    """
    router = APIRouter()
    opening = f"event: settings\ndata: {json.dumps({'budget_s': budget_s})}\n\n"

    async def stream() -> AsyncIterator[str]:
        yield opening
        async for entry in live.watch():
            yield _sse_message(entry)

    def watch_pool() -> AsyncIterator[Sequence[str]]:
        more = (_campaign_messages(campaigns),) if campaigns else ()
        own = (_beat_messages(calls), _entry_messages(live), _call_messages(calls))
        return gather(*own, *more, within_s=GATHER_S)

    @router.get("/api/live", response_model=None)
    async def watch(  # pyright: ignore[reportUnusedFunction]
        *, calls: bool = False
    ) -> StreamingResponse | JSONResponse:
        if live.watchers >= MAX_WATCHERS:
            return JSONResponse({"detail": "Too many pages are open already."}, 503)
        return StreamingResponse(
            _console_stream(opening, watch_pool()) if calls else stream(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    return router


async def _console_stream(opening: str, merged: AsyncIterator[Sequence[str]]) -> AsyncIterator[str]:
    """Yield `opening`, then each list of messages as one text; close `merged` at the end."""
    yield opening
    try:
        async for messages in merged:
            yield "".join(messages)
    finally:
        await merged.aclose()  # type: ignore[attr-defined] - a generator


async def _beat_messages(calls: PoolCalls) -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(BEAT_S)
        yield f"event: beat\n{_sse_message({'store_problem': calls.store_problem})}"


async def _entry_messages(live: PoolLiveView) -> AsyncIterator[str]:
    async for entry in live.watch():
        if entry["event"] not in FREQUENT:
            yield _sse_message(entry)


async def _call_messages(calls: PoolCalls) -> AsyncIterator[str]:
    async for in_progress in calls.watch():
        yield f"event: calls\n{_sse_message(in_progress)}"


async def _campaign_messages(campaigns: PoolCampaigns) -> AsyncIterator[str]:
    async for states in campaigns.watch():
        yield f"event: campaigns\n{_sse_message(states)}"


def _sse_message(data: object) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
