"""The clock of the stages' tests: time jumps, and nothing else changes."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter as real_s  # bound before it can be replaced
from time import sleep as really_sleep
from typing import TypeVar

import aiosqlite
import pytest

from lab.simulators.clock import monotonic as labs_clock
from providers.menu_ear import MenuEar
from runtime.clock import monotonic as our_clock
from tests.virtual_time import BEGIN_S, BEGIN_UTC_S, VirtualLoop

T = TypeVar("T")
HOUR_S = 3600.0


def on_virtual_time(scene: Callable[[], Awaitable[T]]) -> T:
    async def play() -> T:
        return await scene()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(play())


@pytest.fixture
async def began_at() -> AsyncIterator[float]:
    """A fixture runs on the loop of its test."""
    yield time.monotonic()
    assert asyncio.get_running_loop().time() >= BEGIN_S


@pytest.mark.virtual_time
async def test_an_hour_of_sleep_is_over_in_a_moment(began_at: float) -> None:
    really_began = real_s()

    await asyncio.sleep(HOUR_S)

    assert real_s() - really_began < 0.5
    assert time.monotonic() == began_at + HOUR_S
    assert time.time() == BEGIN_UTC_S + HOUR_S
    assert our_clock() == labs_clock() == time.perf_counter() == asyncio.get_running_loop().time()
    assert time.monotonic_ns() == round(time.monotonic() * 1e9)


@pytest.mark.virtual_time
async def test_a_time_limit_is_met_to_the_millisecond() -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(12.5):
            await asyncio.Event().wait()

    assert time.monotonic() - began == pytest.approx(12.5, abs=1e-6)


@pytest.mark.virtual_time
async def test_no_time_passes_while_a_transaction_waits_for_another(tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    connect = partial(aiosqlite.connect, file, check_same_thread=False, isolation_level=None)
    async with connect() as one, connect() as other:
        began = time.monotonic()
        await one.execute("BEGIN IMMEDIATE")

        async with asyncio.timeout(0.01), asyncio.TaskGroup() as tasks:
            tasks.create_task(other.execute("BEGIN IMMEDIATE"))
            await asyncio.sleep(0)
            await one.commit()

        assert other.in_transaction
        assert time.monotonic() == began


@pytest.mark.virtual_time
async def test_no_time_passes_while_a_database_closes() -> None:
    database = await aiosqlite.connect(":memory:", check_same_thread=False)
    stop = database.stop

    def stop_late() -> asyncio.Future[None] | None:
        database._tx.put_nowait((None, lambda: really_sleep(0.05)))  # ahead of the thread's end
        return stop()

    database.stop = stop_late
    began = time.monotonic()
    async with asyncio.timeout(0.01):
        await database.close()

    assert time.monotonic() == began


@pytest.mark.virtual_time
async def test_no_time_passes_until_a_process_has_ended() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(0.05)"
    )
    began = time.monotonic()

    async with asyncio.timeout(0.01):
        await process.wait()

    assert time.monotonic() == began


@pytest.mark.virtual_time
async def test_no_time_passes_while_the_menu_recogniser_is_asked() -> None:
    ear = MenuEar()
    began = time.monotonic()

    async with asyncio.timeout(0.01):
        await ear.warm()  # starts a process, which loads a model

    assert ear._running  # it has answered, and is kept
    assert time.monotonic() == began
    await ear.close()


async def talk() -> list[tuple[float, str]]:
    """Two ends of a socket answer each other; each line is recorded with its moment."""
    heard: list[tuple[float, str]] = []
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append((time.monotonic() - BEGIN_S, f"there: {line.decode().strip()}"))
            await asyncio.sleep(0.015)
            writer.write(line)
        writer.close()
        done.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(20):
            writer.write(f"{number}\n".encode())
            line = await reader.readline()
            heard.append((time.monotonic() - BEGIN_S, f"here: {line.decode().strip()}"))
            await asyncio.to_thread(really_sleep, 0.001)
            await asyncio.sleep(0.1)
        writer.close()
        await done.wait()
    return heard


@pytest.mark.virtual_time
async def test_two_sockets_talk_in_order_while_time_jumps() -> None:
    heard = await talk()

    assert [said for _, said in heard] == [
        f"{where}: {number}" for number in range(20) for where in ("there", "here")
    ]
    assert [at for at, _ in heard[:4]] == pytest.approx([0.0, 0.015, 0.115, 0.13], abs=1e-6)


@pytest.mark.virtual_time
async def test_many_bytes_in_transit_arrive_before_time_passes() -> None:
    gone = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        writer.close()
        gone.set()

    began = time.monotonic()
    async with (
        asyncio.timeout(0.001),
        await asyncio.start_server(swallow, "127.0.0.1", 0) as server,
    ):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(bytes(20_000_000))
        await writer.drain()
        writer.close()
        await gone.wait()

    assert time.monotonic() == began


@pytest.mark.virtual_time
async def test_work_in_a_thread_takes_no_time() -> None:
    began, really_began = time.monotonic(), real_s()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(tick())
        await asyncio.to_thread(really_sleep, 0.1)
        ticked = ticks
        ticking.cancel()

    assert real_s() - really_began >= 0.1
    assert time.monotonic() == began
    assert ticked == 0


def test_the_same_scene_happens_at_the_same_moments_each_time() -> None:
    first, second, third = (on_virtual_time(talk) for _ in range(3))

    assert first == second == third


def test_the_real_clock_is_untouched_after_the_test() -> None:
    clocks = (time.monotonic, time.time, time.perf_counter, time.monotonic_ns, socket.socket.send)
    before = time.monotonic()

    on_virtual_time(lambda: asyncio.sleep(HOUR_S))

    after = (time.monotonic, time.time, time.perf_counter, time.monotonic_ns, socket.socket.send)
    assert clocks == after
    assert time.monotonic() - before < 5.0


@pytest.mark.virtual_time
@pytest.mark.real_time
async def test_a_real_time_test_among_them_has_real_time() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert time.monotonic is our_clock.__globals__["time"].monotonic
