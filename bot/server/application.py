"""The web application: health, pages, API, and the routes of the transports."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bot.call.models import VoiceModels
from bot.call.waiting_answers import waiting_answers
from bot.carriers import carrier_routers
from bot.health.readiness_rules import judge_readiness
from bot.server.access import Access, Guard, SignIn
from bot.server.call_list_routes import call_list_router
from bot.server.call_routes import PoolCalls, call_router
from bot.server.campaign_routes import PoolCampaigns
from bot.server.credentials import ConsoleCredentials
from bot.server.inbox_routes import inbox_router
from bot.server.limits import BodyLimit, OneRequest, explain_request
from bot.server.live_routes import PoolLiveView, live_router
from bot.server.machine_paths import MachinePaths
from bot.server.operator_routes import (
    Disclosures,
    metrics_router,
    provider_router,
    reload_router,
)
from bot.server.pages.site import (
    asset_routes,
    client_routes,
    console_routes,
    explain_missing,
)
from bot.server.webrtc_routes import webrtc_router
from bot.workers.machine_views import MachineViews
from bot.workers.pool import SingleProcess, WorkerPool
from bot.workers.pool_client import PoolClient
from bot.workers.process import Process
from campaigns.dialing import DialerSettings
from operations.inbox.store import Inbox
from operations.record.call_list import CallList
from operations.record.reader import RecordReader
from operations.telemetry.emitter import Listener
from runtime import clock
from transports.media_stream.webhooks import CarrierHost
from transports.parked import Parked


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Optional parts of a server, apart from its configuration."""

    words: bool = False  # show what is said in the live view
    listeners: Sequence[Listener] = ()
    routers: Sequence[APIRouter] = ()
    models: VoiceModels | None = None  # if they are already loaded
    pool: PoolClient | None = None  # `None` if this is the only process on its port
    metrics_folder: Path | None = None  # where the pool's processes write their metrics
    campaigns: PoolCampaigns | None = None  # `None` to leave campaigns out of the live view
    dialing: DialerSettings | None = None  # the dialler's timing; `None` for the default


def application(
    process: Process, tasks: asyncio.TaskGroup, extras: Extras, pool: WorkerPool | None = None
) -> FastAPI:
    """Return the web application: access control, limits, pages, transports, operators' API.

    Calls run in `tasks`. Without a `pool`, the process counts as the only one.
    """
    settings = process.settings
    pool = pool or SingleProcess(
        why_closed=lambda: process.switchboard.why_closed, clock=clock.monotonic
    )
    server = settings.server
    credentials = ConsoleCredentials(
        server.token, server.view_token, pool=pool, emit=process.switchboard.emit
    )
    access = Access(
        credentials,
        public_client=settings.transports.webrtc.public,
        public_url=server.public_url,
    )
    machines = MachineViews(pool, server)
    app = _bare_application(access, one_request=extras.pool is not None)
    for router in (
        SignIn(access).routes(),
        *_page_routers(process, pool, extras, machines),
        *_transport_routers(process, tasks, pool),
        *_call_routers(process, pool, extras, machines),
        *extras.routers,
    ):
        app.include_router(router)
    return app


def _bare_application(access: Access, *, one_request: bool) -> FastAPI:
    """Return an application without routes, with the checks that come before routing.

    Args:
        access: Access control.
        one_request: Whether to close each connection after one request, so that another process can
            take the next.
    """
    app = FastAPI(title="Holdline", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, explain_request)
    app.add_exception_handler(HTTPException, explain_missing)
    app.add_middleware(Guard, access=access)
    if one_request:
        app.add_middleware(OneRequest)
    app.add_middleware(BodyLimit)
    app.add_middleware(MachinePaths)  # the middleware added last runs first
    return app


def _page_routers(
    process: Process, pool: WorkerPool, extras: Extras, machines: MachineViews
) -> list[APIRouter]:
    """Return the routes of health checks, pages, providers, metrics and reloads."""
    return [
        _health_router(process, pool),
        console_routes(has_lab=any(item.prefix == "/api/lab" for item in extras.routers)),
        asset_routes(),
        provider_router(process.providers, pool, process.listeners.sums.recent),
        metrics_router(process.listeners.exposition),
        reload_router(extras.pool, machines),
    ]


def _transport_routers(
    process: Process, tasks: asyncio.TaskGroup, pool: WorkerPool
) -> Iterator[APIRouter]:
    """Yield the routes of each enabled transport."""
    transports = process.settings.transports
    if transports.webrtc.enabled:
        yield client_routes()
        yield webrtc_router(process, tasks, Parked(pool, "webrtc"), pool)
    host = CarrierHost(
        addresses=process.settings.server.addresses,
        machine=process.settings.server.machine or "",
        answer=process.switchboard.answer,
        emit=process.switchboard.emit,
        clock=clock.monotonic,
        pool=pool,
        has_brief=process.shared.briefs.load,
        waiting=waiting_answers(process.shared),
    )
    yield from carrier_routers(transports, host, process.shared.people)
    if transports.livekit.enabled:
        from bot.server.livekit import livekit_router  # noqa: PLC0415 - the library is large

        yield livekit_router(process, tasks, pool, transports.livekit)


def _call_routers(
    process: Process, pool: WorkerPool, extras: Extras, machines: MachineViews
) -> list[APIRouter]:
    """Return the routes that show calls, in progress and recorded, and what callers left."""
    settings = process.settings
    calls = PoolCalls(process.listeners.sums, pool, machines)
    view = PoolLiveView(process.listeners.live, pool)
    disclosures = Disclosures(process.switchboard.emit)
    reader = RecordReader(process.database)
    return [
        live_router(
            view,
            budget_s=settings.latency.budget_s,
            calls=calls,
            campaigns=extras.campaigns,
        ),
        # Before `call_router`, which would take `search` for the id of a call.
        call_list_router(CallList(process.database), disclosures),
        call_router(calls, reader, disclosures, currency=process.currency),
        inbox_router(
            Inbox(process.database), process.switchboard.emit, disclosures, machine=machines.machine
        ),
    ]


def _health_router(process: Process, pool: WorkerPool) -> APIRouter:
    """Return `/healthz`, which always succeeds, and `/readyz`, 503 while not ready for calls."""
    router = APIRouter()

    @router.get("/healthz")
    @router.head("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        return {"status": "ok"}

    @router.get("/readyz")
    @router.head("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        readiness = judge_readiness(
            why_closed=process.switchboard.why_closed or pool.why_closed,
            usable=process.providers.usable(),
            steps=process.settings.hold.steps,
            recorded=process.listeners.recorded,
            store_away=pool.store_away,
        )
        return JSONResponse(asdict(readiness), status_code=200 if readiness.ready else 503)

    return router
