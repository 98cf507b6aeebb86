"""Processes that each keep one core busy, to simulate other work on the machine."""

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
    """Run this many busy processes during the block; yield their pids."""
    program = WORK.format(parent=os.getpid())
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program) for _ in range(count)
    ]
    try:
        yield tuple(process.pid for process in started)
    finally:
        for item in started:
            item.kill()
        for item in started:
            await item.wait()
