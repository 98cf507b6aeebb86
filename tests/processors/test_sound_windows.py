"""The detector of speech gets sound in pieces that it can use, each as early as before."""

import asyncio

import pytest
from pipecat.frames.frames import InputAudioRawFrame, TextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.tests.utils import run_test

from processors.sound_end import SoundEnd
from processors.sound_windows import SoundWindows

pytestmark = pytest.mark.virtual_time

PIECE_BYTES = {8000: 320, 16_000: 640}  # of 20 ms
WINDOW_BYTES = {8000: 512, 16_000: 1024}


def pieces(rate_hz: int, count: int) -> list[InputAudioRawFrame]:
    size = PIECE_BYTES[rate_hz]
    return [
        InputAudioRawFrame(bytes([n % 256]) * size, sample_rate=rate_hz, num_channels=1)
        for n in range(count)
    ]


async def gathered(sent: list[InputAudioRawFrame]) -> list[bytes]:
    heard: list[bytes] = []
    way = Pipeline([SoundWindows(), SoundEnd(lambda frame: heard.append(frame.audio))])
    async with asyncio.timeout(10.0):
        await run_test(way, frames_to_send=[*sent, TextFrame("the end")])
    return heard


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
async def test_every_window_is_complete_as_soon_as_its_last_piece_came(rate_hz: int) -> None:
    sent = pieces(rate_hz, 40)
    came, complete = 0, set[int]()
    for each in sent:  # after how much sound the detector could compute, piece by piece
        before, came = came, came + len(each.audio)
        if came // WINDOW_BYTES[rate_hz] > before // WINDOW_BYTES[rate_hz]:
            complete.add(came)

    heard = await gathered(sent)

    reached = [sum(map(len, heard[: n + 1])) for n in range(len(heard))]
    assert set(reached) == complete


async def test_no_sample_is_lost_or_moved_and_five_pieces_do_for_eight() -> None:
    sent = pieces(8000, 80)

    heard = await gathered(sent)

    assert b"".join(heard) == b"".join(each.audio for each in sent)
    assert len(heard) == 50
