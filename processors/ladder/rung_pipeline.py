"""One rung of a ladder as a small pipeline inside a stage's processor.

A rung is set up, started and ended separately, in tasks that the stage owns. So a rung that hangs
delays neither another rung nor the call. Frames that the rung's service pushes, in either
direction, go only to the stage's `output`; the stage decides which of them it passes on.

`mute` sends an interruption as a fence: the service cancels its work, empties its queues, and only
then passes the interruption on. So frames that arrive before the fence are late, and are dropped.
"""

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, cast

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.utils.types import NOT_GIVEN

from calls.voice import HELD_SETTINGS

Output: TypeAlias = Callable[["RungPipeline", Frame, FrameDirection], Coroutine[Any, Any, None]]
"""Receives a frame that a rung pushed, and its direction; no starts, ends or interruptions."""

Ready: TypeAlias = Callable[["RungPipeline"], Coroutine[Any, Any, None]]
"""Called once, when a rung is set up and started."""

PASSES: Final = 3  # of the event loop, so that the service reads earlier frames before the fence
STOP_S: Final = 1.0  # for a rung to close its connection when the call is over (chosen)
VENDORS_OWN: Final = ("model", "voice")  # settings whose values one vendor alone knows
ANY_VENDORS: Final = (STTSettings, LLMSettings, TTSSettings)


class RungPipeline:
    """A rung's service in its own pipeline: `send` gives it frames, `mute` stops its work.

    Attributes:
        name: The rung's name.
        service: The provider's service.
        ready: Set once the service is set up and started. Frames sent before that are dropped,
            because they would pile up while a handshake hangs; only settings wait for it.
    """

    def __init__(
        self,
        name: str,
        service: FrameProcessor,
        *,
        output: Output,
        on_ready: Ready | None = None,
    ) -> None:
        """Build the pipeline around the service; `setup` begins to start it."""
        self.name = name
        self.service = service
        self.ready = asyncio.Event()
        self._output = output
        self._on_ready = on_ready
        self._owner: FrameProcessor | None = None
        self._start: asyncio.Future[StartFrame] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fence: InterruptionFrame | None = None
        self._held_settings = deque[Frame](maxlen=HELD_SETTINGS)
        self._ending = False
        self._ended = asyncio.Event()
        self._pipe = Pipeline(
            [service],
            source=PipelineSource(self._on_output, name=f"{service.name}::above"),
            sink=PipelineSink(self._on_output, name=f"{service.name}::below"),
        )

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Begin to set the service up, and return at once.

        Args:
            owner: The stage, which owns the tasks; it must already be set up.
            setup: The stage's own setup. It is used without the observer, which sees the frames
                that the stage pushes and would count everything twice.
        """
        self._owner = owner
        self._start = asyncio.get_running_loop().create_future()
        self._run_in_task(self._bring_up(dataclasses.replace(setup, observer=None)), "set up")

    def start(self, frame: StartFrame) -> None:
        """Start the service as soon as it is set up; no effect before `setup`, or a second time."""
        if self._start and not self._start.done():
            self._start.set_result(frame)

    async def send(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> bool:
        """Give the service a frame; return False if it was dropped: not ready, or ending."""
        if not self.takes:
            return False
        await self._pipe.queue_frame(frame, direction)
        return True

    async def settle(self, frame: Frame) -> bool:
        """Apply settings now, or keep them until the service is ready; ignore another service's.

        Returns whether the service got them now. At most `HELD_SETTINGS` frames are kept, the
        newest ones.
        """
        if getattr(frame, "service", None) not in (None, self.service):
            return False
        if delta := getattr(frame, "delta", None):
            frame = type(cast("Any", frame))(delta=settings_for(self.service, delta))
        if await self.send(frame):
            return True
        self._held_settings.append(frame)
        return False

    @property
    def takes(self) -> bool:
        """Whether the service accepts frames."""
        return self.ready.is_set() and not self._ending

    async def mute(self) -> None:
        """Stop the service's work, and drop frames that it pushes before it has stopped."""
        fence = InterruptionFrame()
        self._fence = fence
        for _ in range(PASSES):
            await asyncio.sleep(0)
        if not await self.send(fence):
            self._fence = None  # it is not ready, or is ending, so no fence will come back

    def end(self, frame: EndFrame | CancelFrame) -> None:
        """Begin to close the service's connection, and accept no more frames; return at once."""
        if self.ready.is_set() and not self._ending:
            self._run_in_task(self._pipe.queue_frame(frame), "end")
        self._ending = True

    async def cleanup(self, *, within_s: float = STOP_S) -> None:
        """Wait for an orderly end, cancel the tasks and release the service.

        The end and the release have `within_s` each.
        """
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
        except SystemExit as error:  # of a task of the service's that had ended so
            logger.warning("{}: releasing it raised {!r}", self.name, error)

    async def _bring_up(self, setup: FrameProcessorSetup) -> None:
        """Set the service up, wait for `start`, and report readiness through `on_ready`.

        Settings that came before are sent first.
        """
        await self._pipe.setup(setup)
        assert self._start  # noqa: S101 - made by `setup`, which began this
        await self._pipe.queue_frame(await self._start)
        while self._held_settings:
            await self._pipe.queue_frame(self._held_settings.popleft())
        self.ready.set()
        if self._on_ready:
            await self._on_ready(self)

    async def _on_output(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass the service's frame to `output`, unless it belongs to work that was muted.

        Its start frame is dropped. The returning `_fence` ends the muted work; an end frame sets
        `_ended`.
        """
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

    def _run_in_task(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run work in a task of the stage, which `cleanup` cancels."""
        assert self._owner  # noqa: S101 - `setup` comes first in a processor's life
        task = self._owner.create_task(work, f"{self.name}: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def settings_for(service: FrameProcessor, delta: Any) -> Any:
    """Return changed settings as this service can take them.

    The model and the voice in settings of a vendor's own class are only for services of that class;
    for others they are removed.
    """
    if type(delta) in (*ANY_VENDORS, type(getattr(service, "_settings", None))):
        return delta
    names = {item.name for item in dataclasses.fields(delta)}
    return dataclasses.replace(delta, **{name: NOT_GIVEN for name in VENDORS_OWN if name in names})
