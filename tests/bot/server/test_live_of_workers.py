"""The live feed shows events of every process, and leaves nothing behind."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from bot.server.live_routes import PoolLiveView, gather
from calls.entry import Entry
from calls.events import CallRefused
from operations.telemetry.live import Live
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with

REFUSED = CallRefused(transport="twilio", reason="full")


def entry(number: int) -> Entry:
    return Entry(call_id="", number=number, at="2026-11-21T09:00:00.000+00:00", event=REFUSED)


async def test_a_watcher_at_one_worker_sees_both_and_then_leaves() -> None:
    async with lines(settings_with()) as it:
        here, there = Live(words=False), Live(words=False)
        watched, streamed = PoolLiveView(here, it.joined[0]), PoolLiveView(there, it.joined[1])
        await it.open()
        before = len(asyncio.all_tasks())
        watching = watched.watch()
        first = asyncio.ensure_future(anext(watching))
        await it.settle()
        await here.hear(entry(1))
        await there.hear(entry(2))

        seen = [await first, await anext(watching)]
        # Only the page at this worker counts against its limit, and not the stream to the other.
        assert [watched.watchers, streamed.watchers] == [1, 0]
        await watching.aclose()  # type: ignore[attr-defined] - a generator
        await it.settle()

        assert sorted(item["number"] for item in seen) == [1, 2]
        assert watched.watchers == 0
        assert len(asyncio.all_tasks()) == before


async def words(*said: str) -> AsyncIterator[str]:
    """Send some at once, and then none while the feed is watched."""
    for text in said:
        yield text
    await asyncio.Event().wait()


@pytest.mark.virtual_time
async def test_events_of_one_moment_are_one_message() -> None:
    before, began_s = len(asyncio.all_tasks()), time.monotonic()
    merged = gather(words("a", "b"), words("c"), within_s=0.2)

    piece = await anext(merged)

    assert sorted(piece) == ["a", "b", "c"]
    assert time.monotonic() - began_s == pytest.approx(0.2)
    await merged.aclose()  # type: ignore[attr-defined] - a generator
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before
