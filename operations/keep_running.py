"""Keeps a background task running: failures are logged and the task restarts.

A task group cancels all its tasks when one of them raises. The tasks of a process also serve
calls, and failing background work must not end a call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from loguru import logger

from operations.database.database import StorageError
from runtime import clock

FIRST_WAIT_S: Final = 1.0  # doubles with each failure in a row
MAX_WAIT_S: Final = 300.0
UNWELL_S: Final = 15.0  # the wait before a database that is down is tried again


async def keep_running(
    what: str,
    work: Callable[[], Awaitable[None]],
    *,
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> None:
    """Run `work` until it returns or is cancelled; restart it after failures, with growing waits.

    A run that lasted more than `MAX_WAIT_S` resets the wait to `FIRST_WAIT_S`.

    Args:
        what: Its name in the log: "the health store's refresh".
        work: Starts the work.
        on_failure: Called after each failure; must not raise.
    """
    wait_s = FIRST_WAIT_S
    while True:
        began_s = clock.monotonic()
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - the top of a task: calls go on without it
            if clock.monotonic() - began_s > MAX_WAIT_S:
                wait_s = FIRST_WAIT_S
            logger.opt(exception=error).error("{} failed; restarting in {:g} s", what, wait_s)
            on_failure(error)
        await asyncio.sleep(wait_s)
        wait_s = min(MAX_WAIT_S, 2 * wait_s)


async def keep_repeating(
    what: str, work: Callable[[], Awaitable[bool]], *, rest_s: Callable[[], float]
) -> None:
    """Repeat `work` until cancelled; after a database failure, `UNWELL_S` later.

    After any other error, `keep_running` restarts it.

    Args:
        what: Its name in the log; a database outage is logged once.
        work: Does one step; returns whether there is more to do now.
        rest_s: Returns the wait before the next step when there is nothing to do now.
    """

    async def repeat() -> None:
        """Work for ever: at once while there is more, otherwise after a rest.

        An outage of the database is logged once, and ends with the next success.
        """
        is_down = False
        while True:
            try:
                more = await work()
                is_down = False
            except StorageError as error:
                if not is_down:
                    logger.error("{}: the database does not answer: {}", what, error)
                more, is_down = False, True
            if not more:
                await asyncio.sleep(UNWELL_S if is_down else rest_s())

    await keep_running(what, repeat)


@asynccontextmanager
async def at_work(**works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run each coroutine in a task named by its keyword; after the block cancel and await them.

    At least one is required. If one raises, the block is cancelled, and the error is raised in an
    `ExceptionGroup`. Write the last rows and close connections after the block, when the tasks have
    ended.
    """
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work, name=name) for name, work in works.items()]
        try:
            yield
        finally:
            for item in working:
                item.cancel()
            await asyncio.wait(working)
