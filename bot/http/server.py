"""The server: every door that the configuration enables, until SIGTERM."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from types import FrameType
from typing import Final

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.base import BaseHTTPMiddleware

from bot import clock
from bot.call.models import VoiceModels
from bot.call.switchboard import Switchboard
from bot.clips.keeping import keep_clips
from bot.config.settings import Settings
from bot.health.retrying import Retries
from bot.house.cores import own_cores
from bot.house.house import Alone, House
from bot.house.joined import Joined
from bot.house.listener import bind_socket
from bot.house.meter import Report, measure
from bot.house.shared_limits import SharedLimits
from bot.http.access import Access
from bot.http.body_limit import BodyLimit
from bot.http.bounded_socket import BoundedSocket
from bot.http.connection import IDLE_S, MOST_HEAD_BYTES, BoundedConnection, Crowd
from bot.http.house_live import HouseLive
from bot.http.live_routes import live_router
from bot.http.one_request import OneRequest
from bot.http.one_sentence import explain_request
from bot.http.pages.site import asset_routes, client_routes, console_routes
from bot.http.parked import Parked
from bot.http.provider_routes import provider_router
from bot.http.twilio_door import twilio_router
from bot.http.webrtc_door import webrtc_router
from bot.process import Process, open_process
from bot.ready_line import ready_line
from fallbacks.admission import HouseSeats
from fallbacks.readiness import judge_readiness
from telemetry.emitter import Listener
from transports.twilio_rest import TwilioRest
from transports.twilio_wire import MAX_MESSAGE_BYTES

CLOSE_S: Final = 3.0  # for the HTTP connections that remain after the calls have ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a server may have beyond its configuration."""

    words: bool = False  # the live view shows what is said
    listeners: Sequence[Listener] = ()
    routers: Sequence[APIRouter] = ()
    models: VoiceModels | None = None  # loaded already
    house: Joined | None = None  # the other processes behind the same port


async def serve(settings: Settings, *, extras: Extras | None = None) -> None:
    """Answer calls until SIGTERM or SIGINT, then drain and return; a second signal cuts the calls.

    Raises:
        UsageError: The address is taken, or not ours.
    """
    sockets = [bind_socket(settings.server.host, settings.server.port)]
    async with run_server(settings, sockets, extras=extras or Extras()) as server:
        await server.ready.wait()
        if server.started:
            line = ready_line(settings, port=sockets[0].getsockname()[1])
            print(line, flush=True)  # noqa: T201 - for the terminal
        await server.finished.wait()


class Server(uvicorn.Server):
    """Uvicorn, with a stop that lets the calls end first."""

    def __init__(self, config: uvicorn.Config, switchboard: Switchboard) -> None:
        """Prepare; on a second signal the switchboard waits for its calls no more."""
        super().__init__(config)
        self.switchboard = switchboard
        self.asked_to_stop = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once it answers, or never will."""
        self.finished = asyncio.Event()
        self.leave: Callable[[], Awaitable[None]] = _take_leave
        """Called when no call is left, before the last requests are waited for."""
        self._signals = 0
        self._loop = asyncio.get_running_loop()

    async def take(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted elsewhere."""
        protocol = functools.partial(
            self.config.http_protocol_class,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        try:
            await self._loop.connect_accepted_socket(protocol, connection)
        except OSError:  # gone already
            connection.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets=sockets)
        self.ready.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a first signal; on a second one, of either kind, stop at once."""
        self._signals += 1
        if self._signals > 1:
            self._loop.call_soon_threadsafe(self.hurry)
        self._loop.call_soon_threadsafe(self.asked_to_stop.set)

    def hurry(self) -> None:
        """Wait for nobody any more."""
        self.force_exit = True
        self.switchboard.hurry()


@asynccontextmanager
async def run_server(
    settings: Settings, sockets: list[socket.socket], *, extras: Extras
) -> AsyncIterator[Server]:
    """Run the server while the block runs."""
    async with (
        open_process(
            settings, words=extras.words, listeners=extras.listeners, models=extras.models
        ) as process,
        open_house(process, extras.house) as house,
        _clips(process, house),
        asyncio.TaskGroup() as tasks,
    ):
        server = Server(
            uvicorn.Config(
                application(process, tasks, extras, house),
                log_config=None,
                access_log=False,
                lifespan="off",
                http=partial(BoundedConnection, crowd=Crowd()),  # pyright: ignore[reportArgumentType] - called, never asked
                h11_max_incomplete_event_size=MOST_HEAD_BYTES,
                timeout_keep_alive=IDLE_S,
                ws=BoundedSocket,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # 6 kB on the wire would be megabytes to read
                timeout_graceful_shutdown=round(CLOSE_S),
                server_header=False,
            ),
            process.switchboard,
        )
        serving = tasks.create_task(_serve(server, sockets), name="http server")
        stopping = tasks.create_task(_drain(server, process), name="stop when asked")
        try:
            yield server
        finally:
            server.asked_to_stop.set()
            await asyncio.wait([stopping, serving])


def _clips(process: Process, house: House) -> AbstractAsyncContextManager[None]:
    """Have one process of the house render the clips that are missing, when nobody calls."""
    settings, providers = process.settings, process.providers
    return keep_clips(
        settings,
        process.last_resort.utterances,
        process.last_resort.clips,
        quiet=lambda: house.leads and house.quiet and not process.switchboard.calls,
        retries=Retries(
            settings=settings.resilience.retry_settings(),
            tell=providers.tell,
            roster=providers.roster,
        ),
    )


async def _serve(server: Server, sockets: list[socket.socket]) -> None:
    try:
        await server.serve(sockets=sockets)
    finally:
        server.asked_to_stop.set()
        server.ready.set()
        server.finished.set()


async def _drain(server: Server, process: Process) -> None:
    await server.asked_to_stop.wait()
    await process.switchboard.close(drain_s=process.settings.shutdown.drain_s)
    await server.leave()
    server.should_exit = True


async def _take_leave() -> None:
    """Leave at once: whoever listens for itself hands connections to nobody."""


@asynccontextmanager
async def open_house(process: Process, joined: Joined | None) -> AsyncIterator[House]:
    """Measure our own load while the block runs, and tell the house, or decide by it alone."""
    house = joined or alone(process)
    report = house.report
    if joined:
        limits = SharedLimits(joined, process.policies.values())
        report = _both(joined.report, limits)
    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(measure(report), name="measure the load")
        try:
            yield house
        finally:
            measuring.cancel()


def _both(report: Report, limits: SharedLimits) -> Report:
    def tell(cores: float, lag_s: float) -> None:
        report(cores, lag_s)
        limits.tell()

    return tell


def alone(process: Process) -> Alone:
    """Return the house of a process that has its port to itself."""
    server, switchboard = process.settings.server, process.switchboard
    measured = server.admission == "measured"
    return Alone(
        why_closed=lambda: switchboard.why_closed,
        clock=clock.monotonic,
        seats=HouseSeats(seats=server.max_calls, cores=own_cores(), measured=measured),
    )


def application(
    process: Process, tasks: asyncio.TaskGroup, extras: Extras, house: House | None = None
) -> FastAPI:
    """Return the web application: the doors, the pages, and the two questions of health."""
    settings = process.settings
    house = house or Alone(why_closed=lambda: process.switchboard.why_closed, clock=clock.monotonic)
    app = FastAPI(title="Holdline", docs_url=None, redoc_url=None, openapi_url=None)
    webrtc, twilio = settings.transports.webrtc, settings.transports.twilio
    access = Access(
        settings.server.token, public_client=webrtc.public, public_url=settings.server.public_url
    )
    app.add_exception_handler(RequestValidationError, explain_request)
    app.add_middleware(BaseHTTPMiddleware, dispatch=access.guard)
    if extras.house:
        app.add_middleware(OneRequest)
    app.add_middleware(BodyLimit)  # the last one added is asked first
    app.include_router(access.routes())
    app.include_router(_health(process, house))
    app.include_router(console_routes())
    app.include_router(asset_routes())
    app.include_router(provider_router(process.providers, house))
    app.include_router(
        live_router(HouseLive(process.live, house), budget_s=settings.latency.budget_s)
    )
    if webrtc.enabled:
        parked = Parked(house)
        app.include_router(client_routes())
        app.include_router(webrtc_router(process, tasks, parked, house))
    if twilio.enabled and twilio.auth_token:
        app.include_router(
            twilio_router(
                public_url=settings.server.public_url,
                auth_token=twilio.auth_token,
                switchboard=process.switchboard,
                tell=process.switchboard.tell,
                clock=clock.monotonic,
                rest=_rest(settings),
                house=house,
            )
        )
    for router in [*_livekit(process, tasks, house), *extras.routers]:
        app.include_router(router)
    return app


def _livekit(process: Process, tasks: asyncio.TaskGroup, house: House) -> list[APIRouter]:
    settings = process.settings.transports.livekit
    if not settings.enabled:
        return []
    # Here, and not above: its library has 28 MB, which a server without this door does without.
    from bot.http.livekit_door import livekit_router  # noqa: PLC0415

    return [livekit_router(process, tasks, house, settings)]


def _rest(settings: Settings) -> TwilioRest | None:
    twilio = settings.transports.twilio
    if not (twilio.account_sid and twilio.auth_token):
        return None  # a hang-up then closes the media socket, and the call ends with the TwiML
    return TwilioRest(
        api_url=twilio.api_url,
        account_sid=twilio.account_sid.get_secret_value(),
        auth_token=twilio.auth_token,
    )


def _health(process: Process, house: House) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        found = judge_readiness(
            why_closed=process.switchboard.why_closed or house.why_closed,
            usable=process.providers.usable(),
            steps=process.settings.hold.steps,
        )
        return JSONResponse(asdict(found), status_code=200 if found.ready else 503)

    return router
