"""An instance's HTTP server on a loopback port; faults can close the port and reset connections.

A fault of the port applies to all clients: the port refuses connections, or open ones are reset.
Timed windows open and close without any request, so the server checks them every `POLL_S`.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Final, Literal

from aiohttp import web
from aiohttp.typedefs import Middleware

from lab.simulators import faults
from lab.simulators.admission import POLL_S, AdmissionGate

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
        # This socket is bound but never listens: it keeps the port while connections are refused.
        self._holder = _bound_socket(0)
        self._port = self._holder.getsockname()[1]
        self.accept()
        await self.serve()
        return self._port

    def accept(self) -> None:
        """Accept connections from now on; they queue until `serve` runs."""
        if self._server is None and self._waiting is None and self._holder is not None:
            self._waiting = _bound_socket(self._port)
            self._waiting.listen(128)

    async def serve(self) -> None:
        """Serve the queued connections, if the port has been reopened."""
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


def _bound_socket(port: int) -> socket.socket:
    """Return a socket bound to the port on the loopback interface; it does not listen yet."""
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


STOP_S: Final = 0.2  # for a handler to end by itself after its connection is closed
BODY_BYTES: Final = 32 << 20  # of a request; chosen: a recording of several minutes


class LabServer:
    """Serves an instance's routes, except while a fault of its port applies."""

    def __init__(self, name: str, gate: AdmissionGate, *, tls: ssl.SSLContext | None) -> None:
        self.port = 0
        self._name = name
        self._gate = gate
        self._tls = tls
        self._listener = ListeningPort(self._make_protocol, tls=tls)
        self._runner: web.AppRunner | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_faulty = False  # whether a fault of the port applies

    def base_url(self, scheme: Literal["http", "ws"]) -> str:
        """Return scheme, host and port; `https` or `wss` with a certificate."""
        return f"{scheme}{'s' if self._tls else ''}://{LOOPBACK}:{self.port}"

    async def start(self, routes: Sequence[web.RouteDef], middleware: Middleware) -> None:
        """Listen on a free port.

        Raises:
            OSError: No port is available.
        """
        app = web.Application(middlewares=[middleware], client_max_size=BODY_BYTES)
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=STOP_S
        )
        await self._runner.setup()
        self.port = await self._listener.open()
        self.follow_faults()
        self._watcher = asyncio.get_running_loop().create_task(
            self._watch_faults(), name=f"lab {self._name}"
        )

    async def stop(self) -> None:
        """Stop listening and end every connection in well under a second."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})  # awaiting it would also hide our own cancellation
            if not self._watcher.cancelled():
                self._watcher.result()
            self._watcher = None
        self._listener.close()
        if self._runner is not None:
            self.drop_connections()
            await self._runner.cleanup()
            self._runner = None

    def drop_connections(self) -> None:
        """Reset every open connection, including idle ones."""
        server = self._runner.server if self._runner else None
        for connection in server.connections if server else ():
            abort(connection.transport)

    def follow_faults(self, *, replaced: bool = False) -> None:
        """Close or reopen the port; reset open connections when a fault begins.

        Args:
            replaced: Whether the schedule was just replaced: then even a fault that already applied
                resets the connections.
        """
        self._is_faulty = self._is_faulty and not replaced
        if not self.port:
            return
        certain = self._gate.certain_fault()
        faulty = isinstance(certain, faults.Refuse | faults.Reset)
        if faulty and not self._is_faulty:
            self.drop_connections()
        self._is_faulty = faulty
        if isinstance(certain, faults.Refuse):
            self._listener.refuse()
        else:
            self._listener.accept()

    def _make_protocol(self) -> asyncio.BaseProtocol:
        """Return aiohttp's protocol for a new connection; raise `RuntimeError` before the start."""
        if self._runner is None or self._runner.server is None:
            raise RuntimeError(f"{self._name} is not started")
        return self._runner.server()

    async def _watch_faults(self) -> None:
        """Follow timed faults; accept connections again when the port has been reopened."""
        while True:
            self.follow_faults()
            await self._listener.serve()
            await asyncio.sleep(POLL_S)
