"""The web application: the doors, the pages, and the two questions of health."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.base import BaseHTTPMiddleware

from bot import clock
from bot.call.models import VoiceModels
from bot.house.house import Alone, House
from bot.house.joined import Joined
from bot.http.access import Access
from bot.http.body_limit import BodyLimit
from bot.http.call_routes import call_router
from bot.http.carrier_doors import carrier_routers
from bot.http.door_frame import DoorFrame
from bot.http.house_calls import HouseCalls
from bot.http.house_live import HouseLive
from bot.http.live_routes import CampaignsView, live_router
from bot.http.metrics_route import metrics_router
from bot.http.one_request import OneRequest
from bot.http.one_sentence import explain_request
from bot.http.pages.site import asset_routes, client_routes, console_routes
from bot.http.parked import Parked
from bot.http.provider_routes import provider_router
from bot.http.reload_routes import reload_router
from bot.http.twilio_parts import twilio_routers
from bot.http.webrtc_door import webrtc_router
from bot.process import Process
from campaigns.dialer_parts import DialerSettings
from fallbacks.readiness import judge_readiness
from storage.record_reader import RecordReader
from telemetry.emitter import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a server may have beyond its configuration."""

    words: bool = False  # the live view shows what is said
    listeners: Sequence[Listener] = ()
    routers: Sequence[APIRouter] = ()
    models: VoiceModels | None = None  # loaded already
    reader: RecordReader | None = None  # of the record; None: one that nobody closes
    house: Joined | None = None  # the other processes behind the same port
    metrics_folder: Path | None = None  # where they count
    campaigns: CampaignsView | None = None  # whom we call; None: nobody is told of them
    dialing: DialerSettings | None = None  # how the dialer takes its time


def application(
    process: Process, tasks: asyncio.TaskGroup, extras: Extras, house: House | None = None
) -> FastAPI:
    """Return the web application: the doors, the pages, and the two questions of health."""
    settings = process.settings
    house = house or Alone(why_closed=lambda: process.switchboard.why_closed, clock=clock.monotonic)
    app = FastAPI(title="Holdline", docs_url=None, redoc_url=None, openapi_url=None)
    webrtc = settings.transports.webrtc
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
    app.include_router(provider_router(process.providers, house, process.sums.recent))
    app.include_router(metrics_router(process.exposition))
    app.include_router(reload_router(extras.house))
    if webrtc.enabled:
        parked = Parked(house)
        app.include_router(client_routes())
        app.include_router(webrtc_router(process, tasks, parked, house))
    frame = DoorFrame(
        public_url=settings.server.public_url,
        switchboard=process.switchboard,
        tell=process.switchboard.tell,
        clock=clock.monotonic,
        house=house,
    )
    for router in (
        *twilio_routers(process, house),
        *carrier_routers(settings.transports, frame),
        *_livekit(process, tasks, house),
        *_watched(process, house, extras),
        *extras.routers,
    ):
        app.include_router(router)
    return app


def _watched(process: Process, house: House, extras: Extras) -> list[APIRouter]:
    settings = process.settings
    calls = HouseCalls(process.sums.calls, process.sums.recent, house)
    view = HouseLive(process.live, house)
    reader = extras.reader or RecordReader(settings.storage.url)
    return [
        live_router(
            view,
            budget_s=settings.latency.budget_s,
            calls=calls,
            campaigns=extras.campaigns,
        ),
        call_router(calls, reader),
    ]


def _livekit(process: Process, tasks: asyncio.TaskGroup, house: House) -> list[APIRouter]:
    settings = process.settings.transports.livekit
    if not settings.enabled:
        return []
    # Here, and not above: its library has 28 MB, which a server without this door does without.
    from bot.http.livekit_door import livekit_router  # noqa: PLC0415

    return [livekit_router(process, tasks, house, settings)]


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
            recorded=process.recorded(),
        )
        return JSONResponse(asdict(found), status_code=200 if found.ready else 503)

    return router
