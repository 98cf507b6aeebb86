"""The order of speech to a person before a transfer."""

import time

import numpy as np
import pytest
from pipecat.frames.frames import TTSAudioRawFrame

from bot.call.transfer.person_leg import PersonVoice, SaidFrame
from calls.line import CallerLine
from tests.kit.bench import at_work, worker_of
from tests.kit.line import PlayedLine

pytestmark = pytest.mark.virtual_time

RATE_HZ = 8000
LOCAL, REMOTE = 3000, 9000  # the samples of each voice


def sound(level: int) -> bytes:
    return np.full(RATE_HZ // 10, level, dtype="<i2").tobytes()


async def test_what_no_voice_could_say_is_said_before_what_follows() -> None:
    async def local(_: str) -> bytes:
        return sound(LOCAL)

    line = PlayedLine()
    voice = PersonVoice(CallerLine(), say_locally=local, clock=time.monotonic)
    worker = worker_of(voice, line, rate_hz=RATE_HZ)
    async with at_work(worker):
        await voice.say_unsaid("A caller is on the line.", protected=False)
        await worker.queue_frame(TTSAudioRawFrame(sound(REMOTE), RATE_HZ, 1))
        await worker.queue_frame(SaidFrame())
        await voice.said.wait()

    assert min(line.level(LOCAL)) < min(line.level(REMOTE))
