"""Ends a call's pipeline and closes its parts, even if one of them fails or hangs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from loguru import logger
from pipecat.frames.frames import CancelFrame, EndFrame, InterruptionWorkerFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection

from bot.call.pipeline import CallPipeline
from runtime.clock import Clock

STEP_S: Final = 15.0  # for one closing step; an apology may take 10 s, Twilio's hang-up 5 s
END_S: Final = 3.0  # for an EndFrame, which waits if a processor hangs
INTERRUPT_S: Final = 1.0  # for an interruption, which empties queues but ends no hanging work
PIPELINE_CHECK_S: Final = 0.05  # between two checks whether the pipeline has finished
CANCEL_AGAIN_S: Final = 5.0  # between two cancels; most pipelines end sooner after the first


def closing_steps(pipeline: CallPipeline) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Yield the steps between the pipeline's end and the hang-up, each with a name for the log."""

    async def observe_end() -> None:
        pipeline.unkept.end()
        pipeline.observer.ended()

    yield "closing the tools", pipeline.tools.close
    if pipeline.opt_out:
        yield "listing a number", pipeline.opt_out.close
    if pipeline.transfer:
        yield "dropping a person", pipeline.transfer.close
    yield "observing the end", observe_end
    if pipeline.recording:
        yield "closing the recording", pipeline.recording.close


async def take_step(
    what: str, step: Awaitable[object], *, call_id: str, within_s: float = STEP_S
) -> bool:
    """Run a step in time and return whether it succeeded; a failure is only logged.

    Raises `CancelledError` only if the current task was cancelled.
    """
    try:
        async with asyncio.timeout(within_s):
            await step
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        logger.error("call {}: {} was cancelled from inside", call_id, what)
        return False
    except Exception as broken:  # noqa: BLE001 - the next steps must still run
        logger.opt(exception=broken).error("call {}: {} failed", call_id, what)
        return False
    return True


async def end_with_rising_force(worker: PipelineWorker, clock: Clock) -> None:
    """Queue an `EndFrame`; if the pipeline does not end, interrupt it, then cancel it.

    The `EndFrame` has `END_S`, the interruption `INTERRUPT_S`. Does not wait for the effect of the
    cancel.
    """
    await worker.queue_frame(EndFrame())
    if await finishes_within(END_S, worker, clock):
        return
    await worker.queue_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
    if not await finishes_within(INTERRUPT_S, worker, clock):
        await worker.pipeline.queue_frame(CancelFrame())


async def finishes_within(wait_s: float, worker: PipelineWorker, clock: Clock) -> bool:
    """Wait for the worker to finish, for at most `wait_s`; return whether it has finished."""
    deadline = clock() + wait_s
    while clock() < deadline and not worker.has_finished():  # noqa: ASYNC110 - Pipecat has no event
        await asyncio.sleep(PIPELINE_CHECK_S)
    return worker.has_finished()


async def tear_down(must_tear_down: asyncio.Event, pipeline: asyncio.Task[None]) -> None:
    """Wait for the event, then cancel a pipeline's task repeatedly until it has ended.

    Pipecat's runner takes the first cancel as a request: it asks its worker to end, and waits
    without limit. The second cancel reaches the worker, the third the worker's own wait.
    """
    await must_tear_down.wait()
    while not pipeline.done():
        pipeline.cancel()
        await asyncio.wait([pipeline], timeout=CANCEL_AGAIN_S)


def is_cancelled() -> bool:
    """Return whether the current task itself was cancelled, not just something it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
