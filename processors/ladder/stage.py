"""A ladder of providers in place of one service: carries out the actions of its decision, in order.

Providers report from their own tasks, which may be cancelled at any time. So reports wait in an
inbox that the stage's own task reads. This task and the processing of the call's frames share a
lock: a decision handles one event at a time, and its actions are done before the next event.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from loguru import logger
from pipecat.frames.frames import StartFrame
from pipecat.processors.frame_processor import FrameProcessor, FrameProcessorSetup

from fallbacks.retrying import Backoff
from processors.ladder.gate import Seat
from processors.ladder.rung_pipeline import STOP_S, RungPipeline


class Rung:
    """The part of a rung that all stages share; each stage has its own subclass.

    Attributes:
        name: As configured.
        pipe: The provider's service in its own pipeline.
        seat: This call's place at the rung; always granted if connections are not limited.
        attempt: The current attempt, if any.
        opened: Whether connecting has begun; a cold standby connects when it is first asked.
    """

    def __init__(self, pipe: RungPipeline, *, seat: Seat) -> None:
        self.name = pipe.name
        self.pipe = pipe
        self.seat = seat
        self.attempt: int | None = None
        self.opened = False
        self._setup_args: tuple[FrameProcessor, FrameProcessorSetup] | None = None
        self._start_frame: StartFrame | None = None

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Store what `open` needs; nothing is connected yet."""
        self._setup_args = (owner, setup)

    def open(self) -> bool:
        """Begin to connect, unless that was done; return whether it has begun.

        False before `setup`, or if the rung has no free place for this call.
        """
        if self.opened:
            return True
        if self._setup_args is None or not self.seat.take():
            return False
        self.opened = True
        self.pipe.setup(*self._setup_args)
        if self._start_frame:
            self.pipe.start(self._start_frame)
        return True

    def start(self, frame: StartFrame) -> None:
        """Start the service as soon as it is set up."""
        self._start_frame = frame
        if self.opened:
            self.pipe.start(frame)

    async def close(self, *, within_s: float = STOP_S) -> None:
        """Close the connection, if it was opened, and return the seat."""
        if self.opened:
            await self.pipe.cleanup(within_s=within_s)
        self.seat.leave()


WakeAt: TypeAlias = Callable[[], float | None]
"""Returns when to act next; `None` if only after a ring."""

Act: TypeAlias = Callable[[float], Awaitable[None]]
"""Does what is due at the given moment."""

AGAIN_S: Final = 0.05  # after a fault in our code, doubled after each further one (chosen)
MAX_AGAIN_S: Final = 5.0  # the longest such wait, and the interval of its log lines (chosen)


class Alarm:
    """Wakes a waiting task when its time has come or something has changed.

    Moments are monotonic, in seconds. A decision names its next timer, `wake_at`; code that may
    have changed it rings the alarm:

        alarm = Alarm(clock)
        alarm.start(processor, lambda: decision.wake_at, act)
        alarm.ring()  # something changed: `act` runs, and `wake_at` is read again
        await alarm.stop()
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._now = clock
        self._ringing = asyncio.Event()
        self._running: tuple[FrameProcessor, asyncio.Task[None]] | None = None

    def start(self, owner: FrameProcessor, wake_at: WakeAt, act: Act) -> None:
        """Run in a task of `owner` until `stop`; a second call does nothing."""
        if self._running is None:
            task = owner.create_task(self.run(wake_at, act), f"{owner.name}: watch")
            self._running = owner, task

    async def stop(self) -> None:
        """End the task; a task that calls this itself ends with its owner instead."""
        running, self._running = self._running, None
        if running is not None:
            owner, task = running
            if task is not asyncio.current_task():
                await owner.cancel_task(task)

    def ring(self) -> None:
        """Wake the waiting task; if none waits, the next wait returns at once."""
        self._ringing.set()

    async def wait(self, until: float | None) -> float:
        """Wait until the alarm rings or the moment comes; return the time.

        A timer may fire slightly early: after waiting for `until`, no earlier time is returned.
        Only one task may wait at a time.

        Args:
            until: `None` or infinity if only a ring ends the wait.
        """
        wait_s = None if until is None else until - self._now()
        if not self._ringing.is_set() and (wait_s is None or wait_s > 0):
            try:
                async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                    await self._ringing.wait()
            except TimeoutError:
                return self._now() if until is None else max(until, self._now())
        self._ringing.clear()
        return self._now()

    async def run(self, wake_at: WakeAt, act: Act) -> None:
        """Act at once, and again whenever the alarm rings or `wake_at` has come; never returns.

        An exception is logged, and `act` is called again: perhaps only one report was faulty,
        and without this task a stage would stay silent until the end of the call.
        """
        now, again_s = self._now(), AGAIN_S
        while True:
            try:
                await act(now)
                now, again_s = await self.wait(wake_at()), AGAIN_S
            except Exception as error:  # noqa: BLE001 - a fault in our code must not end a stage
                logger.opt(exception=error).error("a stage's own task failed and is retried")
                await asyncio.sleep(again_s)
                now, again_s = self._now(), min(2 * again_s, MAX_AGAIN_S)


class TaskOwner(Protocol):
    """Owns background tasks: a Pipecat processor."""

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that is cancelled at the latest when its owner ends."""
        ...

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        """Cancel a task and wait for it."""
        ...


class Reconnector:
    """Reconnects one rung until it is connected, with increasing waits.

    `connect` makes one try and returns whether it succeeded. It must have a time limit of its own.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[bool]],
        *,
        clock: Callable[[], float],
        allowed: Callable[[], bool] = lambda: True,
        backoff: Backoff | None = None,
    ) -> None:
        """Create it without a try; `start_reconnecting` begins.

        Args:
            name: The rung's name.
            connect: Makes one try.
            clock: Monotonic, in seconds.
            allowed: Returns whether the rung may be asked now; if not, the try is skipped.
            backoff: The waits between tries; `None` for the default.
        """
        self.backoff = backoff or Backoff()
        self._name = name
        self._connect = connect
        self._now = clock
        self._allowed = allowed
        self._hurry = Alarm(clock)
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether reconnecting is in progress."""
        return self._task is not None and not self._task.done()

    def start_reconnecting(self, owner: TaskOwner) -> None:
        """Begin to reconnect, unless that has begun or `close` was called; return at once."""
        if not self.busy and not self._closed:
            self._task = owner.create_task(
                self._retry_until_connected(), f"{self._name}: reconnect"
            )

    def hurry(self) -> None:
        """Make the next try without a wait, because an attempt waits for it.

        If no wait is in progress, the next one is skipped.
        """
        self._hurry.ring()

    async def close(self, owner: TaskOwner) -> None:
        """Cancel reconnecting, for good."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            await owner.cancel_task(task)

    async def _retry_until_connected(self) -> None:
        """Wait, then connect, until it is connected; skip a try that is not allowed now.

        Runs in a task of its own. The waits increase; `hurry` ends one.
        """
        while True:
            due_at = self._now() + self.backoff.next_s()
            if await self._hurry.wait(due_at) < due_at:
                self.backoff.hurried()
            if self._allowed() and await self._connect():
                self.backoff.up(self._now())
                return


INBOX: Final = 1000  # unread reports; when it is full, `report` waits, so no report is lost

Report = TypeVar("Report")


class Stage(FrameProcessor, ABC, Generic[Report]):
    """The part that all stages share.

    A subclass defines `handle`, which passes a provider's report to the decision and carries out
    the actions; `tick`, which does the same when a timer expires; and `wake_at`. It processes the
    call's frames inside `async with self.working():`, after which `wake_at` is read again:

        class EchoStage(Stage[Heard]):
            async def handle(self, report: Heard, now: float) -> None:
                for action in self._decision.handle(report, now):
                    await self._carry_out(action)

            async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
                await super().process_frame(frame, direction)
                async with self.working():
                    ...

    A provider's task reports with `await stage.report(...)`; `watch` and `stop_watching` start and
    end the stage's own task.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self.now = clock
        self.lock = asyncio.Lock()
        self.alarm = Alarm(clock)
        self._inbox: asyncio.Queue[Report] = asyncio.Queue(INBOX)

    @property
    @abstractmethod
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""

    @abstractmethod
    async def handle(self, report: Report, now: float) -> None:
        """Decide on a provider's report, and act.

        Called with the lock held.
        """

    @abstractmethod
    async def tick(self, now: float) -> None:
        """Do what is due by now.

        Called with the lock held.
        """

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Exclude the stage's own task, and make it read `wake_at` again afterwards."""
        try:
            async with self.lock:
                yield
        finally:
            self.alarm.ring()

    async def report(self, report: Report) -> None:
        """Queue a report for the stage's own task; waits only while the inbox is full."""
        await self._inbox.put(report)
        self.alarm.ring()

    def watch(self) -> None:
        """Start the stage's own task, which handles reports and timers."""
        self.alarm.start(self, self._next_at, self._handle_reports_and_tick)

    async def stop_watching(self) -> None:
        """End the stage's own task."""
        await self.alarm.stop()

    def _next_at(self) -> float | None:
        return self.wake_at if self._inbox.empty() else self.now()

    async def _handle_reports_and_tick(self, now: float) -> None:
        """Handle the reports in the inbox, then call `tick` if it is due, all under the lock."""
        async with self.lock:
            while not self._inbox.empty():
                await self.handle(self._inbox.get_nowait(), self.now())
            due_at = self._next_at()
            # A timer may fire slightly early: then `now` is later than the clock.
            if due_at is not None and due_at <= max(now, self.now()):
                await self.tick(max(now, self.now()))
