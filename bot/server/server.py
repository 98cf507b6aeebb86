"""The server: runs all enabled transports, the pages and the background work until SIGTERM."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import APIRouter, FastAPI

from bot.call.switchboard import TakeRoom
from bot.outbound.call_ledger import CallLedger
from bot.outbound.outbound import Outbound, open_outbound
from bot.server.application import Extras, application
from bot.server.campaign_routes import PoolCampaigns, campaign_router, report_router
from bot.server.contact_routes import contact_router
from bot.server.do_not_call_routes import do_not_call_router
from bot.server.limits import BoundedSocket, bounds
from bot.server.operator_routes import alert_router
from bot.workers.admission_rules import PoolAdmission
from bot.workers.listener import bind_socket, ready_line
from bot.workers.meter import Meter
from bot.workers.pool import SingleProcess, WorkerPool
from bot.workers.pool_client import PoolClient, SharedLimits
from bot.workers.process import Process, open_process
from bot.workers.seats import public_limits
from bot.workers.upkeep import do_chores, update_gauges
from calls.events import CallRefused, Event
from calls.operations_events import (
    CallsLost,
    ConfigurationReloaded,
    StoreLost,
    StoreRegained,
    WorkerLost,
    WorkerStarted,
)
from configuration.machine import own_cores
from configuration.settings import Settings
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.inbox.notices import send_notices
from operations.inbox.store import Inbox
from operations.keep_running import keep_running
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.configured_alerts import tell_operators, utc_s
from operations.notify.dispatcher import AlertDispatcher
from operations.notify.reporter import AlertReporter
from operations.retrying import Retries
from operations.sheets.configured_mirror import mirror_in_sheet
from operations.telemetry.emitter import Listener
from runtime import clock
from transports.pool import claimed


@asynccontextmanager
async def open_pool(process: Process, joined: PoolClient | None) -> AsyncIterator[WorkerPool]:
    """Yield the pool of this process; while the block runs, measure our load and report it there.

    `joined` is the pool of a supervisor; `None` if this is the only process. In such a pool, also
    share the rungs' limits and emit the supervisor's events.
    """
    pool = joined or single_process(process)
    process.listeners.carrier_words.join(answer=pool.peers.answer, ask_all=pool.peers.ask_all)
    limits = SharedLimits(joined, process.shared.policies.values()) if joined else None

    def report(cores: float, lag_s: float) -> None:
        """Report this worker's load to the supervisor and the metrics, and its use of limits."""
        pool.report(cores, lag_s)
        process.listeners.metrics.set_gauges({"cores": cores, "loop_lag_seconds": lag_s})
        if limits:
            limits.report()

    if joined:
        for what, make_event in SUPERVISOR_EVENTS.items():
            joined.wire.on(what, partial(_emit_for_supervisor, process, make_event))
    updating = partial(update_gauges, process.emitter, process.listeners.metrics)
    meter = Meter(report, processor_s=clock.processor_s)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep_running("updating the gauges", updating), name="gauges")
        try:
            with process.measuring.pass_beats_to(meter.beat):
                yield pool
        finally:
            task.cancel()


def single_process(process: Process) -> SingleProcess:
    """Return the pool of a single process without a supervisor."""
    server, switchboard = process.settings.server, process.switchboard
    return SingleProcess(
        why_closed=lambda: switchboard.why_closed,
        clock=clock.monotonic,
        seats=PoolAdmission(
            seats=server.max_calls,
            cores=own_cores(),
            measured=server.counts_load,
            public=public_limits(process.settings),
        ),
    )


SUPERVISOR_EVENTS: Final[Mapping[str, Callable[..., Event]]] = {
    "turned_away": partial(CallRefused, transport="twilio"),
    "reloaded": partial(ConfigurationReloaded, changed=(), workers=0),
    "worker_started": WorkerStarted,  # it may be this worker
    "worker_lost": WorkerLost,
    "calls_lost": CallsLost,
    "store_lost": StoreLost,
    "store_regained": StoreRegained,
}
"""The supervisor's events, which a worker emits, because the supervisor has no listeners."""


def _emit_for_supervisor(
    process: Process, make_event: Callable[..., Event], message: Mapping[str, Any]
) -> None:
    """Emit an event of the supervisor, made from the fields of its message."""
    fields = {name: value for name, value in message.items() if name != "tell"}
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    process.switchboard.emit(make_event(**fields | lists))


MOVE_S: Final = 20.0  # for calls to become quiet before they are moved
LAST_DIALS_S: Final = 5.0  # for dials cancelled at shutdown to end and be recorded
CHECK_DIALS_EVERY_S: Final = 0.1  # between two checks whether they have ended
OPEN_CONNECTIONS_S: Final = (
    3.0  # for HTTP connections that are still open after the calls have ended
)


async def serve(settings: Settings, *, extras: Extras | None = None) -> None:
    """Answer calls until SIGTERM or SIGINT, then drain and return; a second signal hangs up.

    Once calls can be taken, it tests the providers and prints a line with the address.

    Raises:
        UsageError: The address is in use or not this machine's.
    """
    sockets = [bind_socket(settings.server.host, settings.server.port)]
    async with run_server(settings, sockets, extras=extras or Extras()) as server:
        await server.ready.wait()
        if server.started:
            refused = await server.providers.ask_first()
            line = ready_line(settings, port=sockets[0].getsockname()[1], refused=refused)
            print(line, flush=True)  # noqa: T201 - shown in the terminal
        await server.finished.wait()


class Server(uvicorn.Server):
    """A uvicorn server that lets its calls end before it shuts down."""

    def __init__(self, config: uvicorn.Config, process: Process) -> None:
        """Serve the application in `config`; the calls are those of `process`."""
        super().__init__(config)
        self.switchboard = process.switchboard
        self.providers = process.providers
        self.asked_to_stop = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when the server serves requests, or when it has failed to start."""
        self.finished = asyncio.Event()
        self.leave: Callable[[], Awaitable[None]] = _leave_nothing
        """Called after the last call has ended, before waiting for the last requests."""
        self.follows_dials: Callable[[], bool] = lambda: False
        """Returns whether this process still waits for the outcome of a dial."""
        self.may_move: Callable[[], bool] = lambda: False
        """Returns whether another machine can go on with our calls."""
        self.take_room: TakeRoom = _find_no_room
        self.drain_s: float | None = None
        """How long calls may go on, by the stop request; `None` for the configured time."""
        self._signals = 0
        self._loop = asyncio.get_running_loop()

    async def take(self, connection: socket.socket) -> None:
        """Serve a connection that another process accepted; close it if the client has gone."""
        protocol = functools.partial(
            self.config.http_protocol_class,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        try:
            await self._loop.connect_accepted_socket(protocol, connection)
        except OSError:  # the client has disconnected
            connection.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start uvicorn, and set `ready`."""
        await super().startup(sockets=sockets)
        self.ready.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal; on a second one, SIGINT or SIGTERM, stop at once."""
        self._signals += 1
        if self._signals > 1:
            self._loop.call_soon_threadsafe(self.hurry)
        self._loop.call_soon_threadsafe(self.asked_to_stop.set)

    def hurry(self) -> None:
        """Hang up all calls, and do not wait for requests."""
        self.force_exit = True
        self.switchboard.hurry()


@asynccontextmanager
async def run_server(
    settings: Settings, sockets: list[socket.socket], *, extras: Extras
) -> AsyncIterator[Server]:
    """Run the server while the block runs.

    Everything that calls need opens before the first call and closes after the last one: first the
    process, then the worker pool, the background work and the dialler. The server begins to accept
    requests last, and stops first.
    """
    database = Database(settings.storage.url)
    now = DatabaseClock(database, utc_s=utc_s, monotonic=clock.monotonic)
    outbox = AlertOutbox(database, clock=now)
    reporter, ledger = AlertReporter(outbox, utc_s=utc_s), CallLedger()
    async with (
        database,
        _open_process(settings, database, extras, [reporter, ledger]) as process,
        open_pool(process, extras.pool) as pool,
        do_chores(process, pool),
        _open_alerts(process, pool, reporter, outbox) as alerts,
        _send_notices(process, pool),
        mirror_in_sheet(
            settings, database, emit=process.switchboard.emit, leads=lambda: pool.leads
        ),
        open_outbound(
            process, pool, ledger, alerts=alerts.recent, dialing=extras.dialing
        ) as outbound,
        asyncio.TaskGroup() as tasks,
    ):
        campaigns = PoolCampaigns(outbound, pool)
        reporter.lasting = campaigns.lasting
        routers = [*_operator_routers(process, alerts, outbound, campaigns), *extras.routers]
        more = replace(extras, routers=routers, campaigns=campaigns)
        app = application(process, tasks, more, pool)
        server = Server(_uvicorn_config(app), process)
        server.follows_dials = lambda: outbound.follows_dials
        async with _serve_and_drain(server, sockets, process, tasks):
            yield server


def _open_process(
    settings: Settings, database: Database, extras: Extras, listeners: Sequence[Listener]
) -> AbstractAsyncContextManager[Process]:
    """Open the shared parts of this process; events go to `listeners` and those in `extras`."""
    return open_process(
        settings,
        words=extras.words,
        listeners=[*listeners, *extras.listeners],
        models=extras.models,
        metrics_folder=extras.metrics_folder,
        database=database,
        record=True,
    )


def _open_alerts(
    process: Process, pool: WorkerPool, reporter: AlertReporter, outbox: AlertOutbox
) -> AbstractAsyncContextManager[AlertDispatcher]:
    """Send alerts while the context is open, from the process that leads the pool."""
    return tell_operators(
        process.settings,
        reporter,
        outbox,
        emit=process.switchboard.emit,
        leads=lambda: pool.leads,
        describe_replacement=process.emitter.describe_replacement,
    )


def _send_notices(process: Process, pool: WorkerPool) -> AbstractAsyncContextManager[None]:
    """Send notices of the inbox while the context is open, from the process that leads the pool."""
    settings = process.settings
    retries = Retries(settings=settings.resilience.retry_settings(), emit=process.switchboard.emit)
    return send_notices(
        settings.alerts,
        Inbox(process.database),
        retries=retries,
        leads=lambda: pool.leads,
        turn=lambda: claimed(pool.peers, "notices of the inbox"),
    )


def _operator_routers(
    process: Process, alerts: AlertDispatcher, outbound: Outbound, campaigns: PoolCampaigns
) -> list[APIRouter]:
    """Return the routes of alerts, campaigns and the do-not-call list."""
    emit, server = process.switchboard.emit, process.settings.server
    return [
        alert_router(alerts, emit),
        # Before `campaign_router`, which has a route for any action.
        contact_router(outbound, emit, region=server.region or ""),
        campaign_router(outbound, campaigns, emit),
        report_router(outbound, emit),
        do_not_call_router(outbound.contacts, region=server.region, emit=emit),
    ]


def _uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """Return uvicorn's settings: our logs instead of its own, and limits on what clients send."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws=BoundedSocket,
        timeout_graceful_shutdown=round(OPEN_CONNECTIONS_S),
        **bounds(),
    )


@asynccontextmanager
async def _serve_and_drain(
    server: Server, sockets: list[socket.socket], process: Process, tasks: asyncio.TaskGroup
) -> AsyncIterator[None]:
    """Serve while the block runs; then drain the calls, and after that the last requests."""
    serving = tasks.create_task(_serve_and_release(server, sockets), name="http server")
    stopping = tasks.create_task(_drain_when_asked(server, process), name="stop when asked")
    moving = tasks.create_task(_move_when_asked(server, process), name="move the calls")
    try:
        yield
    finally:
        server.asked_to_stop.set()
        await asyncio.wait([stopping, serving])
        moving.cancel()


async def _serve_and_release(server: Server, sockets: list[socket.socket]) -> None:
    """Serve until the server stops or fails to start; then end everything that waits for it."""
    try:
        await server.serve(sockets=sockets)
    finally:
        server.asked_to_stop.set()
        server.ready.set()
        server.finished.set()


async def _drain_when_asked(server: Server, process: Process) -> None:
    """Once the server is asked to stop, let the calls and cancelled dials end, and then stop it."""
    await server.asked_to_stop.wait()
    drain_s = _drain_s(server, process)
    dials_end_by = asyncio.get_running_loop().time() + LAST_DIALS_S
    await process.switchboard.close(drain_s=drain_s)
    await _await_last_dials(server, dials_end_by)
    await server.leave()
    server.should_exit = True


async def _move_when_asked(server: Server, process: Process) -> None:
    """Once the server is asked to stop, move its calls to other machines when that is possible."""
    await server.asked_to_stop.wait()
    within_s = min(MOVE_S, 2 / 3 * _drain_s(server, process))
    await process.switchboard.move_calls(server.may_move, server.take_room, within_s=within_s)


def _drain_s(server: Server, process: Process) -> float:
    configured_s = process.settings.shutdown.drain_s
    return configured_s if server.drain_s is None else server.drain_s


async def _await_last_dials(server: Server, until: float) -> None:
    """Wait, until `until`, for the outcomes of the dials that were cancelled at the shutdown.

    `until` is on the loop's clock; a second signal ends the wait.
    Not every carrier would report them to the process that takes over later.
    """
    loop = asyncio.get_running_loop()
    while (  # noqa: ASYNC110 - no event is set here when a dial ends
        server.follows_dials() and not server.force_exit and loop.time() < until
    ):
        await asyncio.sleep(CHECK_DIALS_EVERY_S)


async def _find_no_room() -> bool:
    """Return False: no call of a process without a supervisor is moved."""
    return False


async def _leave_nothing() -> None:
    """Do nothing: a process that accepts its own connections has no supervisor to tell."""
