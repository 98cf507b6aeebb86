"""A process of callers, who hold calls as planned; each call is sent back when it has ended."""

import asyncio
import multiprocessing
import random
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

from benchmarks.caller import HeldCall, Script, hold_call
from runtime import clock

PAUSE_S: Final = (0.2, 0.8)  # between an answer and the next question, so that callers drift apart
EXIT_S: Final = 5.0  # time for the process to end by itself
GO: Final = "go"

Message: TypeAlias = "HeldCall | str"
"""A call that has ended, or a signal: `greeted` or `done`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPlan:
    """One caller, who may call again and again.

    Attributes:
        number: The caller's number, which seeds the pauses.
        rings_s: When the caller rings, in seconds after the run's start.
        questions: The questions of each call, in order.
        speaks_s: In a plan with a signal, how long after it the caller speaks.
        asks_every_s: The time from the ring to the first question, and from each question to the
            next, unless an answer lasts longer. `None`: a question follows soon after each answer.
        until_s: When the caller stops making further calls; `None` for a single call.
    """

    number: int
    rings_s: float
    questions: tuple[str, ...]
    speaks_s: float = 0.0
    asks_every_s: float | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdPlan:
    """The plan of one process of callers.

    Attributes:
        script: Data that callers share.
        callers: The callers.
        start_at: The run's start, on the monotonic clock.
        asks_on_signal: Whether all callers, once greeted, wait for a signal before they ask.
    """

    script: Script
    callers: tuple[CallerPlan, ...]
    start_at: float
    asks_on_signal: bool = False


class Crowd:
    """A handle on a running process of callers."""

    def __init__(self, pid: int, pipe: Connection) -> None:
        self.pid = pid
        self._pipe = pipe
        self._ended: list[HeldCall] = []

    async def calls(self) -> list[HeldCall]:
        """Wait until the last call, or the process, has ended; return all calls."""
        while await self._next_signal() != "done":
            pass
        return self._ended

    async def wait_until_greeted(self) -> None:
        """Wait until each caller has been greeted or has given up, or the process has ended."""
        while await self._next_signal() not in ("greeted", "done"):
            pass

    async def _next_signal(self) -> str:
        """Return the next signal, `done` at the end of the process; keep calls sent before it."""
        while True:
            try:
                received: Message = await asyncio.to_thread(self._pipe.recv)
            except EOFError:
                return "done"
            if isinstance(received, str):
                return received
            self._ended.append(received)

    def go(self, at: float) -> None:
        """Give the signal to ask, effective at a moment on the monotonic clock."""
        self._pipe.send((GO, at))


@asynccontextmanager
async def crowd(plan: CrowdPlan) -> AsyncIterator[Crowd]:
    """Run callers in a separate process during the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_child, args=(theirs, plan), name="callers")
    process.start()
    theirs.close()
    try:
        yield Crowd(process.pid or 0, ours)
    finally:
        ours.close()
        await asyncio.to_thread(process.join, EXIT_S)
        if process.is_alive():
            process.kill()
            await asyncio.to_thread(process.join, EXIT_S)


def _run_child(pipe: Connection, plan: CrowdPlan) -> None:
    asyncio.run(_call_all(pipe, plan))


class _Sender:
    """Sends one object at a time, because several threads send and a pipe allows one writer."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message; blocks."""
        with self._lock:
            self._pipe.send(message)


async def _call_all(pipe: Connection, plan: CrowdPlan) -> None:
    """Run all callers of this process; cancel them if the parent process ends."""
    sender = _Sender(pipe)
    signal = _StartSignal(sender, len(plan.callers)) if plan.asks_on_signal else None
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(
        pipe.fileno(), lambda: _read_start_signal(pipe, signal, gone)
    )
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_call_as_planned(sender, plan, caller, signal=signal))
            for caller in plan.callers
        ]
        watch = group.create_task(_cancel_when_gone(gone, tasks))
        await asyncio.wait(tasks)
        watch.cancel()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    if not gone.is_set():
        sender.send("done")


async def _cancel_when_gone(gone: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    await gone.wait()  # the parent process has ended
    for task in tasks:
        task.cancel()


def _read_start_signal(
    pipe: Connection, signal: "_StartSignal | None", gone: asyncio.Event
) -> None:
    try:
        _, at = pipe.recv()
    except EOFError:
        asyncio.get_running_loop().remove_reader(pipe.fileno())
        gone.set()
        return
    if signal is not None:
        signal.go(at)


class _StartSignal:
    """Makes callers wait until all have been greeted and the signal was given."""

    def __init__(self, sender: _Sender, callers: int) -> None:
        self._sender = sender
        self._not_greeted = callers
        self._given = asyncio.Event()
        self._at = 0.0

    def go(self, at: float) -> None:
        """Give the signal, effective at a moment on the monotonic clock."""
        self._at = at
        self._given.set()

    def ready(self) -> None:
        """Count one caller who has been greeted, or never will be."""
        self._not_greeted -= 1
        if self._not_greeted == 0:
            self._sender.send("greeted")

    async def wait(self, speaks_s: float) -> None:
        """Count a caller as greeted, and wait until `speaks_s` after the signal."""
        self.ready()
        await self._given.wait()
        await asyncio.sleep(max(0.0, self._at + speaks_s - clock.monotonic()))


async def _call_as_planned(
    sender: _Sender, plan: CrowdPlan, caller: CallerPlan, *, signal: _StartSignal | None
) -> None:
    """Hold one caller's calls, and send each back when it has ended."""
    dice = random.Random(caller.number)  # noqa: S311 - pauses, not a secret
    await asyncio.sleep(max(0.0, plan.start_at + caller.rings_s - clock.monotonic()))
    while True:
        held = HeldCall(number=caller.number, rang_at=clock.monotonic())
        waited = False

        async def cue(index: int) -> None:
            nonlocal waited
            if signal is not None and index == 0:
                waited = True
                await signal.wait(caller.speaks_s)
            elif caller.asks_every_s is not None:
                due_s = caller.rings_s + (index + 1) * caller.asks_every_s
                await asyncio.sleep(max(0.0, plan.start_at + due_s - clock.monotonic()))
            elif index:
                await asyncio.sleep(dice.uniform(*PAUSE_S))

        await hold_call(plan.script, held, questions=caller.questions, cue=cue)
        if signal is not None and not waited:
            signal.ready()  # the others do not wait for a caller who was refused
        await asyncio.to_thread(sender.send, held)
        if caller.until_s is None or clock.monotonic() >= plan.start_at + caller.until_s:
            return
        await asyncio.sleep(dice.uniform(*PAUSE_S))
