"""One simulated provider on its own loopback port: admission, faults, record, start and stop.

A subclass overrides `kind`, `tempo`, `routes` and, where the provider differs, `is_authorised` and
`error_response`. Every handler begins with `admission = await self.admit(request)`, which applies
faults of the connection (refused, reset, silent, an HTTP error, a wrong key) and then raises
instead of returning. For faults of the stream, call `admission.fault_now()` before each output, so
that a fault that starts during the stream takes effect at once.
"""

import asyncio
import dataclasses
import random
import secrets
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from lab.simulators import faults
from lab.simulators.admission import Admission, AdmissionGate, RequestRefused
from lab.simulators.clock import Clock, monotonic
from lab.simulators.ears.known import KnownEars
from lab.simulators.pace import Delays, Tempo
from lab.simulators.record import Record
from lab.simulators.schedule import Window
from lab.simulators.server import LabServer, abort

ADMISSION: Final = web.RequestKey("admission", Admission)
NOT_HTTP: Final = b"\x00\x16lab: neither TLS nor HTTP\r\n\r\n"  # no TLS record, no status line


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The shared parts of a lab's instances.

    Attributes:
        record: For requests and words.
        clock: Monotonic, in seconds.
        started_at: The clock's time at the lab's start; `None` for the instance's creation.
        speed: Divides every simulated delay; fault windows stay in real seconds.
        seed: Of all random numbers; each instance mixes in its name.
        steady: Every delay is the median of its distribution, so that runs can be compared.
        tempos: By kind, delays that replace the simulators' own.
        word_by_word: Voices speak each word separately, so that it always sounds the same.
        uncapped: Recognisers take audio at any speed, whatever their provider does.
        ears: The recogniser that all recognising instances share; `None`: each has its own.
        tls: Serve https and wss with this certificate instead of http and ws.
    """

    record: Record = dataclasses.field(default_factory=Record)
    clock: Clock = monotonic
    started_at: float | None = None
    speed: float = 1.0
    seed: int = 0
    steady: bool = False
    tempos: Mapping[str, Tempo] = dataclasses.field(default_factory=dict[str, Tempo])
    word_by_word: bool = False
    uncapped: bool = False
    ears: KnownEars | None = None
    tls: ssl.SSLContext | None = None


class Instance:
    """One simulated provider.

    Attributes:
        gate: Holds its schedule of faults, and the lab's time.
        server: Serves its port.
    """

    kind: ClassVar[str] = ""
    no_credit: ClassVar[tuple[int, str | None]] = (402, None)  # status and code of that error
    tempo: ClassVar[Tempo] = Tempo(ttfb_s=0.1, rate=50.0, source="chosen; a subclass has its own")

    def __init__(self, name: str, *, api_key: str | None = None, core: Core | None = None) -> None:
        """Prepare the server, its delays and its faults, without listening on a port."""
        core = core or Core()
        self.name = name
        self.api_key = api_key or f"{self.kind}-{secrets.token_hex(12)}"
        self.record = core.record
        self.speed = core.speed
        own_seed = core.seed ^ zlib.crc32(name.encode())  # two instances of a kind differ
        tempo = core.tempos.get(self.kind, self.tempo)
        if core.steady:
            tempo = dataclasses.replace(tempo, spread=0, jitter=0)
        self.pace = Delays(tempo, seed=own_seed, speed=core.speed)
        self.random = random.Random(own_seed)  # noqa: S311 - a simulation's dice, not a secret
        self.gate = AdmissionGate(
            name,
            record=core.record,
            clock=core.clock,
            started_at=core.clock() if core.started_at is None else core.started_at,
            dice=self.random,
        )
        self.server = LabServer(name, self.gate, tls=core.tls)

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's HTTP and websocket routes."""
        return []

    def is_authorised(self, request: web.Request) -> bool:
        """Return whether the request carries this instance's key; by default as a bearer token."""
        return request.headers.get("Authorization") == f"Bearer {self.api_key}"

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return the provider's own answer for an HTTP error.

        Args:
            status: The HTTP status.
            code: The provider's own code, if a status has several; `None` for the usual one.
            retry_after_s: Seconds for the header `retry-after`, if it should be sent.
        """
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        return web.json_response({"error": code or status}, status=status, headers=headers)

    def request_details(self, request: web.Request) -> dict[str, Any]:
        """Return the details to record of a request, even if it is refused."""
        del request
        return {}

    @property
    def url(self) -> str:
        """The value for a rung's `url`; by default the plain HTTP base."""
        return self.server.base_url("http")

    async def start(self) -> None:
        """Listen on a free port.

        Raises:
            OSError: No port is available.
        """
        await self.server.start(self.routes(), _outcome_middleware(self.error_response))

    async def stop(self) -> None:
        """Stop listening and end every connection in well under a second."""
        await self.server.stop()

    def set_faults(self, windows: Sequence[Window], *, since_lab_start: bool = False) -> None:
        """Replace the schedule; it applies at once, even to requests in progress.

        Args:
            windows: The new windows.
            since_lab_start: Whether their seconds count from the lab's start, instead of from now.
        """
        self.gate.set_faults(windows, since_lab_start=since_lab_start)
        self.server.follow_faults(replaced=True)

    def clear(self) -> None:
        """Remove all faults."""
        self.set_faults(())

    def drop_connections(self) -> None:
        """Reset every open connection, including idle ones."""
        self.server.drop_connections()

    async def admit(self, request: web.Request) -> Admission:
        """Record a request, apply its connection-level fault, and check its key.

        Raises:
            RequestRefused: The handler must stop, and leave this exception to the middleware.
        """
        admission = self.gate.let_in(method=request.method, path=request.path_qs)
        request[ADMISSION] = admission
        admission.request.details |= self.request_details(request)
        await _break_connection(request, admission)
        if not self.is_authorised(request):
            admission.request.ok_auth = False
            admission.close("401")
            raise RequestRefused(self.error_response(401))
        match admission.fault:
            case faults.Http(status=status, code=code, retry_after_s=wait_s):
                admission.close(str(status))
                raise RequestRefused(self.error_response(status, code=code, retry_after_s=wait_s))
            case faults.Quota(where="request", code=code):
                admission.close("quota")
                raise RequestRefused(no_credit_response(self, code))
        return admission


def no_credit_response(instance: Instance, code: str | None = None) -> web.Response:
    """Return the provider's own answer for an account without credit."""
    status, usual = instance.no_credit
    return instance.error_response(status, code=code or usual)


async def _break_connection(request: web.Request, admission: Admission) -> None:
    """Apply a connection-level fault to a request's connection.

    A silent handshake continues normally if the fault ends.

    Raises:
        RequestRefused: The fault has ended the connection.
    """
    match admission.fault:
        case faults.Refuse() | faults.Reset():
            admission.close("reset")
            abort(request.transport)
            raise RequestRefused(web.Response(status=500))
        case faults.NotTls():
            admission.close("not_tls")
            if request.transport is not None:
                request.transport.write(NOT_HTTP)
                request.transport.close()
            raise RequestRefused(web.Response(status=500))
        case faults.Silent(where="handshake"):
            await admission.while_fault(faults.Silent)


def _outcome_middleware(error_response: Callable[[int], web.Response]) -> Middleware:
    """Return the middleware around every handler: it answers, and records the request's outcome.

    Args:
        error_response: The provider's own answer for an unknown route.
    """

    @web.middleware
    async def middleware(
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Answer refusals and unknown paths as the vendor does, and record the outcome."""
        try:
            response = await handler(request)
        except RequestRefused as refused:
            response = refused.response
        except web.HTTPException as missing:
            response = error_response(missing.status)
        except asyncio.CancelledError:
            _record_outcome(request, "connection gone")
            raise
        except ConnectionError:
            _record_outcome(request, "connection gone")
            return web.Response(status=500)
        _record_outcome(request, "done" if response.status < 400 else str(response.status))
        return response

    return middleware


def _record_outcome(request: web.Request, outcome: str) -> None:
    """Record the outcome of a request that was admitted, unless it has one."""
    admission = request.get(ADMISSION)
    if admission is not None:
        admission.close(outcome)
