"""A worker obeys its supervisor, over a real connection, without a server."""

import asyncio
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from bot.programs.worker import LAST_CALL_CHECK_S, SupervisorCommands, join_pool
from bot.server.server import LAST_DIALS_S, _drain_when_asked
from bot.workers.pool_client import PoolClient
from bot.workers.wire import Wire
from bot.workers.worker_process import WorkerParameters


@dataclass
class Server:
    """Parts that a worker stops."""

    asked_to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    drain_s: float | None = None
    should_exit: bool = False
    force_exit: bool = False
    dials: int = 0
    switchboard: Any = field(default_factory=lambda: SimpleNamespace(calls={}))

    def follows_dials(self) -> bool:
        return bool(self.dials)

    async def leave(self) -> None:
        pass


@pytest.mark.parametrize(
    ("said", "drained_s"),
    [({"drain_s": 7.0}, 7.0), ({"drain_s": 0.0}, 0.0), ({}, 30.0)],
    ids=["a new configuration", "at once", "an older supervisor"],
)
async def test_calls_may_last_for_the_drain_time_that_the_supervisor_says(
    said: dict[str, Any], drained_s: float
) -> None:
    there, here = socket.socketpair()
    supervisor, pool = Wire(there), PoolClient(Wire(here), number=1, workers=1)
    server: Any = Server()
    drained: list[float] = []

    async def close(*, drain_s: float) -> None:
        drained.append(drain_s)

    process: Any = SimpleNamespace(
        settings=SimpleNamespace(shutdown=SimpleNamespace(drain_s=30.0)),
        switchboard=SimpleNamespace(close=close),
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for item in (supervisor, pool.wire):
            tasks.create_task(item.run())
            await item.open.wait()
        SupervisorCommands(pool, server, tasks)
        supervisor.send("stop", **said)
        await _drain_when_asked(server, process)
        supervisor.close()

    assert drained == [drained_s]
    assert server.should_exit


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("rings_s", "stays_s"), [(2.0, 2.0), (60.0, LAST_DIALS_S)], ids=["called off", "rings on"]
)
async def test_a_stopping_process_waits_a_moment_for_cancelled_dials(
    rings_s: float, stays_s: float
) -> None:
    async def close(*, drain_s: float) -> None:
        """Return at once: there is no call."""

    server: Any = Server(dials=1)
    process: Any = SimpleNamespace(
        settings=SimpleNamespace(shutdown=SimpleNamespace(drain_s=0.0)),
        switchboard=SimpleNamespace(close=close),
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(rings_s, lambda: setattr(server, "dials", 0))
    server.asked_to_stop.set()

    await _drain_when_asked(server, process)

    assert loop.time() - began == pytest.approx(stays_s, abs=0.2)


async def test_a_second_signal_waits_for_no_dial() -> None:
    async def close(*, drain_s: float) -> None:
        """Return at once: there is no call."""

    server: Any = Server(dials=1, force_exit=True)
    process: Any = SimpleNamespace(
        settings=SimpleNamespace(shutdown=SimpleNamespace(drain_s=0.0)),
        switchboard=SimpleNamespace(close=close),
    )
    server.asked_to_stop.set()

    await _drain_when_asked(server, process)

    assert server.should_exit


async def test_a_replaced_worker_stays_until_its_last_dial_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.programs.worker.IDLE_CONNECTION_S", 0.0)
    monkeypatch.setattr("bot.programs.worker.LAST_CALL_CHECK_S", 0.01)
    there, here = socket.socketpair()
    supervisor, pool = Wire(there), PoolClient(Wire(here), number=1, workers=1)
    server: Any = Server(dials=1)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for item in (supervisor, pool.wire):
            tasks.create_task(item.run())
            await item.open.wait()
        SupervisorCommands(pool, server, tasks)
        supervisor.send("retire")
        await asyncio.sleep(0.1)
        stayed = not server.asked_to_stop.is_set()
        server.dials = 0
        await server.asked_to_stop.wait()
        supervisor.close()

    assert stayed


@pytest.mark.virtual_time
@pytest.mark.parametrize("busy_with", ["a dial", "a call", "a connection"])
async def test_a_replaced_worker_that_is_told_to_stop_waits_for_nothing_itself(
    busy_with: str,
) -> None:
    there, here = socket.socketpair()
    supervisor, pool = Wire(there), PoolClient(Wire(here), number=1, workers=1)
    server: Any = Server(dials=int(busy_with == "a dial"))
    if busy_with == "a call":
        server.switchboard.calls["c"] = None
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for item in (supervisor, pool.wire):
            tasks.create_task(item.run())
            await item.open.wait()
        commands: Any = SupervisorCommands(pool, server, tasks)
        commands._taken_at = loop.time() if busy_with == "a connection" else -60.0
        supervisor.send("retire")
        supervisor.send("stop")
        await server.asked_to_stop.wait()
        told_at = loop.time()
        supervisor.close()

    assert loop.time() - told_at <= 2 * LAST_CALL_CHECK_S


async def test_a_worker_learns_of_its_pool_from_the_supervisors_order() -> None:
    """By that id a worker tells its own pool's agents in LiveKit rooms from those of others."""
    ours, theirs = socket.socketpair()
    order = WorkerParameters(
        number=2, workers=3, pool_id="a-pool", config=None, flags={}, board="", metrics=""
    )

    pool = join_pool(asdict(order) | {"control": ours.detach()})

    assert (pool.id, pool.name) == ("a-pool", "w2")
    for end in (pool.wire.own, theirs):
        assert end is not None
        end.close()


def test_a_worker_imports_no_metrics_and_no_pipecat_before_its_configuration_is_read() -> None:
    """prometheus_client decides at its first import whether it counts in files for all workers."""
    told = (
        "import sys, bot.programs.worker; print({'prometheus_client', 'pipecat'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)  # noqa: S603 - ours

    assert done.stdout == "set()\n"
