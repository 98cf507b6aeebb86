"""Floods of a hostile browser after its handshake, through aiortc's lower layers."""

import asyncio
from collections.abc import Awaitable, Callable
from struct import pack
from typing import Any, Final, TypeAlias

from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk, SackChunk, serialize_packet
from aiortc.rtp import RtpPacket

from transports.webrtc.ice_restart import transports_of

FIRST, WHOLE = 0x02, 0x03  # RFC 9260, section 3.3.1
Flood: TypeAlias = Callable[[RTCPeerConnection], Awaitable[None]]


def sctp_of(line: RTCPeerConnection) -> Any:
    """Return the SCTP end of a line."""
    assert line.sctp
    return line.sctp


def way_of(line: RTCPeerConnection) -> Any:
    """Return the one ICE transport of a line."""
    (way,) = transports_of(line)
    return way


async def send_packet(browser: RTCPeerConnection, *chunks: bytes) -> None:
    """Send raw chunks, with a checksum."""
    sctp, whole = sctp_of(browser), b"".join(chunks)
    chunk: Any = type("Raw", (), {"__bytes__": lambda _: whole})()
    ports = (sctp._local_port, sctp._remote_port)
    await sctp.transport._send_data(serialize_packet(*ports, sctp._remote_verification_tag, chunk))


async def send_sound(
    browser: RTCPeerConnection, payload: bytes, *, number: int, ssrc: int = 7
) -> None:
    """Send a packet of Opus."""
    transceiver = browser.getTransceivers()[0]
    packet = RtpPacket(sequence_number=number % 65536, ssrc=ssrc, payload=payload)
    packet.payload_type = transceiver._codecs[0].payloadType or 0
    packet.timestamp = 960 * number
    await transceiver.sender.transport._send_rtp(packet.serialize())


def chunk_of(tsn: int, *, flags: int, stream: int = 1, data: bytes = b"x") -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.protocol, chunk.user_data = tsn, stream, 51, data
    return chunk


async def gaps(browser: RTCPeerConnection) -> None:
    """Leave out each second chunk."""
    first = sctp_of(browser)._local_tsn
    for number in range(400):
        await sctp_of(browser)._send_chunk(
            chunk_of(first + 1 + 2 * number, flags=WHOLE, stream=number % 4)
        )
        await asyncio.sleep(0.02)


async def no_end(browser: RTCPeerConnection) -> None:
    """Begin a message that never ends."""
    first = sctp_of(browser)._local_tsn
    for number in range(400):
        await sctp_of(browser)._send_chunk(
            chunk_of(first + number, flags=FIRST if number == 0 else 0)
        )
        await asyncio.sleep(0.02)


async def channels(browser: RTCPeerConnection) -> None:
    """Send on many streams, each with an incomplete message."""
    first = sctp_of(browser)._local_tsn
    for number in range(60):
        await sctp_of(browser)._send_chunk(chunk_of(first + number, flags=FIRST, stream=2 * number))
        await asyncio.sleep(0.02)


async def skipped(browser: RTCPeerConnection) -> None:
    """Skip messages on all possible streams."""
    chunk = ForwardTsnChunk()
    chunk.cumulative_tsn = sctp_of(browser)._local_tsn + 9
    chunk.streams = [(number, 1) for number in range(250)]
    await sctp_of(browser)._send_chunk(chunk)


async def endless(browser: RTCPeerConnection) -> None:
    """Send a parameter of length 0: aiortc's parser does not get past it."""
    await send_packet(browser, pack("!BBHHH", 4, 0, 8, 1, 0))


async def wide(browser: RTCPeerConnection) -> None:
    """Acknowledge 280 times 65,000 chunks that were never sent."""
    sack = SackChunk()
    sack.cumulative_tsn = sctp_of(browser)._last_received_tsn
    sack.gaps = [(1, 65_000)] * 280
    await sctp_of(browser)._send_chunk(sack)


async def many(browser: RTCPeerConnection) -> None:
    """Fill packets with as many chunks as fit."""
    first = sctp_of(browser)._local_tsn
    for number in range(40):
        at = first + 30 * number
        await send_packet(browser, *(bytes(chunk_of(at + more, flags=WHOLE)) for more in range(30)))


async def init_bundled(browser: RTCPeerConnection) -> None:
    """Send an INIT with another chunk, which RFC 9260 forbids and aiortc asserts."""
    init = pack("!BBHLLHHL", 1, 0, 20, 1, 1, 1, 1, 1)
    await send_packet(browser, init, init)


async def datagrams(browser: RTCPeerConnection) -> None:
    for number in range(3_000):
        await way_of(browser)._send(b"\xff" * 60)
        if number % 20 == 0:
            await asyncio.sleep(0.002)


async def fat(browser: RTCPeerConnection) -> None:
    for _ in range(40):
        await way_of(browser)._send(b"\xff" * 30_000)
        await asyncio.sleep(0.01)


async def fast_sound(browser: RTCPeerConnection) -> None:
    """Send 12 s of sound a second: packets of 120 ms, a hundred a second."""
    for number in range(900):
        await send_sound(browser, bytes([31 << 3 | 3, 6]) + bytes(12), number=number)
        await asyncio.sleep(0.01)


FLOODS: Final[dict[str, tuple[Flood, str]]] = {
    "chunks with gaps": (gaps, "unfinished_messages"),
    "a message without an end": (no_end, "unfinished_messages"),
    "many streams": (channels, "unfinished_messages"),
    "skipped streams": (skipped, "bad_data_packet"),
    "a parameter of length 0": (endless, "bad_data_packet"),
    "wide gaps": (wide, "bad_data_packet"),
    "packets of small chunks": (many, "data_too_fast"),
    "a bundled INIT": (init_bundled, "bad_data_packet"),
    "datagrams": (datagrams, "datagrams_too_fast"),
    "fat datagrams": (fat, "bytes_too_fast"),
}
