"""Memory of ended calls is freed, though nothing new triggers a collection."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from bot.workers.interpreter import COLLECT_EVERY_S, free_ended_calls

pytestmark = pytest.mark.virtual_time


class Held:
    """References itself, as the parts of a call do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nobody_else_looks() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_a_calls_objects_are_freed_after_its_end_also_those_released_a_moment_later() -> None:
    ended, still_used = 0, Held()
    held, later = weakref.ref(Held()), weakref.ref(still_used)
    async with free_ended_calls(lambda: ended):
        await asyncio.sleep(5 * COLLECT_EVERY_S - 0.1)
        assert held() is not None  # without an ended call there is nothing to free

        ended = 1
        await asyncio.sleep(1)
        del still_used
        await asyncio.sleep(COLLECT_EVERY_S)

    assert (held(), later()) == (None, None)
