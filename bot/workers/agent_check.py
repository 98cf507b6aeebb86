"""Tells a load balancer how many more calls this machine can take: HAProxy's agent-check.

Each connection gets one line and is closed. What it says steers new calls only: calls in progress
reach this machine by its own path, as long as it accepts connections.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from transports.pool import DRAINING

WRITE_S: Final = 1.0  # for a balancer that does not read


def check_line(*, why_not_ready: str, room: int, seats: int, calls: int) -> bytes:
    """Return the response to one check.

    A full machine keeps the smallest weight: if all are full, a caller hears that all lines are
    busy, and not the balancer's error.

    Args:
        why_not_ready: Why no call is taken, such as `draining`; empty if calls are taken.
        room: How many more calls fit.
        seats: The maximum number of calls.
        calls: The number of calls in progress.

    Source: docs.haproxy.org/2.6/configuration.html#5.2-agent-check.
    """
    if not why_not_ready:
        percent = max(1, min(100, 100 * room // max(1, seats)))
        return f"ready up {percent}%\n".encode()
    return b"maint\n" if why_not_ready == DRAINING and not calls else b"drain\n"


async def serve_checks(listener: socket.socket, line: Callable[[], bytes]) -> asyncio.Server:
    """Answer each connection to a listening socket with a line, until the server is closed."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write the current line within `WRITE_S`, and close the connection."""
        with suppress(OSError, TimeoutError):
            writer.write(line())
            async with asyncio.timeout(WRITE_S):
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, sock=listener)
