"""The caller's sound is passed on at once, and in order."""

import asyncio

import pytest
from pipecat.frames.frames import CancelFrame, Frame, InputAudioRawFrame, TextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection
from pipecat.tests.utils import run_test

from processors.turn.sound_path import SoundEnd, SoundPath
from tests.kit.bench import running

pytestmark = pytest.mark.virtual_time


class Passing(SoundPath):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


def sound(number: int) -> InputAudioRawFrame:
    return InputAudioRawFrame(bytes([number, 0]) * 160, sample_rate=8000, num_channels=1)


async def test_sound_reaches_the_end_of_its_path_before_the_loop_turns() -> None:
    heard: list[InputAudioRawFrame] = []
    first, second = Passing(), Passing()
    way = Pipeline([first, second, SoundEnd(heard.append)])
    async with running(way) as bench:
        await bench.put(sound(0))
        await heard_so_many(heard, 1)
        await first.queue_frame(sound(1))

        assert [input_audio_raw_frame.audio[0] for input_audio_raw_frame in heard] == [0, 1]


async def test_sound_before_the_start_is_not_overtaken() -> None:
    heard: list[InputAudioRawFrame] = []
    early = Passing()
    for number in range(3):
        await early.queue_frame(sound(number))
    async with running(Pipeline([early, SoundEnd(heard.append)])) as bench:
        for number in range(3, 9):
            await bench.put(sound(number))
        await heard_so_many(heard, 9)

    assert [input_audio_raw_frame.audio[0] for input_audio_raw_frame in heard] == list(range(9))


async def test_everything_else_waits_in_the_queue() -> None:
    async with asyncio.timeout(10.0):
        down, _ = await run_test(
            Passing(), frames_to_send=[TextFrame("one"), sound(1), TextFrame("two")]
        )

    assert [word.text for word in down if isinstance(word, TextFrame)] == ["one", "two"]
    assert sum(isinstance(item, InputAudioRawFrame) for item in down) == 1


async def test_no_sound_is_heard_in_a_cancelled_call() -> None:
    heard: list[InputAudioRawFrame] = []
    first = Passing()
    async with running(Pipeline([first, SoundEnd(heard.append)])) as bench:
        await bench.put(sound(0))
        await heard_so_many(heard, 1)
        await first.queue_frame(CancelFrame())
        await asyncio.sleep(0.1)
        await first.queue_frame(sound(1))

    assert len(heard) == 1


async def heard_so_many(heard: list[InputAudioRawFrame], count: int) -> None:
    async with asyncio.timeout(10.0):
        while len(heard) < count:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
