"""The supervisor: runs several workers behind one port; does not import Pipecat."""

import asyncio
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from bot.workers.admission_rules import PoolAdmission
from bot.workers.agent_check import serve_checks
from bot.workers.connections import NO_WORKER, ConnectionListener, hold_response
from bot.workers.listener import (
    ALIVE,
    READY,
    bind_socket,
    listening_socket,
    notify,
    ready_line,
)
from bot.workers.plan import ServePlan
from bot.workers.pool import KeyValueStore
from bot.workers.pool_server import PoolServer, Quotas
from bot.workers.saved_values import SavedValues
from bot.workers.seats import EXOTEL_STREAM, public_limits, refuse
from bot.workers.slots import BY_SIGNAL, Reloading, Slots, wait_at_most
from bot.workers.stacks import WRITE_S, ask_for_stacks, place_in, read_stacks
from bot.workers.store_watch_rules import StoreWatch
from bot.workers.worker_process import Worker
from configuration.loading import Loaded
from configuration.machine import own_cores
from configuration.printing import fingerprint
from configuration.settings import ServerSettings, Settings
from runtime import clock
from runtime.exits import DONE, CommandError

if TYPE_CHECKING:
    from bot.workers.other_machines import OtherMachines
    from bot.workers.shared_claims import SharedClaims
    from bot.workers.shared_values import SharedValues

ROUND_S: Final = 0.2  # between two rounds; each sends the pool's state to the workers
# How long a worker may run after the drain before it is killed: the limits of everything that it
# waits for, together: goodbyes and hang-ups, connections, after-call work, opt-outs, the record.
STOP_S: Final = 31.0
GRACE_S: Final = 35.0  # `STOP_S` and a margin: what the service manager must allow after the drain
HUNG_S: Final = 3.0  # without a report; a ready worker reports every 0.25 s


class Supervisor:
    """Keeps the workers running, and passes them the connections of one listening socket."""

    def __init__(
        self, plan: ServePlan, listener: socket.socket, checks: socket.socket | None = None
    ) -> None:
        """Serve on `listener`; answer the load balancer's checks on `checks`, if it is given."""
        server = plan.settings.server
        self._plan = plan
        self._listener, self._checks = listener, checks
        self._signals = 0
        self._tasks = asyncio.TaskGroup()
        self._seats = PoolAdmission(
            seats=server.max_calls,
            cores=own_cores(),
            measured=server.counts_load,
            public=public_limits(plan.settings),
        )
        sessions = SavedValues(
            kind="session", path=plan.settings.logs.dir / "sessions.json", utc_s=clock.utc_s
        )
        local = KeyValueStore(clock=clock.monotonic, saved=sessions)
        holder = secrets.token_hex(8)
        self._shared = _shared_values(server, local, holder)
        self._claims = _shared_claims(self._shared)
        self._quotas = _make_quotas(plan, self._shared, holder, others=lambda: self._others)
        self._server = PoolServer(
            self._seats,
            self._quotas,
            clock=clock.monotonic,
            values=self._shared or local,
            claims=self._claims,
        )
        self._others = _other_machines(self._shared, holder, room=lambda: self._server.seats.room)
        if self._others:
            _use_room_elsewhere(plan, self._server, self._others)
        self._slots = Slots(plan, self._server, self._tasks, clock=clock.monotonic)
        self._reloading = Reloading(
            plan, self._slots, apply=self._apply_settings, emit=self._server.messages.send_to_one
        )
        self._server.answers["reload"] = self._answer_reload
        self._server.configuration = fingerprint(plan.settings)

    async def run(self, ready: Callable[[Sequence[str]], None]) -> int:
        """Serve until SIGTERM or SIGINT, then drain; return the exit code.

        Args:
            ready: Called when calls can be taken, with a sentence for each provider that failed.

        Raises:
            CommandError: A worker failed during the drain, and no second signal shortened that.
            ExceptionGroup: With a `UsageError`: the store cannot be used.
        """
        async with AsyncExitStack() as stack:
            if self._checks:
                line = self._server.seats.check_line
                await stack.enter_async_context(await serve_checks(self._checks, line))
            if self._shared:
                stack.push_async_callback(self._shared.close)
            if self._others:
                stack.push_async_callback(self._others.leave)
            await stack.enter_async_context(self._tasks)
            self._listen_to_signals()  # which start tasks
            if self._shared:
                await self._shared.open()
            code = await self._serve_until_stopped(ready)
        if self._signals == 1 and (failed := self._slots.failed):
            raise CommandError(f"worker {failed.name} ended with {failed.code}")
        return code

    async def _serve_until_stopped(self, ready: Callable[[Sequence[str]], None]) -> int:
        """Do what `run` does once its sockets and the store are open; tasks may still run."""
        connections = self._make_listener()
        running = [
            self._tasks.create_task(work, name=name)
            for name, work in (
                ("accept connections", connections.run()),
                ("look after the store", self._shared.look_after() if self._shared else None),
                ("renew claims", self._claims.look_after() if self._claims else None),
                ("share the limits", self._quotas.share() if self._shared else None),
                ("look for other machines", self._others.run() if self._others else None),
            )
            if work is not None
        ]
        if code := await self._slots.start_workers():
            for item in running:
                item.cancel()
            return DONE if self._signals else code
        watching = self._watch_workers(connections)
        running.append(self._tasks.create_task(watching, name="look after workers"))
        connections.open()
        self._reloading.open = not self._signals
        workers = self._server.workers.values()
        ready([sentence for worker in workers for sentence in worker.refused])
        if self._reloading.signal_pending and self._reloading.open:
            self._start_reload(BY_SIGNAL)
        await self._slots.all_gone.wait()
        for item in running:
            item.cancel()
        return DONE

    def _make_listener(self) -> ConnectionListener:
        """Return what accepts connections; closed at first, until a worker is ready."""
        return ConnectionListener(
            self._listener,
            hand=self._server.hand,
            answer=self._refusal_response,
            hold_response=lambda request: _hold_response(request, self._plan.settings),
            why_not_ready=lambda: self._server.seats.why_not_ready,
            is_open=False,
        )

    def _refusal_response(self, request: bytes) -> bytes:
        """Return the response to the first request of a call that gets no seat; else empty.

        A call on Twilio gets its seat here. One on Exotel is refused only if another machine has
        room.
        """
        seats = self._server.seats
        if EXOTEL_STREAM.match(request) and seats.room <= 0 < seats.room_elsewhere():
            return NO_WORKER
        emit = partial(self._server.messages.send_to_one, "turned_away")
        return refuse(request, self._plan.settings, admit=seats.hold, emit=emit)

    async def _watch_workers(self, connections: ConnectionListener) -> None:
        """Kill workers that hang, send the pool's state and divide the limits, every `ROUND_S`.

        Also passes on connections that wait for a worker, reports a store that is away, and
        notifies the service manager. Runs until cancelled.
        """
        store_watch = StoreWatch()
        while True:
            for item in self._server.find_hung(HUNG_S):
                self._tasks.create_task(
                    _kill_hung(item, self._plan.folder), name="kill a worker that hangs"
                )
            if any(worker.ready.is_set() for worker in self._server.workers.values()):
                connections.open()  # for requests that wait for the replacement of a lost worker
            self._server.broadcast_state()
            self._quotas.divide()
            if self._shared:
                _report_store(self._shared, store_watch, self._server.messages.send_to_one)
            notify(ALIVE)
            await asyncio.sleep(ROUND_S)

    def _listen_to_signals(self) -> None:
        """Stop at SIGTERM and SIGINT; reload the configuration at SIGHUP."""
        loop = asyncio.get_running_loop()
        for item in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(item, self._drain_or_hurry)
        loop.add_signal_handler(signal.SIGHUP, self._start_reload, BY_SIGNAL)

    def _drain_or_hurry(self) -> None:
        """Drain the workers at the first signal, and end their calls at once at the second."""
        self._signals += 1
        if self._signals > 1:
            self._server.messages.broadcast("hurry")
            return
        self._reloading.open = False
        self._server.stop(drain_s=self._plan.settings.shutdown.drain_s)
        self._slots.close()
        self._tasks.create_task(self._kill_late(), name="kill workers that do not stop")

    async def _kill_late(self) -> None:
        """Kill the workers that still run `STOP_S` after the drain."""
        await wait_at_most(self._plan.settings.shutdown.drain_s + STOP_S, self._slots.all_gone)
        for worker in tuple(self._server.workers.values()):
            logger.error("worker {} did not stop in time; killed", worker.name)
            worker.kill()

    def _start_reload(
        self, by: str, reply: asyncio.Future[Mapping[str, Any]] | None = None
    ) -> None:
        """Reload in a separate task, because the worker that made the request is replaced, too."""
        self._tasks.create_task(self._reloading.run(by, reply=reply), name="replace the workers")

    async def _answer_reload(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Reply as soon as the file is read, or the reload refused; workers are replaced later."""
        reply: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._start_reload(message["by"], reply)
        return {**await reply, "configuration": fingerprint(self._plan.settings)}

    def _apply_settings(self, settings: Settings) -> None:
        """Apply a configuration to the seats and the rungs' limits, and tell the workers."""
        self._seats.seats = settings.server.max_calls
        self._seats.measured = settings.server.counts_load
        self._seats.public = public_limits(settings)
        self._quotas.renew(settings)
        self._server.configuration = fingerprint(settings)
        self._server.broadcast_state()


def serve_with_workers(config: Path | None, flags: Mapping[str, Any], loaded: Loaded) -> int:
    """Answer calls in worker processes until stopped; return the exit code. Blocks.

    Once calls can be taken, it prints a line and notifies the service manager.
    """
    server = loaded.settings.server
    listener = listening_socket(server.host, server.port)
    port = listener.getsockname()[1]

    def ready(refused: Sequence[str]) -> None:
        line = ready_line(plan.settings, port=port, refused=refused)
        print(line, flush=True)  # noqa: T201 - for the terminal
        notify(READY)

    async def run() -> int:
        return await Supervisor(plan, listener, checks).run(ready)

    with ExitStack() as stack:
        stack.enter_context(listener)
        checks = _check_socket(server)
        if checks:
            stack.enter_context(checks)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="holdline-"))
        plan = ServePlan(config, flags, loaded, folder=Path(folder))
        return asyncio.run(run())


def _shared_values(
    server: ServerSettings, local: KeyValueStore, holder: str
) -> "SharedValues | None":
    """Return the store that this machine shares with others; `None` without one."""
    if server.store is None:
        return None
    from bot.workers.shared_values import SharedValues  # noqa: PLC0415 - its driver is an extra

    return SharedValues(
        server.store,
        machine=server.machine or "",
        holder=holder,
        local=local,
        clock=clock.monotonic,
    )


def _report_store(values: "SharedValues", watch: StoreWatch, tell: Callable[..., None]) -> None:
    """Make a worker report that the store has been away for a while, or is back; each once."""
    away_s = watch.look(is_away=values.is_away, now=clock.monotonic())
    if away_s is not None and values.is_away:
        tell("store_lost", reason=values.link.why_away)
    elif away_s is not None:
        tell("store_regained", away_s=away_s)


def _shared_claims(values: "SharedValues | None") -> "SharedClaims | None":
    """Return the claims that hold on all machines; `None` without a store."""
    if values is None:
        return None
    from bot.workers.shared_claims import SharedClaims  # noqa: PLC0415 - as above

    return SharedClaims(values.link)


def _use_room_elsewhere(plan: ServePlan, server: PoolServer, others: "OtherMachines") -> None:
    """Let new calls, and at a shutdown those in progress, go to machines that have room."""

    async def take_room(_: Mapping[str, Any]) -> bool:
        return others.take_room()

    def may_move() -> bool:
        return bool(plan.settings.shutdown.move and server.seats.is_stopping and others.room)

    server.seats.room_elsewhere = lambda: others.room
    server.answers["take_room"] = take_room
    server.may_move = may_move


def _other_machines(
    shared: "SharedValues | None", holder: str, *, room: Callable[[], int]
) -> "OtherMachines | None":
    """Return the other machines of the store; `None` without one."""
    if shared is None:
        return None
    from bot.workers.other_machines import OtherMachines  # noqa: PLC0415 - as above

    return OtherMachines(shared.link, holder=holder, room=room)


def _make_quotas(
    plan: ServePlan,
    shared: "SharedValues | None",
    holder: str,
    *,
    others: "Callable[[], OtherMachines | None]",
) -> Quotas:
    """Return what divides the limits, which are those of all machines of a store."""
    shares = None
    if shared:
        from bot.workers.shared_shares import SharedShares  # noqa: PLC0415 - as above

        shares = SharedShares(shared.link, holder=holder)

    def machines() -> int:
        found = others()
        return found.count + 1 if found else 1

    return Quotas(plan.settings, clock=clock.monotonic, shares=shares, machines=machines)


def _hold_response(request: bytes, settings: Settings) -> bytes | None:
    public_url, language = settings.server.own_url, settings.agent.language
    return hold_response(request, public_url=public_url, language=language)


def _check_socket(server: ServerSettings) -> socket.socket | None:
    port = server.agent_check_port
    return bind_socket(server.host, port, key="server.agent_check_port") if port else None


async def _kill_hung(worker: Worker, folder: Path) -> None:
    """Kill a worker that hangs, after it has written its stacks; not twice.

    Logs them, and stores in `frozen_in` the function that was running.
    """
    if worker.killed:
        return
    worker.killed = True
    ask_for_stacks(worker.pid)
    await asyncio.sleep(WRITE_S)
    stacks = read_stacks(folder, worker.pid)
    worker.frozen_in = place_in(stacks)
    where = f"; it was in {worker.frozen_in}" if worker.frozen_in else ""
    logger.error("worker {} has not reported for {:g} s; killed{}", worker.name, HUNG_S, where)
    logger.info("the stacks of worker {}:\n{}", worker.name, stacks)
    worker.kill()
