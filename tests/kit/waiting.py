"""Polls for conditions that no event announces."""

import asyncio
from collections.abc import Callable


async def until(
    fact: Callable[[], object], *, within_s: float = 60.0, every_s: float = 0.01
) -> None:
    """Poll until `fact()` is true.

    Raises:
        TimeoutError: It was still false after `within_s`.
    """
    async with asyncio.timeout(within_s):
        while not fact():  # noqa: ASYNC110 - the states of other objects have no event
            await asyncio.sleep(every_s)
