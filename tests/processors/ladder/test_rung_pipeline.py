"""A rung in a pipeline of its own: it starts, falls silent and ends without its stage waiting."""

import asyncio
import time
from typing import Any

import pytest
from pipecat.frames.frames import EndFrame, Frame, InterruptionFrame, StartFrame, TextFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.tests.utils import run_test

from processors.ladder.rung_pipeline import RungPipeline
from runtime import loops

pytestmark = pytest.mark.virtual_time

TIMEOUT_S = 5.0


class Service(FrameProcessor):
    """Repeats its input, with the given delays."""

    def __init__(self, *, setup_s: float = 0.0, work_s: float = 0.0, end_s: float = 0.0) -> None:
        super().__init__()
        self._setup_s = setup_s
        self._work_s = work_s
        self._end_s = end_s

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await asyncio.sleep(self._setup_s)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            await asyncio.sleep(self._work_s)
        if isinstance(frame, EndFrame):
            await asyncio.sleep(self._end_s)
        await self.push_frame(frame, direction)


class Stage(FrameProcessor):
    def __init__(self, service: Service, act: Any) -> None:
        super().__init__()
        self.out: list[str] = []
        self.readied = 0
        self.rung = RungPipeline("it", service, output=self._take, on_ready=self._ready)
        self._act = act

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        self.rung.setup(self, setup)

    async def cleanup(self) -> None:
        await super().cleanup()
        await self.rung.cleanup(within_s=0.3)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self.rung.start(frame)
        if isinstance(frame, TextFrame):
            await self._act(self)
        if isinstance(frame, EndFrame):
            self.rung.end(frame)
        await self.push_frame(frame, direction)

    async def _take(self, _rung: RungPipeline, frame: Frame, _direction: FrameDirection) -> None:
        self.out.append(getattr(frame, "text", type(frame).__name__))

    async def _ready(self, _rung: RungPipeline) -> None:
        self.readied += 1


async def ran(service: Service, act: Any) -> Stage:
    stage = Stage(service, act)
    async with asyncio.timeout(TIMEOUT_S):
        await run_test(stage, frames_to_send=[TextFrame("go")], expected_down_frames=[TextFrame])
    return stage


async def test_a_services_output_reaches_only_its_stage() -> None:
    async def act(stage: Stage) -> None:
        await stage.rung.ready.wait()
        assert await stage.rung.send(TextFrame("hello"))
        await asyncio.sleep(0.05)

    stage = await ran(Service(), act)

    assert stage.out == ["hello"]
    assert stage.readied == 1


async def test_late_output_of_a_muted_service_is_dropped_and_it_can_be_used_again() -> None:
    async def act(stage: Stage) -> None:
        await stage.rung.ready.wait()
        await stage.rung.send(TextFrame("old"))
        await stage.rung.mute()
        await stage.rung.send(TextFrame("new"))
        async with asyncio.timeout(TIMEOUT_S):
            while not stage.out:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.01)

    stage = await ran(Service(work_s=0.1), act)

    assert stage.out == ["new"]


async def test_frames_for_a_service_without_setup_are_dropped() -> None:
    async def act(stage: Stage) -> None:
        assert not await stage.rung.send(TextFrame("lost"))
        await stage.rung.mute()
        await stage.rung.ready.wait()
        await stage.rung.send(TextFrame("new"))
        await asyncio.sleep(0.05)

    stage = await ran(Service(setup_s=0.05), act)

    assert stage.out == ["new"]


async def test_a_hanging_service_delays_neither_start_nor_end() -> None:
    async def act(_stage: Stage) -> None:
        pass

    began = time.monotonic()
    await ran(Service(setup_s=60.0), act)
    await ran(Service(end_s=60.0), act)

    assert time.monotonic() - began < 4.0


def test_a_service_that_calls_exit_when_it_is_released_ends_only_itself() -> None:
    class Exiting(Service):
        async def cleanup(self) -> None:
            await super().cleanup()
            raise SystemExit(3)  # as Pipecat does for a task of its own that called it before

    async def act(stage: Stage) -> None:
        pass

    stage = loops.run(ran(Exiting(), act))

    assert stage.readied == 1


async def test_an_interruption_that_is_no_fence_stays_inside() -> None:
    async def act(stage: Stage) -> None:
        await stage.rung.ready.wait()
        await stage.rung.send(InterruptionFrame())
        await stage.rung.send(TextFrame("after"))
        await asyncio.sleep(0.05)

    stage = await ran(Service(), act)

    assert stage.out == ["after"]
