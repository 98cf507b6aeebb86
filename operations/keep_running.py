"""Keeps a background task running: failures are logged and the task restarts.

A task group cancels all its tasks when one of them raises. Those of the process serve calls, and
background work must not end calls.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from loguru import logger

from bot import clock
from operations.database.database import StorageError

FIRST_WAIT_S: Final = 1.0  # doubles with each failure that follows soon
MAX_WAIT_S: Final = 300.0
UNWELL_S: Final = 15.0  # before a failed database is tried again


async def keep_running(
    what: str,
    work: Callable[[], Awaitable[None]],
    *,
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> None:
    """Run some work until it returns or is cancelled; restart it after failures, ever later.

    Args:
        what: Its name in the log: "the health store's refresh".
        work: Starts the work.
        on_failure: Called for each failure; must not raise.
    """
    wait_s = FIRST_WAIT_S
    while True:
        began_s = clock.monotonic()
        try:
            return await work()
        except Exception as broken:  # noqa: BLE001 - the top of the process: calls go on without it
            if clock.monotonic() - began_s > MAX_WAIT_S:
                wait_s = FIRST_WAIT_S
            logger.opt(exception=broken).error("{} failed; again in {:g} s", what, wait_s)
            on_failure(broken)
        await asyncio.sleep(wait_s)
        wait_s = min(MAX_WAIT_S, 2 * wait_s)


async def keep_repeating(
    what: str, work: Callable[[], Awaitable[bool]], *, rest_s: Callable[[], float]
) -> None:
    """Repeat some work until cancelled, also after failures.

    Args:
        what: Its name in the log; a database outage is logged once.
        work: Does one step; returns whether there is more to do now.
        rest_s: Returns how long to wait if there is not.
    """

    async def repeat() -> None:
        unwell = False
        while True:
            try:
                more = await work()
                unwell = False
            except StorageError as error:
                if not unwell:
                    logger.error("{}: the database does not answer: {}", what, error)
                more, unwell = False, True
            if not more:
                await asyncio.sleep(UNWELL_S if unwell else rest_s())

    await keep_running(what, repeat)


@asynccontextmanager
async def at_work(**works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the works as named tasks during the block; then cancel them and wait for their end.

    Final writes and closing belong after the block: by then the tasks have ended.
    """
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work, name=name) for name, work in works.items()]
        try:
            yield
        finally:
            for item in working:
                item.cancel()
            await asyncio.wait(working)
