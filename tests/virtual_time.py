"""An event loop on virtual time: an hour of sleep takes no real time.

The rules:

- While there is anything to do, no time passes. Otherwise time jumps to the next timer.
- Sockets are real. Sent bytes get `GRACE_S` of real time to arrive before time jumps.
- An executor's job runs in the loop's own thread, so that a model takes no virtual time. The job
  must not wait for the loop.
- An owner's asynchronous function runs in the loop, too, so that its waits take virtual time.
- A query of SQLite runs in the loop's own thread, too: changing threads would take longer. Only a
  transaction begins in that thread, where it may wait for another connection's lock.
- No time passes during a wait for SQLite's thread, for the process of the menu's recogniser or for
  the end of any process.
- The functions of the module `time` return the loop's time while it runs, and real time otherwise.
  `datetime.now` always returns real time.
- Every loop begins at the same moment, so that even rounding errors repeat.

Other processes run in real time: a wait for one times out at once or never.

Source: tried on Pipecat 1.14.0, all of whose modules look up `time.x` at each call.
"""

import asyncio
import selectors
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from time import sleep as _really_sleep
from typing import Any, TypeVar
from weakref import WeakSet

import aiosqlite
import pytest

BEGIN_S = 1_048_576.0  # of the monotonic clock: longer than most machines' uptime
BEGIN_UTC_S = 1_767_225_600.0  # of the time of day: 2026-01-01, 00:00 UTC
# Real time for sent bytes to arrive, for kernels that need it. Linux delivers them within `send` on
# loopback: none of 2,323 such waits in ten minutes of a language model's stage was needed.
GRACE_S = 0.00005
STUCK_S = 30.0  # of real time: without a timer, the loop fails if nothing happens for this long

T = TypeVar("T")
_in_sqlites_thread = aiosqlite.Connection._execute
_BOUND_EARLY = ("aiohttp.connector",)  # uses `from time import monotonic`


class Clock:
    """A clock that only the loop advances."""

    def __init__(self) -> None:
        self.now = BEGIN_S

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return round(self.now * 1e9)

    def time(self) -> float:
        return self.now - BEGIN_S + BEGIN_UTC_S

    def time_ns(self) -> int:
        return round(self.time() * 1e9)


class Idle(selectors.DefaultSelector):
    """Waits for real sockets, and advances the clock while they are quiet."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.stirred = False  # something was sent since time last passed
        self.jumps = 0
        self.asked = 0  # pending requests to threads and processes

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if found := super().select(0):
            return found
        if timeout is not None and timeout <= 0:
            return []
        if timeout is None or self.asked:
            return self._wait()
        if self.stirred:
            self.stirred = False
            _really_sleep(GRACE_S)
            if found := super().select(0):
                return found
        self.clock.now += timeout
        self.jumps += 1
        return []

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        if found := super().select(STUCK_S):
            return found
        raise RuntimeError(f"nothing is due, and nothing was written for {STUCK_S:g} s")


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop; while it runs, `loop.time()` and the module `time` read its clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.idle = Idle(self.clock)
        super().__init__(self.idle)

    def time(self) -> float:
        return self.clock.now

    def run_forever(self) -> None:
        with _told_by(self.clock), _watched(self.idle):
            super().run_forever()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run the job in this thread on the loop's next iteration, so that timing repeats."""
        del executor
        job: asyncio.Future[T] = self.create_future()
        self.call_soon(_do, job, func, *args)
        return job


def _do(job: asyncio.Future[T], func: Callable[..., T], *args: Any) -> None:
    if job.cancelled():
        return
    try:
        result = func(*args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as failed:  # noqa: BLE001 - the waiter gets it
        job.set_exception(failed)
    else:
        job.set_result(result)


@contextmanager
def _told_by(clock: Clock) -> Iterator[None]:
    """Make the functions of the module `time` read this clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("monotonic", "monotonic_ns", "time", "time_ns"):
            patch.setattr(time, name, getattr(clock, name))
        patch.setattr(time, "perf_counter", clock.monotonic)
        patch.setattr(time, "perf_counter_ns", clock.monotonic_ns)
        for name in _BOUND_EARLY:
            if name in sys.modules:
                patch.setattr(sys.modules[name], "monotonic", clock.monotonic)
        yield


@contextmanager
def _watched(idle: Idle) -> Iterator[None]:
    """Notice everything that sockets send, and every wait for a thread or a process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("send", "sendmsg", "sendto", "shutdown", "close", "connect"):
            patch.setattr(socket.socket, name, _noticed(getattr(socket.socket, name), idle))
        if "bot.tools.own_functions" in sys.modules:
            patch.setattr(sys.modules["bot.tools.own_functions"], "in_owner_loop", _here)
        patch.setattr(aiosqlite.Connection, "_execute", _executed_here)
        for owner, name in _done_elsewhere():
            patch.setattr(owner, name, _waited_for(getattr(owner, name), idle))
        yield


def _done_elsewhere() -> Iterator[tuple[type, str]]:
    """Yield the methods that wait for a thread or a process, which take real time."""
    for name in ("_connect", "_execute", "close"):
        yield aiosqlite.Connection, name
    yield asyncio.subprocess.Process, "wait"
    if "providers.menu_ear" in sys.modules:  # the copy for `make mutants` has no providers
        yield sys.modules["providers.menu_ear"].MenuEar, "_ask_process"


_BEGINNING = WeakSet[aiosqlite.Connection]()  # whose thread waits until it may write


async def _executed_here(
    connection: aiosqlite.Connection, work: Callable[..., T], *args: Any, **more: Any
) -> T:
    if args and args[0] == "BEGIN IMMEDIATE":

        def begin() -> T:
            try:
                return work(*args, **more)
            finally:
                _BEGINNING.discard(connection)

        _BEGINNING.add(connection)
        return await _in_sqlites_thread(connection, begin)
    if connection in _BEGINNING:  # cancelled, but the thread still waits for another writer
        return await _in_sqlites_thread(connection, work, *args, **more)
    await asyncio.sleep(0)
    if not connection._running or not connection._connection:
        raise ValueError("Connection closed")
    return work(*args, **more)


async def _here(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _noticed(method: Callable[..., T], idle: Idle) -> Callable[..., T]:
    def send(*args: Any) -> T:
        idle.stirred = True
        return method(*args)

    return send


def _waited_for(method: Callable[..., Awaitable[T]], idle: Idle) -> Callable[..., Awaitable[T]]:
    async def ask(*args: Any, **more: Any) -> T:
        idle.asked += 1
        try:
            return await method(*args, **more)
        finally:
            idle.asked -= 1

    return ask
