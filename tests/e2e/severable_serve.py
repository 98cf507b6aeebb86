"""`holdline serve` in a process of its own, whose paths to browsers die on a signal.

`python -m tests.e2e.severable_serve CONFIG` serves; at SIGUSR1 the current path to each browser is
dead for good, in both directions, as when a telephone leaves a network.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bot.server.server import serve
from configuration.loading import load
from lab.process import RunningLab
from operations.telemetry import logs
from tests.bot.serving import configuration, until_ready
from tests.e2e.demo_server import ROOT
from tests.e2e.severing import sever
from transports.webrtc.connection import BrowserConnection

STOP_S: Final = 20.0


@dataclass(slots=True, kw_only=True)
class Severable:
    """A server that can be cut off, killed, and started again at the same address."""

    url: str
    config: Path
    keys: Mapping[str, str]
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it accepts calls."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.severable_serve", str(self.config)),
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self.keys},
            cwd=ROOT,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until_ready(self.url, self.process)

    def sever(self) -> None:
        """Cut the path to each browser."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR1)

    async def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End it; SIGKILL is like a crash."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(with_signal)
        async with asyncio.timeout(STOP_S):
            await self.process.wait()


@asynccontextmanager
async def severable(
    lab: RunningLab,
    folder: Path,
    port: int,
    *,
    changes: Mapping[str, Any],
    environment: Mapping[str, str],
) -> AsyncIterator[Severable]:
    """Run a server while the block runs."""
    tree, keys = configuration(lab, port, folder / "logs")
    for section, change in changes.items():
        tree[section] = {**tree.get(section, {}), **change}
    config = folder / "holdline.yaml"
    config.write_text(yaml.safe_dump(tree))
    server = Severable(url=f"http://127.0.0.1:{port}", config=config, keys={**keys, **environment})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _sever_all() -> None:
    for item in gc.get_objects():
        if isinstance(item, BrowserConnection) and item.pc.connectionState == "connected":
            sever(item.pc)


async def _serve(config: Path) -> None:
    settings = load(config).settings
    logs.set_up(level=settings.logs.level, folder=settings.logs.dir)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _sever_all)
    await serve(settings)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
