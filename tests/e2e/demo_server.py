"""The demo as a person starts it: a process of its own that prints a URL."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

ROOT: Final = Path(__file__).parents[2]
URL: Final = re.compile(r"http://127\.0\.0\.1:\d+")
PROGRAM: Final = ("-m", "bot", "demo", "--port", "0")
READY_S: Final = 60.0  # from nothing but installed packages
STOP_S: Final = 15.0


@dataclass(slots=True)
class Demo:
    """A running demo and all events of its live feed."""

    url: str
    process: Process
    entries: list[dict[str, Any]] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def entry(self, event: str, *, within_s: float, after: int = 0, **fields: Any) -> int:
        """Wait for an entry, and return the number of entries up to and with it."""
        async with asyncio.timeout(within_s):
            while True:
                for place, each in enumerate(self.entries[after:], after + 1):
                    wanted = {"event": event, **fields}
                    if all(each.get(key) == value for key, value in wanted.items()):
                        return place
                self._more.clear()
                await self._more.wait()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return all entries of one kind."""
        return [entry for entry in self.entries if entry["event"] == event]

    async def follow(self) -> None:
        """Read the live feed until cancelled."""
        endless = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=endless) as session,
            session.get(f"{self.url}/api/live") as feed,
        ):
            async for line in feed.content:
                if line.startswith(b"data: "):
                    shown = json.loads(line.removeprefix(b"data: "))
                    if "event" in shown:
                        self.entries.append(shown)
                        self._more.set()


@asynccontextmanager
async def running_demo(folder: Path, *, program: Sequence[str] = PROGRAM) -> AsyncIterator[Demo]:
    """Run the demo in `folder` on a free port; at the end it must stop when asked to."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    with (folder / "stderr").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program),
            cwd=folder,
            env=environment,
            stdout=PIPE,
            stderr=errors,
        )
    try:
        async with asyncio.timeout(READY_S):
            demo = Demo(url=await _url(process, folder), process=process)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(demo.follow())
            draining = tasks.create_task(_drain(process))
            yield demo
            following.cancel()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                await process.wait()
            draining.cancel()
        assert process.returncode == 0, (folder / "stderr").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _url(process: Process, folder: Path) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := URL.search(line.decode()):
            return found[0]
    raise AssertionError(f"the demo ended without a URL: {(folder / 'stderr').read_text()}")


async def _drain(process: Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(65_536):
        pass
