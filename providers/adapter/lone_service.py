"""Runs one service alone, outside a call: for a probe or a whole recording."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Self, cast

from loguru import logger
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import CancelFrame, Frame, StartFrame
from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.asyncio.task_manager import TaskManager

END_SERVICE_S: Final = 1.0  # for an orderly end, and again for the release (chosen)


class LoneService:
    """A service in a pipeline of its own: `async with LoneService(service, rate_hz=8000) as lone:`.

    Attributes:
        out: The frames that it pushes, in either direction.
    """

    def __init__(self, service: FrameProcessor, *, rate_hz: int) -> None:
        """Prepare to run a service that gets and gives audio at this rate."""
        self.out: asyncio.Queue[Frame] = asyncio.Queue()
        self._rate_hz = rate_hz
        self._tasks = TaskManager()
        self._ended = asyncio.Event()
        source, sink = PipelineSource(self._on_output), PipelineSink(self._on_output)
        self._pipe = Pipeline([service], source=source, sink=sink)

    async def send(self, frame: Frame) -> None:
        """Give it a frame."""
        await self._pipe.queue_frame(frame)

    async def __aenter__(self) -> Self:
        """Set the service up and start it; if that fails, clean it up and raise the error."""
        rate_hz = self._rate_hz
        try:
            await self._pipe.setup(
                FrameProcessorSetup(
                    clock=SystemClock(),
                    task_manager=self._tasks,
                    pipeline_worker=cast("Any", None),
                    audio_in_sample_rate=rate_hz,
                    audio_out_sample_rate=rate_hz,
                )
            )
            start = StartFrame(audio_in_sample_rate=rate_hz, audio_out_sample_rate=rate_hz)
            await self._pipe.queue_frame(start)
        except BaseException:
            await self._clean_up_and_cancel()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End and release it, each in time."""
        await _await_within(END_SERVICE_S, self._pipe.queue_frame(CancelFrame()))
        await _await_within(END_SERVICE_S, self._ended.wait())
        await self._clean_up_and_cancel()

    async def _clean_up_and_cancel(self) -> None:
        """Clean the service up, and cancel the tasks that it has left."""
        await _await_within(END_SERVICE_S, self._pipe.cleanup())
        tasks = self._tasks.current_tasks()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_SERVICE_S)

    async def _on_output(self, frame: Frame, _direction: FrameDirection) -> None:
        """Put the service's frame into `out`; a cancel frame shows that the service has ended."""
        if isinstance(frame, CancelFrame):
            self._ended.set()
        elif not isinstance(frame, StartFrame):
            self.out.put_nowait(frame)


async def _await_within(seconds: float, work: Coroutine[Any, Any, object]) -> None:
    """Wait for work, and cancel it after `seconds`; its errors are only logged.

    At the end of a service, they change nothing any more.
    """
    task = asyncio.get_running_loop().create_task(work, name="a service's work")
    await asyncio.wait({task}, timeout=seconds)
    if not task.cancel() and not task.cancelled() and (error := task.exception()):
        logger.debug("a service ended with {}", type(error).__name__)
