"""Closing of a browser's line."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription

from tests.bot.server.peer import on_loopback
from transports.webrtc.connection import CLOSE_PEER_S, BrowserConnection
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

    async with asyncio.timeout(2 * CLOSE_PEER_S):
        await getattr(line, close)()


FINGERPRINT, UFRAG, PWD = "a=fingerprint:", "a=ice-ufrag:", "a=ice-pwd:"


async def offer_of(*, data: bool) -> list[str]:
    """Return the lines of a browser's offer."""
    browser = RTCPeerConnection()
    browser.addTrack(AudioStreamTrack())
    if data:
        browser.createDataChannel("chat")
    await browser.setLocalDescription(await browser.createOffer())
    lines = browser.localDescription.sdp.splitlines()
    await browser.close()
    return lines


def at_session_level(lines: list[str]) -> list[str]:
    """Move a line's security to the session, as Firefox does with the fingerprint."""
    begin = next(index for index, line in enumerate(lines) if line.startswith("m="))
    moved = [line for line in lines if line.startswith((FINGERPRINT, UFRAG, PWD))]
    rest = [line for line in lines if line not in moved]
    return [*rest[:begin], *dict.fromkeys(moved), *rest[begin:]]


def without(lines: list[str], *begins: str, kinds: str = "audio application") -> list[str]:
    """Remove lines from the media of these kinds."""
    kept, kind = list[str](), ""
    for line in lines:
        kind = line[2:].split()[0] if line.startswith("m=") else kind
        if not (kind in kinds.split() and line.startswith(begins)):
            kept.append(line)
    return kept


OFFERS = {
    "complete": (lambda lines: lines, True),
    "for the session": (at_session_level, True),
    "for the sound alone, in a bundle": (
        lambda lines: without(lines, FINGERPRINT, kinds="application"),
        True,
    ),
    "capitals": (lambda lines: [line.replace(":sha-", ":SHA-") for line in lines], True),
    "no fingerprint": (lambda lines: without(lines, FINGERPRINT), False),
    "none for the sound": (lambda lines: without(lines, FINGERPRINT, kinds="audio"), False),
    "none, and no bundle": (
        lambda lines: without(
            [line for line in lines if not line.startswith("a=group")],
            FINGERPRINT,
            kinds="application",
        ),
        False,
    ),
    "an unknown hash": (
        lambda lines: [
            f"{FINGERPRINT}md5 00:11" if line.startswith(FINGERPRINT) else line for line in lines
        ],
        False,
    ),
    "no user": (lambda lines: without(lines, UFRAG), False),
    "no password": (lambda lines: without(lines, PWD), False),
}


@pytest.mark.parametrize(("change", "answered"), OFFERS.values(), ids=OFFERS)
async def test_an_offer_that_cannot_be_connected_is_refused_at_once(
    change: Callable[[list[str]], list[str]], *, answered: bool
) -> None:
    sdp = "\r\n".join([*change(await offer_of(data=True)), ""])
    line = BrowserConnection(emit=lambda _event: None, clock=asyncio.get_running_loop().time)
    try:
        if answered:
            await line.initialize(sdp=sdp, type="offer")
            assert line.get_answer()
        else:
            with pytest.raises(ValueError, match=r"no fingerprint|is missing"):
                await line.initialize(sdp=sdp, type="offer")
    finally:
        await line.shut()
