"""The sound on its way to a browser, while our own process is busy for a moment."""

import asyncio
import time

import numpy as np
import pytest
from pipecat.transports.smallwebrtc.transport import RawAudioTrack

from transports.webrtc_output import Cushion

pytestmark = pytest.mark.virtual_time

RATE_HZ = 16_000
PIECE = np.full(RATE_HZ // 50, 7000, dtype="<i2").tobytes()  # 20 ms
PIECES = 20


async def test_a_busy_moment_tears_no_hole_into_speech() -> None:
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
                time.sleep(0.05)  # noqa: ASYNC251 - the busy moment
            await asyncio.sleep(0)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(take())

    assert all(heard[heard.index(True) :])
