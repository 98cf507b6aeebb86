"""Limits and task groups around `asyncio.wait_for`, which Pipecat replaces on Python 3.11."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pipecat  # noqa: F401 - replaces it
import pytest

from runtime.waits import keep_cancellations_plain

keep_cancellations_plain()


async def done_when_cancelled(cancel: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(done.set_result, None)
    loop.call_soon(cancel)
    await asyncio.wait_for(done, 60)


async def test_a_wait_that_is_done_just_as_its_limit_expires_ends_no_task() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            await done_when_cancelled(partial(limit.reschedule, 0))


async def test_a_wait_that_is_done_just_as_its_task_is_cancelled_fails_no_task_group() -> None:
    async def work() -> None:
        async with asyncio.TaskGroup():
            await done_when_cancelled(task.cancel)

    task = asyncio.create_task(work())
    await asyncio.wait([task])

    assert task.cancelled()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Pipecat replaces no wait")
@pytest.mark.parametrize("room", ["bot", "holdline"])
def test_each_way_into_the_program_corrects_the_waits(room: str) -> None:
    program = f"import asyncio, {room}; from wait_for2.impl import CancelledWithResultError as it"

    subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", f"{program}; assert it is asyncio.CancelledError"], check=True
    )
