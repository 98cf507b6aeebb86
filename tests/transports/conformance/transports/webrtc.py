"""The browser's transport, by aiortc: another implementation than a browser's, and as strict."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from tests.bot.server.peer import Peer, _loopback_only
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE, RATE_HZ, Sound, audible_s

STEP = RATE_HZ // 50
LOST_S = 2.5  # longer than a doubt, shorter than what a page gives up after
CANNOT: Final = {
    "keys_out": "a browser cannot receive DTMF",
    "transfer": "a browser has no other line",
}
VOID: Final[dict[str, str]] = {}


class Mouth(MediaStreamTrack):
    """The person's speech, 20 ms at a time; silence in between."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._rest = np.zeros(0, np.int16)
        self._sent = 0
        self._began_at: float | None = None
        self.may_speak, self.said = asyncio.Event(), asyncio.Event()
        self.may_speak.set()

    def take(self, sound: Sound) -> None:
        self._rest = np.concatenate([self._rest, sound])
        self.said.clear()

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        if not self.may_speak.is_set():
            await self.may_speak.wait()
            self._began_at = None
        if self._began_at is None:
            self._began_at = loop.time() - self._sent / RATE_HZ
        await asyncio.sleep(max(0.0, self._began_at + self._sent / RATE_HZ - loop.time()))
        piece, self._rest = self._rest[:STEP], self._rest[STEP:]
        if not self._rest.size:
            self.said.set()
        piece = np.pad(piece, (0, STEP - piece.size))
        frame = AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._sent, Fraction(1, RATE_HZ)
        self._sent += STEP
        return frame


class WebrtcCaller:
    def __init__(self, url: str) -> None:
        self.peer = Peer(url)
        self._mouth = Mouth()
        (sender,) = self.peer.line.getSenders()
        sender.replaceTrack(self._mouth)
        self._heard_s = 0.0
        self._hearing: asyncio.Task[None] | None = None
        self.peer.line.on("track", self._listen)

    async def say(self, sound: Sound) -> None:
        self._mouth.take(sound)
        await self._mouth.said.wait()

    def heard_s(self) -> float:
        return self._heard_s

    async def press(self, key: str) -> None:
        self.peer.say(type="key", key=key)

    def keys_heard(self) -> str:
        return ""

    async def hang_up(self) -> None:
        await self.peer.leave()

    async def vanish(self) -> None:
        self.peer.vanish()
        self._mouth.may_speak.clear()

    async def keep_still(self, length_s: float) -> None:
        self._mouth.may_speak.clear()
        await asyncio.sleep(length_s)
        self._mouth.may_speak.set()

    async def reset_line(self) -> None:
        self.peer.fall_silent()
        await asyncio.sleep(LOST_S)
        self.peer.speak_again()

    @property
    def ended(self) -> bool:
        return self.peer.channel.readyState == "closed"

    async def leave(self) -> None:
        await self.peer.leave()
        self._mouth.stop()
        if self._hearing:
            self._hearing.cancel()

    def _listen(self, track: MediaStreamTrack) -> None:
        self._hearing = asyncio.create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self._heard_s += audible_s(samples, frame.sample_rate)


class Webrtc:
    name = "webrtc"
    peer = "aiortc"
    cannot = CANNOT
    void = VOID
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        with pytest.MonkeyPatch.context() as patch:  # WebRTC leaves 127.0.0.1 out
            patch.setattr("aioice.ice.get_host_addresses", _loopback_only)
            yield {"transports": {"webrtc": {"enabled": True}}}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[WebrtcCaller]:
        caller = WebrtcCaller(pool.url)
        try:
            await caller.peer.call()
            await pool.notes.until("CallStarted")
            yield caller
        finally:
            await caller.leave()


TRANSPORT = Webrtc()
