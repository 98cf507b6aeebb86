"""The telephone without a network, driven by a caller who reacts to what is heard."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from tests.kit.bench import at_work, worker_of
from transports.leg_output import audible
from transports.loopback.leg import LoopbackLeg, LoopbackMouth

pytestmark = pytest.mark.virtual_time

RATE_HZ = 8_000
TONE = np.full(RATE_HZ // 10, 8_000, dtype=np.int16)  # 0.1 s
NOTHING = np.zeros(0, dtype=np.int16)


class Echo(FrameProcessor):
    """Plays back what is audible."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if audible(frame.audio):
                await self.push_frame(OutputAudioRawFrame(frame.audio, frame.sample_rate, 1))
            return
        await self.push_frame(frame, direction)


def on_the_line(leg: LoopbackLeg) -> AbstractAsyncContextManager[object]:
    return at_work(worker_of(leg.input(), Echo(), leg.output(), rate_hz=RATE_HZ), limit_s=10)


def leg_of(samples: np.ndarray, *, linger_s: float) -> LoopbackLeg:
    return LoopbackLeg(samples, sample_rate_hz=RATE_HZ, linger_s=linger_s, clock=time.monotonic)


async def test_speech_on_cue_is_heard_whole() -> None:
    leg = leg_of(NOTHING, linger_s=float("inf"))

    async with on_the_line(leg):
        await leg.say(TONE)
        await leg.say(TONE)
        await asyncio.sleep(0.1)

    assert np.count_nonzero(leg.line.heard()) == 2 * TONE.size


async def test_a_caller_who_has_left_the_line_says_nothing_more() -> None:
    leg = leg_of(NOTHING, linger_s=float("inf"))
    async with on_the_line(leg):
        await leg.say(TONE)

    with pytest.raises(ConnectionError):
        await leg.say(TONE)


async def test_a_caller_who_has_said_everything_hangs_up_after_lingering() -> None:
    gone = asyncio.Event()
    leg = leg_of(TONE, linger_s=0.1)

    async def hang_up(_reason: str) -> None:
        gone.set()

    leg.on_gone(hang_up)
    began_at_s = time.monotonic()
    async with on_the_line(leg):
        await gone.wait()

    assert time.monotonic() - began_at_s >= 0.18


def test_words_that_end_inside_a_frame_are_followed_by_silence() -> None:
    mouth = LoopbackMouth(np.array([1, 2, 3], dtype=np.int16), step=2)

    frames = [mouth.next().tolist() for _ in range(3)]

    assert frames == [[1, 2], [3, 0], [0, 0]]
    assert mouth.silent_frames == 1
