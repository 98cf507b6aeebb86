"""The supervisor's own settings after a reload."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bot.workers.admission_rules import STARTUP_S
from bot.workers.listener import bind_socket
from bot.workers.supervisor import Supervisor
from configuration.settings import Settings
from runtime.exits import DONE
from tests.bot.workers.test_pool_client import settings_with


def admitting(how: str, *, max_calls: int = 20) -> Settings:
    settings = settings_with()
    server = settings.server.model_copy(update={"admission": how, "max_calls": max_calls})
    return settings.model_copy(update={"server": server})


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as found:
        yield found


@pytest.mark.parametrize(
    ("before", "then", "admitted"),
    [("measured", "seats", [False, True]), ("seats", "measured", [True, False])],
)
def test_admission_follows_the_new_configuration(
    listener: socket.socket, before: str, then: str, admitted: list[bool]
) -> None:
    plan: Any = SimpleNamespace(settings=admitting(before))
    supervisor = Supervisor(plan, listener)
    seats, now = supervisor._seats, STARTUP_S  # its own start is over
    seats.open(1, 0.0)
    seats.begin(1, 1, now)
    seats.note_load(1, cores=0.9, lag_s=1.0, now=now)  # a worker at its limit

    let_in = [seats.admit(now) is not None]
    supervisor._apply_settings(admitting(then))
    let_in.append(seats.admit(now) is not None)

    assert let_in == admitted


def test_the_number_of_seats_follows_the_new_configuration(listener: socket.socket) -> None:
    plan: Any = SimpleNamespace(settings=admitting("seats", max_calls=1))
    supervisor = Supervisor(plan, listener)
    seats, now = supervisor._seats, 0.0
    seats.open(1, now)
    seats.begin(1, 1, now)
    assert seats.admit(now) is None

    supervisor._apply_settings(admitting("seats", max_calls=2))

    assert seats.admit(now) is not None


async def reasons(port: int) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])["reasons"]


@pytest.mark.parametrize("is_open", [True, False], ids=["workers have left", "workers load"])
async def test_without_a_worker_readiness_says_whether_we_start_or_stop(is_open: bool) -> None:  # noqa: FBT001
    plan: Any = SimpleNamespace(settings=settings_with())
    with bind_socket("127.0.0.1", 0) as port:
        supervisor = Supervisor(plan, port)
        arrivals = supervisor._make_listener()
        if is_open:
            arrivals.open()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(arrivals.run())
            said = [await reasons(port.getsockname()[1])]
            supervisor._server.stop(drain_s=30.0)
            said.append(await reasons(port.getsockname()[1]))
            running.cancel()

    assert said == [["starting"], ["draining"]]


@pytest.mark.parametrize(
    ("what", "seen"), [(signal.SIGHUP, (True, 0)), (signal.SIGTERM, (False, 1))]
)
async def test_a_signal_while_the_store_is_opened_is_handled_later(
    listener: socket.socket, what: signal.Signals, seen: tuple[bool, int]
) -> None:
    plan: Any = SimpleNamespace(settings=settings_with())
    supervisor: Any = Supervisor(plan, listener)
    errors = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))

    async def take_signal() -> None:
        os.kill(os.getpid(), what)
        await asyncio.sleep(0.05)

    async def nothing() -> None: ...

    async def served(_: Any) -> int:
        return DONE

    supervisor._shared = SimpleNamespace(open=take_signal, close=nothing)
    supervisor._serve_until_stopped = served
    async with asyncio.timeout(10):
        assert await supervisor.run(lambda _: None) == DONE

    assert not errors
    assert (supervisor._reloading.signal_pending, supervisor._signals) == seen
