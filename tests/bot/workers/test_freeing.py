"""What ended calls held is given back, though nothing new makes Python look for it."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from bot.workers.process import EVERY_S, free_ended_calls

pytestmark = pytest.mark.virtual_time


class Held:
    """Knows itself, as the parts of a call know each other."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nobody_else_looks() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_what_a_call_held_is_freed_soon_behind_its_end() -> None:
    ended, held = 0, weakref.ref(Held())
    async with free_ended_calls(lambda: ended):
        await asyncio.sleep(5 * EVERY_S)
        assert held() is not None  # where no call ends there is nothing to be found

        ended = 1
        await asyncio.sleep(2 * EVERY_S + 1)

    assert held() is None


async def test_what_lets_go_a_moment_behind_the_end_is_freed_too() -> None:
    ended, still_used = 0, Held()
    held = weakref.ref(still_used)
    async with free_ended_calls(lambda: ended):
        await asyncio.sleep(EVERY_S - 0.1)
        ended = 1
        await asyncio.sleep(1)
        del still_used
        await asyncio.sleep(EVERY_S)

    assert held() is None
