"""An instance's HTTP server on a loopback port; its faults can close and reset the port.

A fault of the port applies to all clients: the port refuses, or open connections are reset. Windows
open and close by time alone, so the server checks them every `POLL_S`.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final, Literal

from aiohttp import web
from aiohttp.typedefs import Middleware

from lab.simulators import faults
from lab.simulators.admission import POLL_S, AdmissionGate
from lab.simulators.listener import LOOPBACK, ListeningPort, abort

STOP_S: Final = 0.2  # for a handler to end by itself after its connection is gone
BODY_BYTES: Final = 32 << 20  # of a request; chosen: a recording of minutes


class LabServer:
    """Serves an instance's routes unless a fault of its port forbids it."""

    def __init__(self, name: str, gate: AdmissionGate, *, tls: ssl.SSLContext | None) -> None:
        self.port = 0
        self._name = name
        self._gate = gate
        self._tls = tls
        self._listener = ListeningPort(self._protocol, tls=tls)
        self._runner: web.AppRunner | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._dead = False  # whether a fault of the port holds

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
            self._watch(), name=f"lab {self._name}"
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

    def follow_faults(self, *, anew: bool = False) -> None:
        """Close or reopen the port; reset open connections when a fault begins.

        Args:
            anew: The schedule was replaced: an existing fault resets again.
        """
        self._dead = self._dead and not anew
        if not self.port:
            return
        certain = self._gate.certain_fault()
        dead = isinstance(certain, faults.Refuse | faults.Reset)
        if dead and not self._dead:
            self.drop_connections()
        self._dead = dead
        if isinstance(certain, faults.Refuse):
            self._listener.refuse()
        else:
            self._listener.accept()

    def _protocol(self) -> asyncio.BaseProtocol:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError(f"{self._name} is not started")
        return self._runner.server()

    async def _watch(self) -> None:
        while True:
            self.follow_faults()
            await self._listener.serve()
            await asyncio.sleep(POLL_S)
