"""Connections at the port: passed to a worker after their first bytes, closed if they send none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict

import pytest

from bot.health.readiness_rules import Readiness
from bot.workers import connections
from bot.workers.connections import ConnectionListener
from bot.workers.listener import bind_socket
from tests.bot.workers.descriptors import descriptors_left

CALL = b"POST /api/offer HTTP/1.1\r\n\r\n"
PAGE = b"GET /client/ HTTP/1.1\r\n\r\n"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READYZ = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


class Hands:
    """Accepts connections while workers are ready."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, bool]] = []
        self.named: list[str] = []
        self.there = True

    def take(self, connection: socket.socket, is_call: bool, name: str) -> bool:  # noqa: FBT001 - a Hand
        if self.there:
            self.taken.append((connection.recv(100), is_call))
            self.named.append(name)
        return self.there


def as_a_worker_says_it(reason: str) -> dict[str, object]:
    found = asdict(Readiness(ready=False, degraded=False, reasons=(reason,)))
    return json.loads(json.dumps(found))


@asynccontextmanager
async def door(
    hands: Hands, *, opens: asyncio.Event | None = None
) -> AsyncIterator[Callable[[bytes], "asyncio.Task[bytes]"]]:
    """Open the port, and yield a function that sends bytes through it and returns the answer.

    It opens at once, or when told.
    """
    with bind_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            arrivals = ConnectionListener(listener, hand=hands.take, is_open=opens is None)
            running = tasks.create_task(arrivals.run())
            opening = tasks.create_task(open_when(arrivals, opens)) if opens else None

            async def send(words: bytes) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(words)
                    return await reader.read()
                finally:
                    writer.close()

            yield lambda words: tasks.create_task(send(words))
            running.cancel()
            if opening:
                opening.cancel()


async def open_when(arrivals: ConnectionListener, opens: asyncio.Event) -> None:
    await opens.wait()
    arrivals.open()


async def test_a_connection_is_passed_to_a_worker_unread_and_calls_are_recognised() -> None:
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        assert [await send(CALL), await send(PAGE)] == [b"", b""]

    assert hands.taken == [(CALL, True), (PAGE, False)]


async def test_a_running_calls_connection_names_its_worker_and_is_no_new_call() -> None:
    again = b"GET /twilio/media/w12 HTTP/1.1\r\n\r\n"
    new = b"GET /twilio/media HTTP/1.1\r\n\r\n"
    odd = b"GET /twilio/media/../w12 HTTP/1.1\r\n\r\n"
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        for item in (again, new, odd):
            await send(item)

    assert hands.taken == [(again, False), (new, True), (odd, True)]
    assert hands.named == ["w12", "", ""]


async def test_connections_under_a_machines_path_are_told_apart_as_others_are() -> None:
    again = b"GET /m/a/plivo/media/w12 HTTP/1.1\r\n\r\n"
    new = b"GET /m/other-1/exotel/media HTTP/1.1\r\n\r\n"
    offer = b"POST /m/a/api/offer HTTP/1.1\r\n\r\n"
    page = b"GET /m/a/client/ HTTP/1.1\r\n\r\n"
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        for item in (again, new, offer, page):
            await send(item)

    assert hands.taken == [(again, False), (new, True), (offer, True), (page, False)]
    assert hands.named == ["w12", "", "", ""]


async def test_without_a_worker_the_answer_says_so() -> None:
    hands = Hands()
    hands.there = False
    async with door(hands) as send, asyncio.timeout(10):
        answer = await send(PAGE)

    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b"\r\n\r\nNo worker is available now.")


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_SILENT_S", 0.05)
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        assert await send(b"") == b""

    assert hands.taken == []


async def test_the_oldest_silent_connection_is_dropped_when_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_SILENT_CONNECTIONS", 2)
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        silent = [send(b"") for _ in range(3)]
        done, waiting = await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED)
        assert await send(PAGE) == b""
        for item in waiting:
            item.cancel()

    assert len(done) == 1
    assert hands.taken == [(PAGE, False)]


async def test_the_oldest_silent_connection_is_dropped_when_descriptors_run_out() -> None:
    hands = Hands()
    with bind_socket("127.0.0.1", 0) as listener, ExitStack() as callers:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(ConnectionListener(listener, hand=hands.take).run())
            strangers = [callers.enter_context(socket.socket()) for _ in range(2)]
            caller = callers.enter_context(socket.socket())
            with descriptors_left(2):
                for stranger in (*strangers, caller):
                    stranger.settimeout(0)
                    await asyncio.get_running_loop().sock_connect(stranger, listener.getsockname())
                await asyncio.get_running_loop().sock_sendall(caller, PAGE)
                while not hands.taken:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
            running.cancel()

    assert hands.taken == [(PAGE, False)]


async def test_connections_during_the_start_wait_for_workers() -> None:
    hands, opens = Hands(), asyncio.Event()
    async with door(hands, opens=opens) as send, asyncio.timeout(10):
        early = [send(CALL), send(PAGE), send(HEALTHZ)]
        await asyncio.sleep(0.05)
        before = list(hands.taken)
        opens.set()
        answers = [await item for item in early]

    assert before == []
    assert answers == [b"", b"", b""]
    assert sorted(hands.taken) == sorted([(CALL, True), (PAGE, False), (HEALTHZ, False)])


async def test_during_a_long_start_the_health_check_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEALTHZ_WAIT_S", 0.05)
    hands, opens = Hands(), asyncio.Event()
    async with door(hands, opens=opens) as send, asyncio.timeout(10):
        waiting = send(PAGE)
        answers = [await send(HEALTHZ), await send(HEALTHZ)]
        opens.set()
        assert await waiting == b""

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert all(answer.endswith(b'\r\n\r\n{"status":"ok"}') for answer in answers)
    assert hands.taken == [(PAGE, False)]


async def test_without_a_worker_the_health_check_is_answered() -> None:
    hands = Hands()
    hands.there = False
    async with door(hands) as send, asyncio.timeout(10):
        assert (await send(HEALTHZ)).startswith(b"HTTP/1.1 200")


async def test_readiness_is_answered_at_once_while_workers_load() -> None:
    hands, opens = Hands(), asyncio.Event()
    async with door(hands, opens=opens) as send, asyncio.timeout(10):
        head, _, body = (await send(READYZ)).partition(b"\r\n\r\n")
        opens.set()

    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head.splitlines()
    assert json.loads(body) == as_a_worker_says_it("starting")
    assert hands.taken == []


async def test_without_a_worker_readiness_names_the_reason() -> None:
    hands = Hands()
    hands.there = False
    async with door(hands) as send, asyncio.timeout(10):
        head, _, body = (await send(READYZ)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body) == as_a_worker_says_it("starting")


async def test_a_ready_worker_answers_readiness_itself() -> None:
    hands = Hands()
    async with door(hands) as send, asyncio.timeout(10):
        assert await send(READYZ) == b""

    assert hands.taken == [(READYZ, False)]


@pytest.mark.parametrize(
    ("asked", "status"),
    [("HEAD /healthz", 200), ("GET /healthz?at=1", 200), ("HEAD /readyz", 503)],
)
async def test_a_health_check_in_another_form_is_answered_in_it(asked: str, status: int) -> None:
    hands = Hands()
    hands.there = False
    async with door(hands) as send, asyncio.timeout(10):
        answer = await send(f"{asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert bool(body) is not asked.startswith("HEAD")


async def test_a_bounded_number_waits_for_workers_and_the_others_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_WAITING", 1)
    hands, opens = Hands(), asyncio.Event()
    async with door(hands, opens=opens) as send, asyncio.timeout(10):
        both = [send(PAGE), send(PAGE)]
        done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        opens.set()
        await asyncio.wait(waiting)

    assert [item.result()[:12] for item in done] == [b"HTTP/1.1 503"]
    assert hands.taken == [(PAGE, False)]


async def test_a_port_that_closes_before_it_opened_leaves_no_connection_waiting() -> None:
    with bind_socket("127.0.0.1", 0) as listener:
        there = ConnectionListener(listener, hand=Hands().take, is_open=False)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(there.run())
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(HEALTHZ)
            await asyncio.sleep(0.05)
            running.cancel()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
