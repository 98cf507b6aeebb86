"""One rung of a ladder as a small pipeline inside a stage's processor; gates and seats.

A rung is set up, started and ended separately, in tasks that the stage owns. So a rung that hangs
never delays another one, nor the call. All that the rung's service pushes, in both directions, goes
only to the stage's `output`; the stage decides what the call may see.

The fence: an interruption cancels a service's work, empties its queues, and only then leaves it. So
output that comes before the fence is late, and is dropped here.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

from aiolimiter import AsyncLimiter
from loguru import logger
from pipecat.frames.frames import CancelFrame, EndFrame, Frame, InterruptionFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind
from fallbacks.limits import MINUTE_S, Gate, Limits, RungLimiter, requests_left


class RequestPace(Protocol):
    """Limits the requests per minute."""

    def has_capacity(self) -> bool:
        """Return whether a request would pass at once."""
        ...

    async def acquire(self) -> None:
        """Wait until a request may pass."""
        ...


class RungGate:
    """Admits work to one rung, for all calls of the process.

    The pace is a leaky bucket: after a rest a burst up to the limit may pass at once, and then one
    by one. OpenAI counts its requests in the same way; see `fallbacks.limits.requests_left`.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            limits: As configured.
            clock: Monotonic, in seconds.
        """
        self._turnstile = RungLimiter(limits)
        self._clock = clock
        self.pace: RequestPace | None = (
            AsyncLimiter(limits.per_minute, MINUTE_S) if limits.per_minute else None
        )
        self.on_short: Callable[[], None] = lambda: None  # called when work finds no place
        self._short = False  # work found no place since `wanted` was last read
        self._called: dict[int, asyncio.Event] = {}

    @property
    def inside(self) -> int:
        """The number of places taken."""
        return len(self._turnstile.inside)

    @property
    def room(self) -> bool:
        """Whether work that arrives now gets a place at once."""
        paced = self.pace is None or self.pace.has_capacity()
        return paced and self._turnstile.room(self._clock())

    @property
    def limits(self) -> Limits:
        """The current limits."""
        return self._turnstile.limits

    @property
    def wanted(self) -> int:
        """The number of places that could be used now; reading it resets the unmet demand."""
        short, self._short = self._short, False
        return len(self._turnstile.inside) + self._turnstile.waiting + int(short)

    def resize(self, places: int) -> None:
        """Change the number of places; a place beyond it is kept until it is returned."""
        self._turnstile.limits = replace(self._turnstile.limits, concurrent=places)
        for _ in range(places):
            self._call_in()

    async def enter(self, call: Hashable, *, until: Deadline) -> int | None:
        """Wait for a place until the deadline; return the ticket to leave with, or `None`."""
        now = self._clock()
        ticket = self._turnstile.join(call, until=until, now=now)
        if ticket is None:
            return None
        called = self._called[ticket] = asyncio.Event()
        entered = False
        try:
            self._call_in()
            if self._short or self._turnstile.waiting:
                self.on_short()
            async with asyncio.timeout(until.left_s(now)):
                await called.wait()
                await _wait_turn(self._turnstile.opens_at - self._clock(), self.pace)
            entered = True
        except TimeoutError:
            return None
        finally:
            del self._called[ticket]
            if entered:
                self._turnstile.passed(ticket)
            else:
                self._turnstile.leave(ticket)
            self._call_in()
        return ticket

    def seat(self) -> int | None:
        """Take a place at once; `None` if there is none."""
        ticket = self._turnstile.seat(self._clock())
        self._short = ticket is None
        if self._short:
            self.on_short()
        return ticket

    def leave(self, ticket: int) -> None:
        """Return a place."""
        self._turnstile.leave(ticket)
        self._call_in()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Learn from the headers of a response, names in any case."""
        left = requests_left(headers)
        if left is not None:
            self._turnstile.learn(left, self._clock())

    def refused(self) -> None:
        """Allow one fewer for a while: the provider refused the number of parallel requests."""
        self._turnstile.refused(self._clock())

    def _call_in(self) -> None:
        ticket = self._turnstile.call_in(self._clock())
        if ticket is not None:
            self._called[ticket].set()


async def _wait_turn(wait_s: float, pace: RequestPace | None) -> None:
    """Wait until the provider accepts requests again, and then for the pace."""
    if wait_s > 0:
        await asyncio.sleep(wait_s)
    if pace is not None:
        await pace.acquire()


class Seat:
    """A call's place at a rung, from before a connection is opened until the call is over.

    A lost connection keeps its seat, because it is restored.
    """

    def __init__(self, gate: Gate | None) -> None:
        """Use the rung's gate; `None` if it has no limit."""
        self._gate = gate
        self._ticket: int | None = None

    @property
    def offered(self) -> bool:
        """Whether it is taken, or can be."""
        return self._gate is None or self._ticket is not None or self._gate.room

    def take(self) -> bool:
        """Take the seat if it is not taken yet; return False if there is no place."""
        if self._gate is not None and self._ticket is None:
            self._ticket = self._gate.seat()
        return self._gate is None or self._ticket is not None

    def learn(self, failure: Failure) -> None:
        """Learn from a failure, which may mean that we hold too many connections."""
        if self._gate is not None and failure.kind is Kind.RATE_LIMITED:
            self._gate.refused()

    def leave(self) -> None:
        """Return the seat."""
        if self._gate is not None and self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._gate.leave(ticket)


Output: TypeAlias = Callable[["RungPipeline", Frame, FrameDirection], Coroutine[Any, Any, None]]
"""Receives a frame that a rung pushed, and its direction; no starts, ends or interruptions."""

Ready: TypeAlias = Callable[["RungPipeline"], Coroutine[Any, Any, None]]
"""Called once, when a rung is set up and started."""

PASSES: Final = 3  # of the loop, for a service to take what was sent: system frames overtake it
STOP_S: Final = 1.0  # for a rung to close its connection when the call is over (chosen)


class RungPipeline:
    """A rung's service in its own pipeline: `send` gives it frames, `mute` stops its work.

    Attributes:
        name: The rung's.
        service: The provider's service.
        ready: Set once the service is set up and started; frames sent before are dropped, because
            they would pile up in front of a rung whose handshake hangs.
    """

    def __init__(
        self,
        name: str,
        service: FrameProcessor,
        *,
        output: Output,
        on_ready: Ready | None = None,
    ) -> None:
        self.name = name
        self.service = service
        self.ready = asyncio.Event()
        self._output = output
        self._on_ready = on_ready
        self._owner: FrameProcessor | None = None
        self._start: asyncio.Future[StartFrame] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fence: InterruptionFrame | None = None
        self._ending = False
        self._ended = asyncio.Event()
        self._pipe = Pipeline(
            [service],
            source=PipelineSource(self._pushed, name=f"{service.name}::above"),
            sink=PipelineSink(self._pushed, name=f"{service.name}::below"),
        )

    @property
    def muted(self) -> bool:
        """Whether old work still has to leave the service, which cannot be asked before that."""
        return self._fence is not None

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Begin to set the service up; returns at once.

        Args:
            owner: The stage, which is set up itself, and owns the tasks.
            setup: The stage's own. Observers see only what the stage pushes: seeing the rungs, too,
                they would count everything twice.
        """
        self._owner = owner
        self._start = asyncio.get_running_loop().create_future()
        self._do(self._bring_up(dataclasses.replace(setup, observer=None)), "set up")

    def start(self, frame: StartFrame) -> None:
        """Start the service as soon as it is set up."""
        if self._start and not self._start.done():
            self._start.set_result(frame)

    async def send(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> bool:
        """Give the service a frame; return False if it was dropped because it is not ready."""
        if not self.takes:
            return False
        await self._pipe.queue_frame(frame, direction)
        return True

    @property
    def takes(self) -> bool:
        """Whether the service accepts frames."""
        return self.ready.is_set() and not self._ending

    async def mute(self) -> None:
        """End the service's work, and drop what still comes from it."""
        fence = InterruptionFrame()
        self._fence = fence
        for _ in range(PASSES):
            await asyncio.sleep(0)
        if not await self.send(fence):
            self._fence = None  # it was never asked anything

    def end(self, frame: EndFrame | CancelFrame) -> None:
        """Close the service's connection; returns at once."""
        if self.ready.is_set() and not self._ending:
            self._do(self._pipe.queue_frame(frame), "end")
        self._ending = True

    async def cleanup(self, *, within_s: float = STOP_S) -> None:
        """Release everything, after at most `within_s` for an orderly end."""
        try:
            async with asyncio.timeout(within_s):
                if self._ending and self.ready.is_set():
                    await self._ended.wait()
        except TimeoutError:
            logger.debug("{} did not end in time", self.name)
        for task in tuple(self._tasks):
            if self._owner:
                await self._owner.cancel_task(task)
        try:
            async with asyncio.timeout(within_s):
                await self._pipe.cleanup()
        except TimeoutError:
            logger.warning("{} could not be cleaned up in {} s", self.name, within_s)

    async def _bring_up(self, setup: FrameProcessorSetup) -> None:
        await self._pipe.setup(setup)
        assert self._start  # noqa: S101 - made by `setup`, which began this
        await self._pipe.queue_frame(await self._start)
        self.ready.set()
        if self._on_ready:
            await self._on_ready(self)

    async def _pushed(self, frame: Frame, direction: FrameDirection) -> None:
        match frame:
            case StartFrame():
                pass
            case InterruptionFrame():
                if frame is self._fence:
                    self._fence = None
            case EndFrame() | CancelFrame():
                self._ended.set()
            case _ if self._fence is None:
                await self._output(self, frame, direction)
            case _:
                pass  # late output

    def _do(self, work: Coroutine[Any, Any, None], what: str) -> None:
        assert self._owner  # noqa: S101 - `setup` comes first in a processor's life
        task = self._owner.create_task(work, f"{self.name}: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
