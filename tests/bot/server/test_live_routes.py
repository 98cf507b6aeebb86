"""The live feed sends a heartbeat."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from bot.server.live_routes import BEAT_S, GATHER_S, PoolLiveView, live_router
from bot.workers.pool import SingleProcess
from operations.telemetry.live import Live


class NoCalls:
    """A pool without calls."""

    store_problem = "Only our own."

    async def watch(self) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        for _ in ():
            yield ()


def router_of(calls: Any) -> APIRouter:
    pool = SingleProcess(why_closed=str, clock=time.monotonic)
    view = PoolLiveView(Live(words=False), pool)
    return live_router(view, budget_s=1.5, calls=calls)


@pytest.mark.virtual_time
async def test_an_idle_feed_sends_heartbeats() -> None:
    router = router_of(NoCalls())
    answer = await router.routes[0].endpoint(calls=True)  # type: ignore[attr-defined] - a route
    assert isinstance(answer, StreamingResponse)
    told, began_s = answer.body_iterator, time.monotonic()

    said = [await anext(told) for _ in range(3)]  # type: ignore[call-overload] - a generator
    took_s = time.monotonic() - began_s
    await told.aclose()  # type: ignore[attr-defined] - a generator

    beat = 'event: beat\ndata: {"store_problem": "Only our own."}\n\n'
    assert said == ['event: settings\ndata: {"budget_s": 1.5}\n\n', beat, beat]
    assert took_s == pytest.approx(2 * BEAT_S + GATHER_S)


class BrokenCalls:
    """A pool whose calls cannot be read."""

    async def watch(self) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        yield ()
        raise ConnectionError


@pytest.mark.virtual_time
async def test_a_feed_ends_when_one_of_its_sources_fails() -> None:
    router = router_of(BrokenCalls())
    answer = await router.routes[0].endpoint(calls=True)  # type: ignore[attr-defined] - a route
    assert isinstance(answer, StreamingResponse)

    async def read() -> None:
        async for _ in answer.body_iterator:
            pass

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(read(), 60.0)
