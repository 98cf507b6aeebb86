"""Restoring a lost connection in the background, on virtual time."""

import asyncio

import pytest

from processors.ladder.stage import Reconnector
from runtime.clock import monotonic
from tests.processors.ladder.owner import Owner

pytestmark = pytest.mark.virtual_time


class Far:
    """A far end that accepts the connection at the n-th try."""

    def __init__(self, *, at_try: int) -> None:
        self.tried_at: list[float] = []
        self._at_try = at_try

    async def connect(self) -> bool:
        self.tried_at.append(monotonic())
        return len(self.tried_at) >= self._at_try


@pytest.fixture
def owner() -> Owner:
    return Owner()


async def test_the_reconnector_tries_until_connected_with_growing_waits(owner: Owner) -> None:
    begun_at, far = monotonic(), Far(at_try=3)
    reconnector = Reconnector("cartesia", far.connect, clock=monotonic)

    reconnector.start_reconnecting(owner)
    await asyncio.sleep(100.0)

    assert [round(at - begun_at, 1) for at in far.tried_at] == [0.5, 1.5, 3.5]
    assert not reconnector.busy


async def test_an_urgent_reconnection_does_not_wait(owner: Owner) -> None:
    begun_at, far = monotonic(), Far(at_try=1)
    reconnector = Reconnector("cartesia", far.connect, clock=monotonic)
    reconnector.backoff.down(begun_at, permanent=True)

    reconnector.start_reconnecting(owner)
    await asyncio.sleep(0.1)
    reconnector.hurry()
    await asyncio.sleep(0.1)

    assert far.tried_at == [pytest.approx(begun_at + 0.1)]


async def test_a_rung_with_an_open_breaker_is_not_tried(owner: Owner) -> None:
    far = Far(at_try=1)
    reconnector = Reconnector("cartesia", far.connect, clock=monotonic, allowed=lambda: False)

    reconnector.start_reconnecting(owner)
    await asyncio.sleep(100.0)
    await reconnector.close(owner)

    assert far.tried_at == []


async def test_no_connection_is_tried_after_the_end_of_a_call(owner: Owner) -> None:
    far = Far(at_try=1)
    reconnector = Reconnector("cartesia", far.connect, clock=monotonic)

    await reconnector.close(owner)
    reconnector.start_reconnecting(owner)
    await asyncio.sleep(10.0)

    assert far.tried_at == []
