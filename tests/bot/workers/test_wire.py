"""The connection between our processes, which carries all calls of a worker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from bot.workers.wire import LINE_BYTES, Wire, WireError
from tests.virtual_time import BEGIN_S
from transports.pool import ASK_PROCESS_S

if TYPE_CHECKING:
    from tests.virtual_time import VirtualLoop


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[Wire, Wire]]:
    here, there = (Wire(item) for item in socket.socketpair())
    async with asyncio.TaskGroup() as tasks:
        for item in (here, there):
            tasks.create_task(item.run())
            await item.open.wait()
        yield here, there
        here.close()


@pytest.mark.parametrize(
    "last", [b'{"tell": "entry", "en', b"7", b"", b'{"tell": "begin"}'], ids=str
)
async def test_a_peer_that_dies_within_a_message_closes_only_the_connection(last: bytes) -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    heard: list[object] = []
    wire.on("ready", heard.append)
    there.sendall(b'{"tell": "ready"}\n' + last)
    there.close()

    async with asyncio.timeout(10):
        await wire.run()

    assert heard == [{"tell": "ready"}]
    assert wire.gone.is_set()


@pytest.mark.parametrize("word", [b"nonsense", b"\xff", b"[1]", b"null"], ids=str)
async def test_an_unreadable_message_is_skipped(word: bytes) -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    heard: list[object] = []
    wire.on("ready", heard.append)
    there.sendall(word + b'\n{"tell": "ready"}\n')
    there.close()

    async with asyncio.timeout(10):
        await wire.run()

    assert heard == [{"tell": "ready"}]


@pytest.mark.virtual_time
async def test_an_answer_that_came_while_our_loop_stalled_counts() -> None:
    loop = cast("VirtualLoop", asyncio.get_running_loop())

    async def admit(_: Mapping[str, Any]) -> str:
        loop.clock.now += 2 * ASK_PROCESS_S
        return "a seat"

    async with both_ends() as (here, there):
        there.answer("admit", admit)

        assert await here.ask("admit") == "a seat"


async def test_a_message_that_is_too_long_fails_alone() -> None:
    async def read(asked: Mapping[str, Any]) -> str:
        return "x" * asked["length"]

    async with both_ends() as (here, there):
        there.answer("read", read)
        with pytest.raises(WireError, match="the reply is too long"):
            await here.ask("read", length=LINE_BYTES)
        with pytest.raises(WireError, match="too long"):
            await here.ask("read", length=1, more="x" * LINE_BYTES)
        assert not here.send("entry", text="x" * LINE_BYTES)

        assert await here.ask("read", length=1) == "x"
        assert len(await here.ask("read", length=LINE_BYTES - 100)) == LINE_BYTES - 100


async def test_a_reply_that_cannot_be_sent_fails_alone() -> None:
    async def read(asked: Mapping[str, Any]) -> Any:
        del asked
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        return deep

    async with both_ends() as (here, there):
        there.answer("read", read)
        there.answer("admit", lambda _: asyncio.sleep(0, "a seat"))
        with pytest.raises(WireError, match="RecursionError"):
            await here.ask("read")

        assert await here.ask("admit") == "a seat"


@pytest.mark.virtual_time
async def test_a_peer_that_does_not_answer_is_given_up() -> None:
    async def admit(_: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    async with both_ends() as (here, there):
        there.answer("admit", admit, revocable=True)
        with pytest.raises(WireError, match="within 2 s"):
            await here.ask("admit")

        assert asyncio.get_running_loop().time() - BEGIN_S == pytest.approx(ASK_PROCESS_S)
