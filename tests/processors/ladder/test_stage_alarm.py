"""Waiting for a moment or for a ring of the alarm, on virtual time."""

import asyncio

import pytest
from loguru import logger

from processors.ladder.stage import Alarm
from runtime.clock import monotonic

pytestmark = pytest.mark.virtual_time


async def test_a_moment_ends_the_wait_and_is_never_returned_early() -> None:
    until = monotonic() + 5.0

    assert await Alarm(monotonic).wait(until) >= until


async def test_a_ring_ends_the_wait_before_the_moment() -> None:
    alarm, until = Alarm(monotonic), monotonic() + 5.0
    asyncio.get_running_loop().call_later(1.0, alarm.ring)

    assert await alarm.wait(until) == pytest.approx(until - 4.0)


async def test_a_ring_without_a_waiter_is_kept() -> None:
    alarm, begun_at = Alarm(monotonic), monotonic()
    alarm.ring()

    assert await alarm.wait(None) == begun_at


async def test_a_past_moment_is_not_waited_for() -> None:
    begun_at = monotonic()

    assert await Alarm(monotonic).wait(begun_at - 1.0) == begun_at


async def test_a_ring_asks_for_the_next_moment_again() -> None:
    begun_at = monotonic()
    alarm, due_at, acted = Alarm(monotonic), [begun_at + 10.0], list[int]()

    async def act(now: float) -> None:
        acted.append(round(now - begun_at))

    def bring_forward() -> None:
        due_at[0] = begun_at + 3.0
        alarm.ring()

    asyncio.get_running_loop().call_later(1.0, bring_forward)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20.0):
            await alarm.run(lambda: due_at[0] if len(acted) < 3 else None, act)

    assert acted == [0, 1, 3]


@pytest.mark.passes_over_mistakes
async def test_an_exception_in_a_due_action_is_logged_and_the_next_moment_is_kept() -> None:
    begun_at, acted, lines = monotonic(), list[int](), list[str]()
    alarm = Alarm(monotonic)

    async def act(now: float) -> None:
        acted.append(round(now - begun_at))
        if len(acted) == 2:
            raise ValueError("unexpected")

    def wake_at() -> float | None:
        return begun_at + 3.0 * len(acted) if len(acted) < 4 else None

    sink = logger.add(lines.append, level="ERROR", format="{message}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20.0):
            await alarm.run(wake_at, act)
    logger.remove(sink)

    assert acted == [0, 3, 3, 9]
    assert len(lines) == 1


@pytest.mark.passes_over_mistakes
async def test_a_repeated_exception_does_not_occupy_a_core() -> None:
    acted = list[float]()

    async def act(now: float) -> None:
        acted.append(now)
        raise ValueError("again")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60.0):
            await Alarm(monotonic).run(monotonic, act)

    assert 10 < len(acted) < 30
