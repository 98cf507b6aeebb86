"""Programs that use the local leg, run in processes of their own to notice a native crash."""

import asyncio
import sys

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from transports.local.leg import LocalLeg
from transports.local.sound_card import RATE_HZ


class Echo(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(
                audio=frame.audio, sample_rate=frame.sample_rate, num_channels=1
            )
        await self.push_frame(frame, direction)


class Mute(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)


class Talk:
    """One call on the local leg."""

    def __init__(self, between: FrameProcessor) -> None:
        self.leg = LocalLeg()
        self.reasons: list[str] = []
        self.leg.on_gone(self._gone)
        self.worker = PipelineWorker(
            Pipeline([self.leg.input(), between, self.leg.output()]),
            params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
            enable_rtvi=False,
        )

    async def run(self) -> None:
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        await runner.run()
        await self.leg.hang_up()

    async def say(self, hz: float, length_s: float) -> None:
        t = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
        audio = (16_000 * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()
        frame = TTSAudioRawFrame(audio=audio, sample_rate=RATE_HZ, num_channels=1)
        await self.leg.output().queue_frame(frame)

    async def _gone(self, reason: str) -> None:
        self.reasons.append(reason)
        await self.worker.cancel(reason=reason)


def report(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the test reads it


async def line() -> str:
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def echo() -> None:
    talk = Talk(Echo())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.run())
        await talk.leg.answered()
        report("ready")
        await line()
        await talk.worker.stop_when_done()
    report("ended")


async def said_to_the_end() -> None:
    talk = Talk(Mute())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.run())
        await talk.leg.answered()
        await talk.say(500, 0.6)
        await talk.worker.stop_when_done()
    report("ended")


async def interrupted() -> None:
    talk = Talk(Mute())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.run())
        await talk.leg.answered()
        await talk.say(500, 3.0)
        await asyncio.sleep(0.5)
        await talk.leg.output().queue_frame(InterruptionFrame())
        await asyncio.sleep(0.5)
        await talk.worker.stop_when_done()
    report("ended")


async def cancelled() -> None:
    for number in range(20):
        talk = Talk(Mute())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk.run())
            await talk.leg.answered()
            await talk.say(500, 2.0)
            await asyncio.sleep(0.05 + number * 0.005)
            await talk.worker.cancel(reason="test")
        report(f"cancelled {number + 1}")


async def put_down() -> None:
    talk = Talk(Mute())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.run())
        await talk.leg.answered()
        await talk.say(500, 2.0)
        await talk.leg.put_down()
        await talk.leg.put_down()
    report(" ".join(talk.reasons))


async def device_taken() -> None:
    talk = Talk(Mute())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk.run())
        await talk.leg.answered()
        report("ready")
    report(" ".join(talk.reasons))


PROGRAMS = {
    item.__name__: item
    for item in (echo, said_to_the_end, interrupted, cancelled, put_down, device_taken)
}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]]())
