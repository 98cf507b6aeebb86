"""The gate of a rung admits requests up to its places and its pace."""

import asyncio
import time

import pytest

from fallbacks.deadline import Deadline
from fallbacks.limits import Limits
from processors.ladder.gate import RungGate

pytestmark = pytest.mark.virtual_time

SHORT_S = 0.05


def gate(**limits: int) -> RungGate:
    return RungGate(Limits(**limits), clock=time.monotonic)


def within(seconds: float) -> Deadline:
    return Deadline(at=time.monotonic() + seconds)


async def test_a_returned_place_goes_to_a_waiter() -> None:
    it = gate(concurrent=1)
    held = await it.enter("a", until=within(1))
    waiting = asyncio.ensure_future(it.enter("b", until=within(1)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert held

    it.leave(held)

    assert await waiting
    assert it.inside == 1


async def test_no_request_waits_longer_than_its_limit() -> None:
    it = gate(concurrent=1)
    await it.enter("a", until=within(1))
    began = time.monotonic()

    assert await it.enter("b", until=within(SHORT_S)) is None
    assert SHORT_S <= time.monotonic() - began < SHORT_S + 0.1
    assert it.inside == 1


async def test_a_free_place_is_given_even_after_the_deadline() -> None:
    it = gate(concurrent=1)

    assert await it.enter("a", until=within(-1.0))


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    it = gate(concurrent=1)
    held = await it.enter("a", until=within(1))
    waiting = asyncio.ensure_future(it.enter("b", until=within(1)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert held

    it.leave(held)

    assert it.has_room
    assert it.inside == 0


async def test_a_pace_admits_again_after_its_time() -> None:
    it = gate(per_minute=600)  # one in a tenth of a second
    for _ in range(600):
        await it.enter("a", until=within(1))
    began = time.monotonic()

    assert await it.enter("a", until=within(1))
    assert 0.05 < time.monotonic() - began < 0.25


async def test_an_empty_bucket_is_waited_for() -> None:
    it = gate()
    it.learn(
        {
            "x-ratelimit-limit-requests": "600",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1m0s",
        }
    )
    began = time.monotonic()

    assert await it.enter("a", until=within(1))
    assert 0.09 <= time.monotonic() - began < 0.25
