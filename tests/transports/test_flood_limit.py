"""Limits on a far end's messages, on virtual time."""

import asyncio

import pytest

from transports.far_end import FloodLimit

pytestmark = pytest.mark.virtual_time


async def test_the_natural_rate_is_never_limited() -> None:
    audio = FloodLimit(per_s=1.02, cap=2.0)

    for _ in range(10_000):
        assert await audio.take(0.02)
        await asyncio.sleep(0.02)


async def test_messages_delayed_by_a_stall_are_accepted_and_no_more() -> None:
    audio = FloodLimit(per_s=1.0, cap=2.0)
    await asyncio.sleep(100.0)

    granted = [await audio.take(0.5) for _ in range(6)]

    assert granted == [True] * 4 + [False] * 2


async def test_refused_messages_are_not_counted() -> None:
    audio = FloodLimit(per_s=1.0, cap=2.0)
    assert await audio.take(2.0)
    assert not await audio.take(1.0)

    await asyncio.sleep(1.0)

    assert await audio.take(1.0)
