"""Gives back what ended calls held, soon behind their end.

The parts of a call know each other in circles, which only a full round of Python's collector finds:
0.85 MB a call. Left alone it makes one when enough else is new, behind eight calls or behind more,
and the process keeps the size of the longest wait.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from operations.keep_running import at_work, keep_running

EVERY_S: Final = 10.0  # chosen: in a round nobody is served (docs/decisions/0004)


@asynccontextmanager
async def free_ended_calls(ended: Callable[[], int]) -> AsyncIterator[None]:
    """Make a round behind calls that have ended, at the latest two looks behind, within the block.

    Args:
        ended: How many have, until now.
    """

    async def look() -> None:
        freed = seen = 0
        while True:
            await asyncio.sleep(EVERY_S)
            if seen > freed:  # they ended a look ago: what served them has let go of them
                gc.collect()
                freed = seen
            seen = ended()

    async with at_work(freeing=keep_running("freeing what calls held", look)):
        yield
