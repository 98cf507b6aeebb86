"""An owner's code that blocks delays neither the calls nor other tools."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from bot.tools.owner_threads import LOOPS, OwnerBusy, OwnerLoops

WHO = contextvars.ContextVar("WHO", default="")


async def test_while_a_function_blocks_the_calls_and_other_functions_go_on() -> None:
    loops, held, home = OwnerLoops(), threading.Event(), list[Any]()

    async def blocks() -> str:
        held.wait(20.0)
        return "done"

    async def where() -> Any:
        return asyncio.get_running_loop()

    home.append(await loops.run(where))
    assert home[0] is not asyncio.get_running_loop()
    blocked = asyncio.ensure_future(loops.run(blocks))
    await asyncio.sleep(0)  # so that it begins first
    assert await loops.run(where) is not home[0]
    held.set()
    assert await blocked == "done"
    while await loops.run(where) is not home[0]:  # noqa: ASYNC110 - its clients are there
        await asyncio.sleep(0.01)  # the loop is free a moment later


async def test_functions_posted_at_once_block_a_loop_each_and_the_next_is_refused() -> None:
    loops, held, running_in = OwnerLoops(), threading.Event(), list[int]()

    async def blocks() -> None:
        running_in.append(threading.get_ident())
        held.wait(20.0)

    posted = {asyncio.ensure_future(loops.run(blocks)) for _ in range(LOOPS + 1)}
    refused, blocked = await asyncio.wait(posted, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(OwnerBusy):
        await refused.pop()
    assert len(set(running_in)) == len(running_in) == LOOPS
    held.set()
    await asyncio.gather(*blocked)


async def test_a_function_posted_together_with_one_that_blocks_goes_on_elsewhere() -> None:
    loops, held, began = OwnerLoops(), threading.Event(), list[str]()

    async def blocks() -> None:
        held.wait(20.0)

    async def answers() -> str:
        began.append("it")
        return "it runs"

    blocked, answered = (asyncio.ensure_future(loops.run(work)) for work in (blocks, answers))
    assert await asyncio.wait_for(answered, 10.0) == "it runs"
    assert not blocked.done()
    held.set()
    await blocked
    await loops.run(answers)  # where the first was given up, and must not run any more
    assert began == ["it", "it"]


async def test_context_errors_and_cancellation_cross() -> None:
    loops, ended = OwnerLoops(), threading.Event()

    async def quits() -> None:
        raise SystemExit(WHO.get())

    async def waits() -> None:
        try:
            await asyncio.sleep(20.0)
        finally:
            ended.set()

    WHO.set("Ann")
    with pytest.raises(SystemExit, match="Ann"):
        await loops.run(quits)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loops.run(waits), 0.1)
    assert await asyncio.to_thread(ended.wait, 5.0)
