"""Closing of a browser's line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription

from tests.bot.server.peer import on_loopback
from transports.webrtc.connection import CLOSE_S, BrowserConnection
from transports.webrtc.ice_restart import transports_of

__all__ = ["on_loopback"]

pytestmark = pytest.mark.usefixtures("on_loopback")


@asynccontextmanager
async def connected() -> AsyncIterator[BrowserConnection]:
    """Open a line to a browser."""
    browser = RTCPeerConnection()
    browser.addTrack(AudioStreamTrack())
    browser.createDataChannel("chat")
    await browser.setLocalDescription(await browser.createOffer())
    loop = asyncio.get_running_loop()
    line = BrowserConnection(emit=lambda _event: None, clock=loop.time)
    try:
        await line.initialize(sdp=browser.localDescription.sdp, type="offer")
        answer = line.get_answer()
        assert answer is not None
        await browser.setRemoteDescription(
            RTCSessionDescription(sdp=answer["sdp"], type=answer["type"])
        )
        assert await line.connects_within(10)
        yield line
    finally:
        await browser.close()


async def test_a_cancellation_while_a_line_closes_leaves_no_socket_open() -> None:
    async with connected() as line:
        (way,) = transports_of(line.pc)
        sockets = [protocol.transport for protocol in way._connection._protocols]
        closing = asyncio.create_task(line.disconnect())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        await line.shut()

        assert sockets
        assert all(socket.is_closing() for socket in sockets)
        assert line.pc.connectionState == "closed"


@pytest.mark.virtual_time
@pytest.mark.parametrize("close", ["disconnect", "shut"])
async def test_a_line_whose_library_never_closes_it_is_left(
    monkeypatch: pytest.MonkeyPatch, close: str
) -> None:
    line = BrowserConnection(emit=lambda _event: None, clock=asyncio.get_running_loop().time)
    monkeypatch.setattr(line.pc, "close", asyncio.Event().wait)

    async with asyncio.timeout(2 * CLOSE_S):
        await getattr(line, close)()
