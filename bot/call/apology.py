"""The last words of a call that could not be put together: the local voice alone, and a goodbye."""

import asyncio
from typing import Final

from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from providers.catalog import provider
from providers.provider import RungSpec
from transports.leg import Leg

SORRY: Final = "I am sorry, something went wrong here. Please call again. Goodbye."
APOLOGY_S: Final = 10.0  # the sentence takes about 4 s; then the line is closed whatever hangs


async def apologise(leg: Leg) -> None:
    """Say sorry on a leg on which nothing runs yet, and end it."""
    rate_hz = leg.facts.sample_rate_hz
    rung = RungSpec(name="apology", stage="tts", kind="local", url="", sample_rate_hz=rate_hz)
    voice = provider("tts", "local").build(rung)
    worker = PipelineWorker(
        Pipeline([leg.input(), voice, leg.output()]),
        params=PipelineParams(audio_in_sample_rate=rate_hz, audio_out_sample_rate=rate_hz),
        enable_rtvi=False,
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )

    async def gone(reason: str) -> None:
        await worker.cancel(reason=reason)

    leg.on_gone(gone)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    try:
        async with asyncio.timeout(APOLOGY_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(_speak(leg, worker), name="apologise")
            await runner.run()
    except TimeoutError:
        await worker.cancel(reason="apology took too long")


async def _speak(leg: Leg, worker: PipelineWorker) -> None:
    await leg.answered()
    await worker.queue_frames([TTSSpeakFrame(SORRY), EndFrame()])
