"""Sound for a browser while our own process stalls for a moment."""

import asyncio
from typing import cast

import numpy as np
import pytest
from pipecat.transports.smallwebrtc.transport import RawAudioTrack

from tests.virtual_time import VirtualLoop
from transports.webrtc.output import AHEAD, Cushion

pytestmark = pytest.mark.virtual_time

RATE_HZ = 16_000
PIECE = np.full(RATE_HZ // 50, 7000, dtype="<i2").tobytes()  # 20 ms
PIECES = 20


@pytest.mark.parametrize("stall_s", [0.05, 0.15])
async def test_a_stall_leaves_no_gap_in_speech(stall_s: float) -> None:
    clock = cast("VirtualLoop", asyncio.get_running_loop()).clock
    track, cushion = RawAudioTrack(RATE_HZ), Cushion()
    heard: list[bool] = []

    async def write() -> None:
        for _ in range(PIECES):
            await asyncio.sleep(0.002)  # a piece comes through some queues
            await cushion.add(track.add_audio_bytes(PIECE))

    async def take() -> None:
        while sum(heard) < 2 * PIECES:  # the track hands over 10 ms at a time
            frame = await track.recv()
            heard.append(bool(frame.to_ndarray().any()))
            if len(heard) == PIECES:
                clock.now += stall_s
            await asyncio.sleep(0)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(take())

    assert all(heard[heard.index(True) :])


async def test_a_barge_in_drops_sound_that_the_browser_has_not_got_and_frees_the_writer() -> None:
    track, cushion = RawAudioTrack(RATE_HZ), Cushion()
    for _ in range(AHEAD):
        await cushion.add(track.add_audio_bytes(PIECE))
    one_more = asyncio.ensure_future(cushion.add(track.add_audio_bytes(PIECE)))
    await asyncio.sleep(0)

    cushion.cut(track)

    await one_more
    assert not (await track.recv()).to_ndarray().any()


async def test_a_barge_in_keeps_protected_sound() -> None:
    track, cushion = RawAudioTrack(RATE_HZ), Cushion()
    await cushion.add(track.add_audio_bytes(PIECE), uninterruptible=True)

    cushion.cut(track)

    assert (await track.recv()).to_ndarray().any()
