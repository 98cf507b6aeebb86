"""The drill's telephone as a page without a browser; it reconnects like our page."""

import asyncio
import time
from contextlib import suppress
from typing import Any, Final, Self

import numpy as np
import soxr
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from lab.drill.sound import RATE_HZ, Pcm
from lab.simulators.carrier.line import CarrierEar
from lab.simulators.carrier.sound_code import plain_code
from tests.bot.server.peer import Peer, post
from tests.transports.conformance.transport import RATE_HZ as MOUTH_HZ
from tests.transports.conformance.transports.webrtc import Mouth

LOOK_S: Final = 0.25  # these as in bot/server/pages/line.js and telephone.js
QUIET_S: Final = 1.2
RESTART_S: Final = 3.0
AGAIN_S: Final = 0.5
GIVE_UP_S: Final = 30.0
RINGS_S: Final = 30.0  # a guard


class PageTelephone:
    """One call of a page; seconds count from the first received sound.

    A line without sound for 1.2 s is suspect: the page offers the server a new path for the same
    call. If the server knows no such call, or no sound comes, the page calls again with its token.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._mouth = Mouth()
        self._ear = CarrierEar(plain_code(RATE_HZ))
        self._lines: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_at = 0.0
        self._came = asyncio.Event()
        self.started_at = 0.0
        self.lost_at: list[float] = []

    async def __aenter__(self) -> Self:
        """Call, and wait until sound arrives."""
        await self._dial({})
        async with asyncio.timeout(RINGS_S):
            await self._came.wait()
        self._begin(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        for line in self._lines:
            await line.leave()
        self._mouth.stop()

    @property
    def now_s(self) -> float:
        """Seconds since the first sound."""
        return time.monotonic() - self.started_at

    @property
    def over(self) -> bool:
        """Whether the server has said goodbye."""
        return any(told.get("type") == "ended" for told in self._lines[-1].told)

    def heard(self) -> Pcm:
        """Return what was heard so far."""
        return self._ear.recording(self.now_s)

    def bursts(self) -> list[tuple[float, float]]:
        """Return when the agent was heard."""
        return [(burst.start / RATE_HZ, burst.end / RATE_HZ) for burst in self._ear.bursts]

    async def say(self, samples: Pcm) -> float:
        """Say sound; return when its last sample has left."""
        self._mouth.take(soxr.resample(samples, RATE_HZ, MOUTH_HZ).astype(np.int16))
        await self._mouth.said.wait()
        return self.now_s

    async def _dial(self, request_data: dict[str, Any]) -> None:
        line = Peer(self._url)
        (sender,) = line.line.getSenders()
        sender.replaceTrack(self._mouth)
        line.line.on("track", lambda track: self._begin(self._hear(track)))
        self._lines.append(line)
        await line.call(request_data=request_data)

    def _begin(self, work: Any) -> None:
        self._tasks.add(asyncio.ensure_future(work))

    async def _hear(self, track: MediaStreamTrack) -> None:
        narrow: soxr.ResampleStream | None = None
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            narrow = narrow or soxr.ResampleStream(frame.sample_rate, RATE_HZ, 1, dtype="int16")
            self._heard_at = time.monotonic()
            self.started_at = self.started_at or self._heard_at
            self._ear.hear(narrow.resample_chunk(samples).tobytes(), self.now_s)
            self._came.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if time.monotonic() - self._heard_at > QUIET_S and await self._is_lost():
                self.lost_at.append(self.now_s)
                await self._come_back()

    async def _is_lost(self) -> bool:
        """Offer the server a new path; return whether the call has ended there."""
        doubted = time.monotonic()
        line = self._lines[-1]
        mine = line.line.localDescription
        body = {"sdp": mine.sdp, "type": mine.type, "pc_id": line.pc_id}
        while time.monotonic() - max(doubted, self._heard_at) < RESTART_S:
            try:
                async with asyncio.timeout(RESTART_S):
                    status, _ = await post(
                        self._url, {**body, "request_data": {"ice_restart": True}}
                    )
            except (OSError, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                continue
            if status != 200:
                return True
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - self._heard_at > QUIET_S

    async def _come_back(self) -> None:
        token = next(t["resume_token"] for t in self._lines[-1].told if t.get("type") == "call")
        self._lines[-1].vanish()
        until = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until:
            with suppress(OSError, AssertionError, TimeoutError, ValueError):
                await self._dial({"resume_token": token})
                break
            await asyncio.sleep(AGAIN_S)
        self._heard_at = time.monotonic()
