"""Debian's TURN server on loopback: an independent relay."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.absent import report_absent
from tests.bot.serving import free_port

COTURN: Final = shutil.which("turnserver")
USER: Final = "holdline"
PASSWORD: Final = "relay-password-of-a-test"
READY_S: Final = 20.0
# Debian's own configuration would be read, and its ports taken.
ALONE: Final = (
    *("-n", "--lt-cred-mech", f"--user={USER}:{PASSWORD}", "--realm=holdline.test"),
    *("--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers", "--no-rfc5780"),
    *("--log-file=stdout", "--verbose", "--simple-log", "--no-stdout-log"),
)


@dataclass(slots=True, kw_only=True)
class Relay:
    """A running TURN server and its output."""

    url: str
    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    @property
    def allocations(self) -> int:
        """How many relays it has given to ends of calls."""
        return sum(bool(re.search(r"ALLOCATE processed, success", item)) for item in self.said)

    def kill(self) -> None:
        """Stop it at once."""
        if self.process.returncode is None:
            self.process.kill()


@asynccontextmanager
async def relay(address: str, folder: str) -> AsyncIterator[Relay]:
    """Run one at this address while the block runs.

    Args:
        address: To listen and relay on.
        folder: For its files.
    """
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        COTURN or report_absent("turnserver"),
        *ALONE,
        *(f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={port}"),
        *(f"--pidfile={folder}/pid-{port}", f"--userdb={folder}/users-{port}"),
        stdout=PIPE,
        stderr=STDOUT,
    )
    it = Relay(url=f"turn:{address}:{port}?transport=udp", process=process)
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_read(it, ready))
            async with asyncio.timeout(READY_S):
                await ready.wait()
            yield it
            it.kill()
            await process.wait()
            reading.cancel()
    finally:
        it.kill()
        await process.wait()


async def _read(it: Relay, ready: asyncio.Event) -> None:
    assert it.process.stdout is not None
    async for line in it.process.stdout:
        it.said.append(line.decode(errors="replace"))
        if "UDP listener opened on" in it.said[-1]:
            ready.set()
