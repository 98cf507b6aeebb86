"""An answer that is queued behind a filler."""

import asyncio
import time

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_transport import TransportParams

from transports.leg_output import LegOutput

pytestmark = pytest.mark.virtual_time

RATE_HZ = 8000
FILLER = np.full(3843, 1, dtype="<i2")  # not a whole number of the output's pieces
ANSWER = np.arange(2, 2 + RATE_HZ, dtype="<i2")  # each sample tells its place


class Heard(LegOutput):
    """Plays at a line's pace, and keeps what it played."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_sample_rate=RATE_HZ))
        self.samples: list[int] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        self.samples += np.frombuffer(frame.audio, "<i2").tolist()
        await asyncio.sleep(len(frame.audio) / 2 / RATE_HZ)
        return True


async def test_an_answer_behind_a_filler_is_played_to_the_last_sample() -> None:
    heard = Heard()
    began = time.monotonic()
    pieces = [ANSWER[at : at + 97] for at in range(0, ANSWER.size, 97)]
    filler: list[Frame] = [_sound(FILLER), TTSStoppedFrame()]
    begun, rest = map(_sound, pieces[:40]), map(_sound, pieces[40:])
    frames = [*filler, *begun, SleepFrame(0.7), *rest, TTSStoppedFrame()]

    async with asyncio.timeout(20):
        await run_test(heard, frames_to_send=frames)

    assert [each for each in heard.samples if each > 1] == ANSWER.tolist()
    assert time.monotonic() - began >= (FILLER.size + ANSWER.size) / RATE_HZ


def _sound(samples: np.ndarray) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(samples.astype("<i2").tobytes(), RATE_HZ, 1)
