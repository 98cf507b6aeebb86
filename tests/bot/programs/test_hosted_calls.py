"""Calls of a stopping host end with a goodbye, in time, and count as no failure."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn

from bot.call.switchboard import GOODBYE_S, RunningCall, Switchboard
from bot.do_not_call import opt_outs
from bot.programs.hosted import SERVER_CLOSE_S, HostedCalls, HostedServer
from bot.workers import process as opening
from operations.after_call import work
from operations.record import record_listener
from tests.virtual_time import BEGIN_S
from transports.leg import Leg, LegFacts
from transports.pool import SwitchboardFullError


class Line:
    facts = LegFacts(transport="test", sample_rate_hz=8000)


class Chat:
    """A call that lasts until it is told to end, and longer if it ignores that."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.call_id = "c"
        self.ends: list[str] = []
        self._is_deaf = is_deaf
        self._over = asyncio.Event()

    async def run(self) -> None:
        await self._over.wait()

    async def end(self, reason: str) -> None:
        self.ends.append(f"goodbye: {reason}")
        if not self._is_deaf:
            self._over.set()

    async def move(self, *, at_quiet: bool) -> None:
        raise AssertionError("no other machine shall go on with it")

    async def cancel(self, reason: str) -> None:
        self.ends.append(f"cut: {reason}")
        self._over.set()


CLOSING_S = sum(  # the waits of the process around a call after it, one after the other
    (
        *(opening.LAST_WORDS_S, work.LAST_S, opt_outs.LIST_AT_END_S),
        *(
            record_listener.LAST_S,
            record_listener.LAST_S,
        ),  # the batch under way, and those that wait
    )
)
LINE: Leg = Line()  # type: ignore[assignment]


def switchboard() -> Switchboard:
    def make_call(leg: Leg) -> RunningCall:
        raise AssertionError("the tests bring their own calls")

    return Switchboard(seats=1, make_call=make_call, emit=lambda _: None)


async def answer(calls: HostedCalls, chat: Chat) -> None:
    with calls.count_call():
        board = switchboard()
        with calls.include(board):
            await board.answer(LINE, chat)


def passed_s() -> float:
    return asyncio.get_running_loop().time() - BEGIN_S


@pytest.mark.virtual_time
async def test_each_call_may_last_for_the_drain_time_and_then_says_goodbye() -> None:
    calls, polite, deaf = HostedCalls(), Chat(), Chat(is_deaf=True)
    async with asyncio.TaskGroup() as tasks:
        for item in (polite, deaf):
            tasks.create_task(answer(calls, item))
        await asyncio.sleep(0)
        await calls.close(drain_s=30.0)

    assert polite.ends == ["goodbye: shutdown"]
    assert deaf.ends == ["goodbye: shutdown", "cut: shutdown"]
    assert passed_s() == pytest.approx(30.0 + GOODBYE_S)


@pytest.mark.virtual_time
async def test_a_calls_resources_have_their_full_time_to_close() -> None:
    calls = HostedCalls()
    with calls.count_call():
        await calls.close(drain_s=30.0)

    assert passed_s() == pytest.approx(CLOSING_S)


async def test_a_call_that_arrives_during_the_stop_is_refused() -> None:
    calls = HostedCalls()
    await calls.close(drain_s=0.0)

    with pytest.raises(SwitchboardFullError):
        async with asyncio.timeout(10):
            await answer(calls, Chat())


async def nothing(scope: object, receive: object, send: object) -> None:
    """Run an application without requests."""


def hosted_server(calls: HostedCalls, app: Callable[..., Any] = nothing) -> HostedServer:
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=round(SERVER_CLOSE_S),
    )
    return HostedServer(config, calls, drain_s=30.0)


async def test_a_signal_ends_the_server_and_is_not_raised_again() -> None:
    server = hosted_server(HostedCalls())
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)

    assert server.should_exit


@pytest.mark.virtual_time
async def test_a_call_that_uses_its_full_closing_time_is_not_cancelled() -> None:
    calls, comes, closed = HostedCalls(), asyncio.Event(), asyncio.Event()

    async def call(scope: object, receive: object, send: object) -> None:
        with calls.count_call():
            comes.set()
            await asyncio.sleep(CLOSING_S - 0.2)
            closed.set()

    server = hosted_server(calls, call)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        _, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await comes.wait()
        signal.raise_signal(signal.SIGTERM)
    writer.close()

    assert closed.is_set()


async def test_a_second_signal_cuts_the_calls() -> None:
    calls, chat = HostedCalls(), Chat()
    server = hosted_server(calls)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        tasks.create_task(answer(calls, chat))
        while not server.started:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)

    assert chat.ends == ["cut: shutdown"]
