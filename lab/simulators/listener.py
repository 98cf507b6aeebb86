"""A listening loopback port that can refuse connections and accept them again."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final

LOOPBACK: Final = "127.0.0.1"


class ListeningPort:
    """A listening port that can be closed and reopened at once, with the same number."""

    def __init__(
        self, protocol: Callable[[], asyncio.BaseProtocol], *, tls: ssl.SSLContext | None
    ) -> None:
        self._protocol = protocol
        self._tls = tls
        self._holder: socket.socket | None = None
        self._waiting: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._port = 0

    async def open(self) -> int:
        """Listen on a free port and return its number."""
        # Bound but never listening, it reserves the port while connections are refused.
        self._holder = _bound(0)
        self._port = self._holder.getsockname()[1]
        self.accept()
        await self.serve()
        return self._port

    def accept(self) -> None:
        """Accept connections from now on; they queue until `serve` runs."""
        if self._server is None and self._waiting is None and self._holder is not None:
            self._waiting = _bound(self._port)
            self._waiting.listen(128)

    async def serve(self) -> None:
        """Serve the connections that are queued, if the port was opened again."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._server = await asyncio.get_running_loop().create_server(
                self._protocol, sock=waiting, ssl=self._tls
            )

    def refuse(self) -> None:
        """Refuse connections from now on; open ones stay open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def close(self) -> None:
        """Release the port."""
        self.refuse()
        if self._holder is not None:
            self._holder.close()
            self._holder = None


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.settimeout(0)
    bound.bind((LOOPBACK, port))
    return bound


def abort(transport: asyncio.BaseTransport | None) -> None:
    """End a connection, if any, with a TCP RST: no close frame, no last chunk."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):  # already closed
            # Linger on, zero seconds: close() then sends RST instead of FIN (man 7 socket).
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
