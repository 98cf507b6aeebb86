"""Sound after a filler, and its fate when the caller interrupts."""

import asyncio
import time
from typing import cast

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_transport import TransportParams

from calls.line import CallerLine
from tests.virtual_time import VirtualLoop
from transports.leg_output import STALL_S, LegOutput, LineEnd

pytestmark = pytest.mark.virtual_time

RATE_HZ = 8000
FILLER = np.full(3843, 1, dtype="<i2")  # not a whole number of the output's pieces
ANSWER = np.arange(2, 2 + RATE_HZ, dtype="<i2")  # each sample tells its place
TELL_OF_SPEECH = BotStartedSpeakingFrame | BotStoppedSpeakingFrame


class Heard(LegOutput):
    """Plays at a line's pace, and keeps what it played."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_sample_rate=RATE_HZ))
        self.samples: list[int] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        self.samples += _samples(frame)
        await asyncio.sleep(len(frame.audio) / 2 / RATE_HZ)
        return True


class CutShort(Heard):
    """Is interrupted a number of loop rounds after its third piece."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds
        self._pieces = 0
        self._cut: asyncio.Task[None] | None = None

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        played = await super().play_piece(frame)
        self._pieces += 1
        if self._pieces == 3:
            self._cut = asyncio.create_task(self._interrupt())
        return played

    async def _interrupt(self) -> None:
        for _ in range(self._rounds):
            await asyncio.sleep(0)
        await self._media_senders[None].handle_interruptions(InterruptionFrame())


async def test_an_answer_after_a_filler_is_played_to_the_last_sample() -> None:
    heard = Heard()
    began = time.monotonic()
    pieces = [ANSWER[at : at + 97] for at in range(0, ANSWER.size, 97)]
    filler: list[Frame] = [_sound(FILLER), TTSStoppedFrame()]
    begun, rest = map(_sound, pieces[:40]), map(_sound, pieces[40:])
    frames = [*filler, *begun, SleepFrame(0.7), *rest, TTSStoppedFrame()]

    async with asyncio.timeout(20):
        await run_test(heard, frames_to_send=frames)

    assert [sample for sample in heard.samples if sample > 1] == ANSWER.tolist()
    assert time.monotonic() - began >= (FILLER.size + ANSWER.size) / RATE_HZ


@pytest.mark.parametrize("rounds", range(12))
async def test_an_interrupted_answer_does_not_restart(rounds: int) -> None:
    cut = CutShort(rounds)
    frames = [_sound(ANSWER), SleepFrame(2.0), _sound(FILLER), TTSStoppedFrame(), SleepFrame(1.0)]

    async with asyncio.timeout(20):
        down, _ = await run_test(cut, frames_to_send=frames)

    told = [item for item in down if isinstance(item, TELL_OF_SPEECH)]
    begins, ends = BotStartedSpeakingFrame, BotStoppedSpeakingFrame
    assert [type(item) for item in told] == [begins, ends, begins, ends]
    behind = down[down.index(told[2]) :]
    assert next(_samples(item) for item in behind if isinstance(item, TTSAudioRawFrame))[0] == 1
    assert cut.samples.count(1) == FILLER.size


@pytest.mark.parametrize("stall_s", [0.5 * STALL_S, 3.0])
async def test_a_stall_of_ours_delays_the_sound_still_to_be_heard(stall_s: float) -> None:
    heard, line = Heard(), CallerLine()
    heard.line_end = LineEnd(line=line, heard=lambda _: None, clock=time.monotonic)
    line.add(10.0, time.monotonic())
    dry_at = line.dry_at

    waiting = asyncio.create_task(heard.sleep(0.02))
    await asyncio.sleep(0.0)
    cast("VirtualLoop", asyncio.get_running_loop()).clock.now += stall_s + 0.02
    await waiting

    assert line.dry_at - dry_at == pytest.approx(stall_s if stall_s >= STALL_S else 0.0)


def _sound(samples: np.ndarray) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(samples.astype("<i2").tobytes(), RATE_HZ, 1)


def _samples(frame: OutputAudioRawFrame) -> list[int]:
    return np.frombuffer(frame.audio, "<i2").tolist()
