"""An event loop whose time passes only while nothing happens: an hour of sleep takes no time.

The rules:

- While anything can be done, no time passes. When nothing can, time jumps to the next timer.
- Sockets are real. Bytes that were sent but have not arrived yet get `GRACE_S` of real time first.
- A job for an executor is done in the loop's own thread, so that a model takes no time at all. It
  must not wait for the loop.
- SQLite has a thread of its own: while it is asked for something, no time passes either. Nor does
  it while the menu's ear is asked, which is a process, or while the end of any process is awaited.
- `time.monotonic` and its like tell the loop's time while it runs, and the real one otherwise.
  `datetime.now` always tells the real one.
- It begins at the same moment each time, so that even rounding repeats.

Other processes have real time: waiting for one times out at once, or never.

Source: the recipe was tried on Pipecat 1.14.0, whose modules all call `time.x()` at the moment.
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

import aiosqlite
import pytest

BEGIN_S = 1_048_576.0  # of the monotonic clock: more than most machines are up
BEGIN_UTC_S = 1_767_225_600.0  # of the time of day: 2026-01-01, 00:00 UTC
# Of real time, for sent bytes to arrive. Linux delivers them within `send` on loopback: of 2,323
# such waits in ten minutes of a language model's stage none was needed. For kernels that do not.
GRACE_S = 0.00005
STUCK_S = 30.0  # of real time, in which something must happen when no timer is set

T = TypeVar("T")
_BOUND_EARLY = ("aiohttp.connector",)  # says `from time import monotonic`


class Clock:
    """Seconds that pass only when the loop lets them."""

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
    """Waits for real sockets, and lets time jump when they are quiet."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.stirred = False  # something was sent since time last passed
        self.jumps = 0
        self.asked = 0  # of a thread or a process that has not answered yet

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
    """The event loop; `loop.time()` and the module `time` tell its own time while it runs."""

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
        """Do the job on the next round, in this thread, so that its end is certain."""
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
    """Replace the clock of the module `time` by this one."""
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
    """Notice everything that a socket sends: data, its end, its beginning."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("send", "sendmsg", "sendto", "shutdown", "close", "connect"):
            patch.setattr(socket.socket, name, _noticed(getattr(socket.socket, name), idle))
        for owner, name in _done_elsewhere():
            patch.setattr(owner, name, _waited_for(getattr(owner, name), idle))
        yield


def _done_elsewhere() -> Iterator[tuple[type, str]]:
    """Yield the methods that wait for a thread or a process, which take real time."""
    for name in ("_connect", "_execute", "close"):
        yield aiosqlite.Connection, name
    yield asyncio.subprocess.Process, "wait"
    if "providers.menu_ear" in sys.modules:  # a copy that mutants are made of has no providers
        yield sys.modules["providers.menu_ear"].MenuEar, "_ask_process"


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
