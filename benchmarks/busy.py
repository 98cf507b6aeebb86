"""Processes that keep a core busy each: the machine's other work, for a measure beside it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

WORK: Final = (
    "import os\nwhile os.getppid() == {parent}: sum(range(20_000))"  # ends with its parent
)


@asynccontextmanager
async def busy(count: int) -> AsyncIterator[tuple[int, ...]]:
    """Keep so many processes busy while the block runs; yield their pids."""
    program = WORK.format(parent=os.getpid())
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program) for _ in range(count)
    ]
    try:
        yield tuple(each.pid for each in started)
    finally:
        for each in started:
            each.kill()
        for each in started:
            await each.wait()
