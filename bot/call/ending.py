"""Ends a call of which anything may hang: steps that are bounded, and means of rising force."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from loguru import logger
from pipecat.frames.frames import CancelFrame, EndFrame, InterruptionWorkerFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection

from bot.clock import Clock

STEP_S: Final = 15.0  # one step of the end; an apology has 10 s, Twilio 5 s for a hang-up
END_S: Final = 3.0  # Pipecat's EndFrame waits behind whatever hangs
INTERRUPT_S: Final = 1.0  # an interruption empties the queues, but not a processor that hangs
LOOK_S: Final = 0.05  # between two looks whether it has finished
AGAIN_S: Final = 5.0  # a pipeline that can be cancelled at all has cleaned up by then


async def take_step(what: str, step: Awaitable[object], *, call_id: str) -> bool:
    """Run a step, bounded in time; return whether it succeeded: a failure is only logged."""
    try:
        async with asyncio.timeout(STEP_S):
            await step
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        logger.error("call {}: {} was cancelled within", call_id, what)
        return False
    except Exception as broken:  # noqa: BLE001 - the steps behind it are taken all the same
        logger.opt(exception=broken).error("call {}: {} failed", call_id, what)
        return False
    return True


async def end_with_rising_force(worker: PipelineWorker, clock: Clock) -> None:
    """End a pipeline: plainly, by an interruption, by a cancel put into it directly."""
    await worker.queue_frame(EndFrame())
    if await finishes_within(END_S, worker, clock):
        return
    await worker.queue_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
    if not await finishes_within(INTERRUPT_S, worker, clock):
        await worker.pipeline.queue_frame(CancelFrame())


async def finishes_within(wait_s: float, worker: PipelineWorker, clock: Clock) -> bool:
    """Return True as soon as the worker has finished, False when it has not after `wait_s`."""
    until_s = clock() + wait_s
    while clock() < until_s and not worker.has_finished():  # noqa: ASYNC110 - Pipecat has no event
        await asyncio.sleep(LOOK_S)
    return worker.has_finished()


async def tear_down(asked: asyncio.Event, pipeline: asyncio.Task[None]) -> None:
    """Once asked, cancel a pipeline's task again and again until it has ended.

    Pipecat's runner takes a first cancel as a wish to end well: it asks its worker, and waits
    without bound for one that cannot be asked. A second one reaches the worker, a third its wait.
    """
    await asked.wait()
    while not pipeline.done():
        pipeline.cancel()
        await asyncio.wait([pipeline], timeout=AGAIN_S)


def is_cancelled() -> bool:
    """Say whether somebody cancelled the task that asks, and not only something that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
