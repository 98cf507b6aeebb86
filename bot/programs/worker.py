"""A worker: one of several processes that answer calls behind one port, started by a supervisor."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from bot.programs.guard import guard
from bot.workers.pool_client import PoolClient, take_connections
from bot.workers.stacks import write_stacks_at_signal
from bot.workers.wire import Wire, WireError
from configuration.database_urls import LOCAL
from configuration.environment import count_together
from configuration.loading import load
from configuration.settings import Settings
from operations.telemetry import logs
from operations.telemetry.meter_files import take_room
from runtime.loops import run

if TYPE_CHECKING:
    from bot.server.server import Server  # imports Pipecat

LAST_CALL_CHECK_S: Final = 0.25  # between two checks whether the last call has ended
IDLE_CONNECTION_S: Final = (
    12.0  # a connection that has not begun a call within this time never will
)
LEAVE_S: Final = 1.0  # for the supervisor to stop passing us connections
BEGIN_S: Final = 0.1  # to read the request on the last connection


def main() -> None:
    """Run a worker with the supervisor's parameters, JSON in the first argument, and exit."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # only the supervisor handles it
    parameters = json.loads(sys.argv[1])
    sys.exit(guard(lambda: work(parameters)))


def work(parameters: Mapping[str, Any]) -> None:
    """Answer calls until the supervisor stops this process or dies."""
    config = Path(parameters["config"]) if parameters["config"] else None
    settings = _with_pool_board(load(config, flags=parameters["flags"]).settings, parameters)
    log = settings.logs
    logs.set_up(level=log.level, folder=log.dir, json_lines=log.json_lines)
    write_stacks_at_signal(Path(parameters["metrics"]).parent)
    _count_together(Path(parameters["metrics"]))
    run(_answer_calls(settings, parameters))


def _count_together(folder: Path) -> None:
    """Keep this process's metrics in the pool's folder; a full disk must not stop the worker."""
    if take_room(folder, os.getpid()):
        count_together(folder)
    else:
        logger.error("no space in {}: /metrics lacks the figures of this process", folder)


def _with_pool_board(settings: Settings, parameters: Mapping[str, Any]) -> Settings:
    """Return the settings with the pool's own health board, unless another one is configured."""
    if settings.resilience.share != LOCAL:
        return settings
    resilience = settings.resilience.model_copy(update={"share": parameters["board"]})
    return settings.model_copy(update={"resilience": resilience})


def join_pool(parameters: Mapping[str, Any]) -> PoolClient:
    """Return the worker's side of the pool, by the supervisor's parameters."""
    return PoolClient(
        Wire(socket.socket(fileno=parameters["control"])),
        number=parameters["number"],
        workers=parameters["workers"],
        pool_id=parameters.get("pool_id", ""),  # an older supervisor sends none
    )


async def _answer_calls(settings: Settings, parameters: Mapping[str, Any]) -> None:
    """Run the server until it has finished; tell the supervisor when it is configured and ready."""
    pool = join_pool(parameters)
    async with asyncio.TaskGroup() as tasks:
        wire_task = tasks.create_task(pool.wire.run(), name="the line to the supervisor")
        await pool.wire.open.wait()
        pool.wire.send("configured")
        from bot.server.server import Extras, run_server  # noqa: PLC0415 - imports Pipecat, takes long

        async with run_server(
            settings,
            [],
            extras=Extras(pool=pool, metrics_folder=Path(parameters["metrics"])),
        ) as server:
            drain_task = tasks.create_task(
                _drain_without_supervisor(pool, server), name="end with the supervisor"
            )
            await server.ready.wait()
            commands = SupervisorCommands(pool, server, tasks)
            # Only now, because a connection is served as soon as it arrives.
            commands.over = take_connections(
                socket.socket(fileno=parameters["hand"]), commands.take
            )
            server.leave = commands.leave
            server.may_move = lambda: bool(pool.state.get("may_move"))
            server.take_room = partial(_take_room, pool)
            pool.wire.send("ready", refused=await server.providers.ask_first())
            await server.finished.wait()
        for task in (wire_task, drain_task):
            task.cancel()


async def _take_room(pool: PoolClient) -> bool:
    """Return whether one of our calls may be moved now, which the supervisor counts.

    Also True if it does not answer, or is of an older version: it has said that others have room.
    """
    try:
        return bool(await pool.wire.ask("take_room"))
    except WireError as gone:
        logger.warning("a call is moved uncounted: {}", gone)
        return True


async def _drain_without_supervisor(pool: PoolClient, server: "Server") -> None:
    """Wait until the supervisor is gone, then drain: no new connection can arrive."""
    await pool.wire.gone.wait()
    server.asked_to_stop.set()


class SupervisorCommands:
    """Carries out the supervisor's commands in this worker."""

    def __init__(self, pool: PoolClient, server: "Server", tasks: asyncio.TaskGroup) -> None:
        """Obey the commands on the wire of `pool` from now on; connections are taken in `tasks`."""
        self._server = server
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._taken_at = 0.0
        self.over = asyncio.Event()  # set when the supervisor passes on no more connections
        self._wire = wire = pool.wire
        wire.on("stop", self._drain_for_supervisor)
        wire.on("hurry", lambda _: server.hurry())
        wire.on("retire", self._retire_after_calls)
        tasks.create_task(self._report_closing(wire), name="say that we are closing")

    def take(self, connection: socket.socket) -> None:
        """Serve a connection that the supervisor accepted."""
        self._taken_at = self._loop.time()
        self._tasks.create_task(self._server.take(connection), name="take a connection")

    async def leave(self) -> None:
        """Ask the supervisor for no more connections; wait briefly for those already sent.

        Otherwise connections on their way to us would be reset.
        """
        self._wire.send("leaving")
        with suppress(TimeoutError):  # a supervisor that hangs must not block us
            await asyncio.wait_for(self.over.wait(), LEAVE_S)
        await asyncio.sleep(BEGIN_S)

    def _drain_for_supervisor(self, message: Mapping[str, Any]) -> None:
        """Drain for as long as the supervisor says: its configuration may be newer than ours.

        A supervisor of an older version, which SIGHUP does not replace, sends no duration.
        """
        self._server.drain_s = message.get("drain_s")
        self._server.asked_to_stop.set()

    def _retire_after_calls(self, _: Mapping[str, Any]) -> None:
        self._tasks.create_task(self._end_with_the_last_call(), name="retire")

    async def _end_with_the_last_call(self) -> None:
        """Stop after the last call, and not within `IDLE_CONNECTION_S` of the last connection.

        Returns soon if the server is asked to stop meanwhile.

        A dial in progress counts as a call: stopping would end the ringing, and the next worker
        could not learn the dial's outcome.
        """
        stopping = self._server.asked_to_stop
        # Connections without a call send no event.
        while self._is_busy and not stopping.is_set():  # noqa: ASYNC110
            await asyncio.sleep(LAST_CALL_CHECK_S)
        stopping.set()

    @property
    def _is_busy(self) -> bool:
        """Whether calls or dials are in progress, or a connection has come lately."""
        server = self._server
        connected_lately = self._loop.time() - self._taken_at < IDLE_CONNECTION_S
        return bool(server.switchboard.calls) or server.follows_dials() or connected_lately

    async def _report_closing(self, wire: Wire) -> None:
        await self._server.asked_to_stop.wait()
        wire.send("closing")
