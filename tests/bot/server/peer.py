"""A WebRTC peer on loopback that a test drives step by step, in place of a browser."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription

from transports.webrtc.ice_restart import transports_of


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let peers offer 127.0.0.1, which WebRTC leaves out: a machine may have no other address."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", _loopback_only)


def _loopback_only(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: FBT001 - aioice's own
    del use_ipv4, use_ipv6
    return ["127.0.0.1"]


class Peer:
    """One browser."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._token = token
        self.told: list[dict[str, Any]] = []
        self.pc_id = ""
        self.connected = asyncio.Event()
        self.line = RTCPeerConnection()
        self.line.addTrack(AudioStreamTrack())
        self.channel = self.line.createDataChannel("chat")
        self._pings: asyncio.Task[None] | None = None
        self.channel.on("message", self._hear)
        self.channel.on("open", self._open)

    async def offer(self, **more: Any) -> tuple[int, dict[str, Any]]:
        """Offer a call; return the status and the text."""
        await self.line.setLocalDescription(await self.line.createOffer())
        mine = self.line.localDescription
        body = {"sdp": mine.sdp, "type": mine.type, **more}
        status, said = await post(self.url, body, token=self._token)
        self.pc_id = said.get("pc_id", "")
        return status, said

    async def call(self, **more: Any) -> None:
        """Offer a call and connect."""
        status, said = await self.offer(**more)
        assert status == 200, said
        await self.connect(said)

    async def connect(self, answer: dict[str, Any]) -> None:
        """Apply an answer, and wait for the data channel."""
        await self.apply(answer)
        async with asyncio.timeout(10):
            await self.connected.wait()

    async def apply(self, answer: dict[str, Any]) -> None:
        """Begin to connect."""
        theirs = RTCSessionDescription(sdp=answer["sdp"], type=answer["type"])
        await self.line.setRemoteDescription(theirs)

    async def until_told(self, kind: str, *, within_s: float = 15) -> dict[str, Any]:
        """Return the first message of a kind."""
        async with asyncio.timeout(within_s):
            while True:
                if found := [item for item in self.told if item.get("type") == kind]:
                    return found[0]
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        """Close the connection."""
        if self._pings:
            self._pings.cancel()
        await self.line.close()

    def vanish(self) -> None:
        """Send nothing more, as a browser that was killed."""
        if self._pings:
            self._pings.cancel()
        self.fall_silent()

    def vanish_when_connected(self) -> None:
        """Send nothing more from the moment when the line is up."""

        @self.line.on("connectionstatechange")
        def vanish() -> None:
            if self.line.connectionState == "connected":
                self.vanish()

    def fall_silent(self) -> None:
        """Lose everything that is sent, until `speak_again`."""
        for protocol in self._protocols():
            protocol.send_data = _send_nothing

    def speak_again(self) -> None:
        """Send as before."""
        for protocol in self._protocols():
            del protocol.send_data

    def say(self, **message: Any) -> None:
        """Say something over the data channel."""
        self.channel.send(json.dumps(message))

    def _protocols(self) -> list[Any]:
        return [
            protocol for way in transports_of(self.line) for protocol in way._connection._protocols
        ]

    def _open(self) -> None:
        self.connected.set()
        self._pings = asyncio.ensure_future(self._ping())

    async def _ping(self) -> None:
        while self.channel.readyState == "open":
            self.channel.send("ping: 1")
            await asyncio.sleep(1.0)

    def _hear(self, message: str) -> None:
        self.told.append(json.loads(message))


async def _send_nothing(_data: bytes, _address: tuple[str, int]) -> None:
    pass


@asynccontextmanager
async def peer(url: str, token: str = "") -> AsyncIterator[Peer]:
    """Run a peer during the block."""
    it = Peer(url, token)
    try:
        yield it
    finally:
        await it.leave()


async def post(url: str, body: dict[str, Any], *, token: str = "") -> tuple[int, dict[str, Any]]:
    """Post an offer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/api/offer", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def patch(url: str, body: dict[str, Any]) -> int:
    """Patch an offer."""
    async with (
        aiohttp.ClientSession() as session,
        session.patch(f"{url}/api/offer", json=body) as answer,
    ):
        return answer.status


async def readyz(url: str) -> int:
    """Ask whether a call could be accepted."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        return answer.status


def open_lines() -> Iterator[RTCPeerConnection]:
    """Return the peer connections of this process that are not closed."""
    gc.collect()
    for item in gc.get_objects():
        if isinstance(item, RTCPeerConnection) and item.connectionState != "closed":
            yield item
