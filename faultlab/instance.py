"""One simulated provider on its own loopback port: admission, faults, record, start and stop.

A subclass overrides `kind`, `tempo`, `routes` and, where the provider differs, `authorised` and
`error_response`. Every handler begins with `admission = await self.admit(request)`: what concerns
the connection (refused, reset, silent, an HTTP error, a wrong key) is dealt with there and never
comes back to the handler. What concerns the stream is `self.active_fault(admission)`, to be read
again before each output, so that a fault switched on in the middle acts in the middle.
"""

import asyncio
import dataclasses
import random
import secrets
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from faultlab import faults
from faultlab.admission import Admission, AdmissionGate, Refused
from faultlab.clock import Clock, monotonic
from faultlab.faults import Fault
from faultlab.listener import LOOPBACK, ListeningPort, abort
from faultlab.pace import Delays, Tempo
from faultlab.record import Record
from faultlab.schedule import Window

ADMISSION: Final = web.RequestKey("admission", Admission)
POLL_S: Final = 0.02  # how soon a window that opens by itself acts on open connections
STOP_S: Final = 0.2  # what a handler gets to end by itself when its connection is gone
NOT_HTTP: Final = b"\x00\x16lab: neither TLS nor HTTP\r\n\r\n"  # no TLS record and no status line


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What a lab gives every one of its instances.

    Attributes:
        record: Where requests and words are kept.
        clock: Seconds that only grow.
        started_at: The clock at the lab's start; None: when the instance is made.
        speed: Divides every simulated delay; fault windows stay in real seconds.
        seed: Of all dice; each instance mixes its name into it.
        steady: Every delay is the median of its distribution: for comparing two runs.
        tls: Serve https and wss with this certificate instead of http and ws.
    """

    record: Record = dataclasses.field(default_factory=Record)
    clock: Clock = monotonic
    started_at: float | None = None
    speed: float = 1.0
    seed: int = 0
    steady: bool = False
    tls: ssl.SSLContext | None = None


class Instance:
    """One simulated provider."""

    kind: ClassVar[str] = ""
    tempo: ClassVar[Tempo] = Tempo(ttfb_s=0.1, rate=50.0, source="chosen; a subclass has its own")

    def __init__(self, name: str, *, api_key: str | None = None, core: Core | None = None) -> None:
        core = core or Core()
        self.name = name
        self.api_key = api_key or f"{self.kind}-{secrets.token_hex(12)}"
        self.record = core.record
        self.speed = core.speed
        own_seed = core.seed ^ zlib.crc32(name.encode())  # two of a kind do not move as one
        tempo = dataclasses.replace(self.tempo, spread=0, jitter=0) if core.steady else self.tempo
        self.pace = Delays(tempo, seed=own_seed, speed=core.speed)
        self.random = random.Random(own_seed)  # noqa: S311 - a simulation's dice, not a secret
        self.port = 0
        self._tls = core.tls
        self._gate = AdmissionGate(
            name,
            record=core.record,
            clock=core.clock,
            started_at=core.clock() if core.started_at is None else core.started_at,
            dice=self.random,
        )
        self._hitting = False
        self._listener = ListeningPort(self._protocol, tls=core.tls)
        self._runner: web.AppRunner | None = None
        self._watcher: asyncio.Task[None] | None = None

    # -- what a subclass says about its provider

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's HTTP and websocket routes."""
        return []

    def authorised(self, request: web.Request) -> bool:
        """Return whether the request carries this instance's key; by default as a bearer token."""
        return request.headers.get("Authorization") == f"Bearer {self.api_key}"

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return the provider's own answer for an HTTP error.

        Args:
            status: The HTTP status.
            code: The provider's own code, where a status has several; None: the usual one.
            retry_after_s: Seconds for the header `retry-after`, if it is to be sent.
        """
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        return web.json_response({"error": code or status}, status=status, headers=headers)

    def quota_response(self, code: str | None = None) -> web.Response:
        """Return the provider's own answer when the credit is used up."""
        return self.error_response(402, code=code)

    def noted(self, request: web.Request) -> dict[str, Any]:
        """Return what the record keeps of every request, also of one that is refused."""
        del request
        return {}

    # -- addresses

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """What a rung's `url` takes; by default the plain HTTP base."""
        return f"{self.http_scheme}://{self.authority}"

    @property
    def http_scheme(self) -> str:
        """`http`, or `https` when the instance has a certificate."""
        return "https" if self._tls else "http"

    @property
    def ws_scheme(self) -> str:
        """`ws`, or `wss` when the instance has a certificate."""
        return "wss" if self._tls else "ws"

    def now_s(self) -> float:
        """Return the seconds since the lab's start (or, alone, since the instance was made)."""
        return self._gate.now_s()

    # -- life

    async def start(self) -> None:
        """Listen on a free port.

        Raises:
            OSError: No port can be had.
        """
        app = web.Application(middlewares=[self._middleware], client_max_size=32 * 2**20)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=STOP_S
        )
        await self._runner.setup()
        self.port = await self._listener.open()
        self._apply_connection_fault()
        self._watcher = asyncio.get_running_loop().create_task(
            self._watch(), name=f"lab {self.name}"
        )

    async def stop(self) -> None:
        """Stop listening and end every connection; well under a second."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})  # awaiting it would hide that we are cancelled, too
            if not self._watcher.cancelled():
                self._watcher.result()
            self._watcher = None
        self._listener.close()
        if self._runner is not None:
            self.drop_connections()
            await self._runner.cleanup()
            self._runner = None

    # -- faults

    def set_faults(self, windows: Sequence[Window], *, since_lab_start: bool = False) -> None:
        """Replace the schedule, at once also for what is in progress.

        Args:
            windows: Their seconds count from now.
            since_lab_start: Their seconds count from the lab's start instead.
        """
        self._gate.set_faults(windows, since_lab_start=since_lab_start)
        self._hitting = False
        self._apply_connection_fault()

    def clear(self) -> None:
        """Recover: no faults from now on."""
        self.set_faults(())

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows set at present, oldest first."""
        return self._gate.windows

    def active_fault(self, admission: Admission) -> Fault | None:
        """Return the fault that holds for a request now; read it again before each output."""
        return self._gate.active_fault(admission)

    async def while_fault(self, admission: Admission, kind: type[Fault]) -> None:
        """Wait while a fault of this kind holds for the request: a stall that can be lifted."""
        while isinstance(self.active_fault(admission), kind):  # noqa: ASYNC110 - windows open by time
            await asyncio.sleep(POLL_S)

    async def hang(self) -> None:
        """Wait until the connection is gone; the handler is cancelled then."""
        await asyncio.Event().wait()

    def abort(self, request: web.BaseRequest) -> None:
        """End the request's connection with a TCP RST: no close frame, no last chunk."""
        if request.transport is not None:
            abort(request.transport)

    def drop_connections(self) -> None:
        """Reset every open connection, also the idle ones that are kept alive."""
        server = self._runner.server if self._runner else None
        for connection in server.connections if server else ():
            if connection.transport is not None:
                abort(connection.transport)

    # -- admission

    async def admit(self, request: web.Request) -> Admission:
        """Record a request, do to it what its connection-level fault does, check its key.

        Raises:
            Refused: The handler must not go on; let it pass through to the middleware.
        """
        admission = self._gate.let_in(method=request.method, path=request.path_qs)
        request[ADMISSION] = admission
        admission.request.details |= self.noted(request)
        await self._connection_fault(request, admission)
        if not self.authorised(request):
            admission.request.ok_auth = False
            admission.close("401")
            raise Refused(self.error_response(401))
        match admission.fault:
            case faults.Http(status=status, code=code, retry_after_s=wait_s):
                admission.close(str(status))
                raise Refused(self.error_response(status, code=code, retry_after_s=wait_s))
            case faults.Quota(where="request", code=code):
                admission.close("quota")
                raise Refused(self.quota_response(code))
        return admission

    def admit_within(self, request: web.Request, *, path: str) -> Admission:
        """Record one generation inside an open websocket as a request of its own.

        Args:
            request: The websocket's upgrade request.
            path: What to call it, for instance the context's id.
        """
        return self._gate.let_in(method="WS", path=f"{request.path}#{path}")

    async def _connection_fault(self, request: web.Request, admission: Admission) -> None:
        match admission.fault:
            case faults.Refuse() | faults.Reset():
                admission.close("reset")
                self.abort(request)
                raise Refused(web.Response(status=500))
            case faults.NotTls():
                admission.close("not_tls")
                if request.transport is not None:
                    request.transport.write(NOT_HTTP)
                    request.transport.close()
                raise Refused(web.Response(status=500))
            case faults.Silent(where="handshake"):
                await self.while_fault(admission, faults.Silent)

    @web.middleware
    async def _middleware(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Refused as refused:
            response = refused.response
        except web.HTTPException as missing:  # an unknown route: the provider's own words for it
            response = self.error_response(missing.status)
        except asyncio.CancelledError:
            _close(request, "connection gone")
            raise
        except ConnectionError:
            _close(request, "connection gone")
            return web.Response(status=500)
        _close(request, "done" if response.status < 400 else str(response.status))
        return response

    # -- the listening socket

    def _protocol(self) -> asyncio.BaseProtocol:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._runner.server()

    async def _watch(self) -> None:
        while True:
            self._apply_connection_fault()
            await self._listener.serve()
            await asyncio.sleep(POLL_S)

    def _apply_connection_fault(self) -> None:
        """Close or reopen the port; on the edge into a dead server, reset what is open."""
        if not self.port:
            return
        certain = self._gate.certain_fault()
        hitting = isinstance(certain, faults.Refuse | faults.Reset)
        if hitting and not self._hitting:
            self.drop_connections()
        self._hitting = hitting
        if isinstance(certain, faults.Refuse):
            self._listener.refuse()
        else:
            self._listener.accept()


def _close(request: web.Request, outcome: str) -> None:
    admission = request.get(ADMISSION)
    if admission is not None:
        admission.close(outcome)
