"""The end of the path of the caller's sound."""

import asyncio

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputAudioRawFrame, InputDTMFFrame, TextFrame
from pipecat.tests.utils import run_test

from processors.turn.sound_path import SoundEnd

pytestmark = pytest.mark.virtual_time


async def test_sound_stops_there_and_everything_else_passes() -> None:
    heard: list[InputAudioRawFrame] = []
    sound = InputAudioRawFrame(audio=b"\1\0" * 160, sample_rate=8000, num_channels=1)
    async with asyncio.timeout(5.0):
        down, _ = await run_test(
            SoundEnd(heard.append),
            frames_to_send=[sound, InputDTMFFrame(button=KeypadEntry.ONE), TextFrame("yes")],
        )

    assert heard == [sound]
    assert {type(item) for item in down} == {InputDTMFFrame, TextFrame}
