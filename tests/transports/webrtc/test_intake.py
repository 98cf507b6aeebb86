"""Floods by a connected browser: its line is closed, and aiortc buffers little."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from struct import pack
from typing import Any

import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtcpRtpfbPacket

from calls.events import Event, InputRefused
from tests.bot.server.peer import on_loopback
from tests.transports.webrtc.floods import FLOODS, Flood, fast_sound, sctp_of, send_sound, way_of
from transports.webrtc import intake, intake_rules
from transports.webrtc.connection import BrowserConnection
from transports.webrtc.ice_restart import MAX_ADDRESSES
from transports.webrtc.intake_rules import Arrival, Counters, count_chunks, sound_s
from transports.webrtc.leg import WebrtcLeg

__all__ = ["on_loopback"]

HEAD = pack("!HHL", 5000, 5000, 1) + bytes(4)


@dataclass
class Lines:
    """Both ends of a line."""

    browser: RTCPeerConnection
    line: BrowserConnection
    events: list[Event] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, InputRefused)]

    @property
    def receiver(self) -> Any:
        return self.line.pc.getTransceivers()[0].receiver


@asynccontextmanager
async def connected() -> AsyncIterator[Lines]:
    browser = RTCPeerConnection()
    browser.addTrack(AudioStreamTrack())
    opened = asyncio.Event()
    browser.createDataChannel("chat").on("open", opened.set)
    await browser.setLocalDescription(await browser.createOffer())
    events: list[Event] = []
    line = BrowserConnection(emit=events.append, clock=asyncio.get_running_loop().time)
    try:
        await line.initialize(sdp=browser.localDescription.sdp, type="offer")
        answer = line.get_answer()
        assert answer is not None
        await browser.setRemoteDescription(
            RTCSessionDescription(sdp=answer["sdp"], type=answer["type"])
        )
        assert await line.connects_within(10)
        async with asyncio.timeout(10):
            await opened.wait()
        yield Lines(browser, line, events)
    finally:
        await browser.close()
        await line.shut()


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
@pytest.mark.parametrize(("flood", "reason"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_closes_its_line_with_one_reason(flood: Flood, reason: str) -> None:
    async with connected() as lines:
        ours = way_of(lines.line.pc)
        sockets = [protocol.transport for protocol in ours._connection._protocols]
        with suppress(ConnectionError):
            await flood(lines.browser)
        await asyncio.sleep(2)

        assert lines.reasons[-1] == lines.line.intake.over == reason
        assert all(socket.is_closing() for socket in sockets)
        assert lines.line.pc.connectionState == "closed"
        sctp = sctp_of(lines.line.pc)
        held = [len(stream.reassembly) for stream in sctp._inbound_streams.values()]
        assert sum(held) <= intake_rules.MAX_HELD + intake_rules.MAX_CHUNKS
        assert len(held) <= intake_rules.MAX_STREAMS + intake_rules.MAX_CHUNKS


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_sound_faster_than_time_is_dropped_before_it_is_decoded() -> None:
    async with connected() as lines:
        read_s = 0.0

        async def read() -> None:
            nonlocal read_s
            while True:
                frame = await lines.receiver.track.recv()
                read_s += frame.samples / frame.sample_rate

        reading = asyncio.create_task(read())
        await fast_sound(lines.browser)  # 9 s of time, 108 s of sound
        await asyncio.sleep(1)
        reading.cancel()

        assert lines.reasons == ["audio_faster_than_time"]
        assert not lines.line.intake.over
        assert read_s < intake.AUDIO_CAP_S + 1.02 * 12


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_a_track_that_nothing_reads_keeps_only_the_newest_second() -> None:
    async with connected() as lines:
        await asyncio.sleep(10)  # aiortc's own test track sends 50 packets a second

        waiting = lines.receiver.track._queue.qsize()
        newest = await lines.receiver.track.recv()

        assert waiting == intake.UNREAD_FRAMES
        assert newest.pts > 48_000 * 8


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_new_sources_are_dropped_and_not_remembered() -> None:
    async with connected() as lines:
        for number in range(300):
            await send_sound(lines.browser, b"\xf8\xff\xfe", number=number, ssrc=100 + number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        router = lines.receiver.transport._rtp_router

        assert lines.reasons == ["too_many_sources"]
        assert not lines.line.intake.over
        assert len(router.ssrc_table) <= intake_rules.MAX_SOURCES + 1


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_nothing_is_sent_again_on_request() -> None:
    """280 words of 17 numbers each would make aiortc send a thousand packets for one."""
    async with connected() as lines:
        sender: Any = lines.line.pc.getTransceivers()[0].sender
        lines.line.replace_audio_track(AudioStreamTrack())
        await asyncio.sleep(3)
        history = sender._RTCRtpSender__rtp_history
        assert history
        before = sender.transport._RTCDtlsTransport__tx_packets
        wanted = RtcpRtpfbPacket(fmt=1, ssrc=7, media_ssrc=sender._ssrc)
        wanted.lost = sorted(packet.sequence_number for packet in history.values())
        await lines.browser.getTransceivers()[0].sender.transport._send_rtp(bytes(wanted))
        await asyncio.sleep(0.1)

        assert sender.transport._RTCDtlsTransport__tx_packets - before < 20


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_messages_to_a_page_that_acknowledges_nothing_are_bounded() -> None:
    async with connected() as lines:

        async def hear_nothing(data: bytes) -> None:
            del data

        sctp_of(lines.browser)._handle_data = hear_nothing
        leg = WebrtcLeg(lines.line)
        lines.line._connect_invoked = True  # as by a pipeline's start
        for _ in range(2_000):
            leg.show({"type": "said", "text": "x" * 1_000})
        await asyncio.sleep(1)

        channel: Any = lines.line._data_channel
        assert channel.bufferedAmount < intake.MAX_UNREAD_BYTES + 2_000
        assert lines.reasons == ["page_does_not_read"]


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_datagrams_of_others_do_not_close_a_browsers_line() -> None:
    """A scan of the ports must not end calls."""
    async with connected() as lines:
        ours = way_of(lines.line.pc)
        host, port = ours._connection._protocols[0].transport.get_extra_info("sockname")[:2]
        loop = asyncio.get_running_loop()
        stranger, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, port)
        )
        for _ in range(100):
            for _ in range(20):
                stranger.sendto(b"\x80" + bytes(200))
            await asyncio.sleep(0.05)
        stranger.close()

        assert not lines.line.intake.over
        assert lines.line.pc.connectionState == "connected"
        assert lines.reasons == []


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_checks_from_many_ports_are_not_all_remembered() -> None:
    async with connected() as lines:
        ours = way_of(lines.line.pc)
        protocol = ours._connection._protocols[0]
        message: Any = type("Check", (), {"attributes": {"PRIORITY": 1}})()
        for port in range(2_000):
            ours._connection.check_incoming(message, ("127.0.0.1", 10_000 + port), protocol)

        assert len(ours._connection._remote_candidates) <= MAX_ADDRESSES


@pytest.mark.virtual_time
@pytest.mark.usefixtures("on_loopback")
async def test_an_ordinary_call_is_never_refused() -> None:
    async with connected() as lines:
        lines.line.replace_audio_track(AudioStreamTrack())
        (chat,) = sctp_of(lines.browser)._data_channels.values()
        for second in range(8):
            chat.send("ping: 1")
            for number in range(5):
                lines.line.send_app_message({"type": "said", "text": f"{second} {number}" * 20})
            await asyncio.sleep(1)

        assert lines.reasons == []
        assert lines.line.pc.connectionState == "connected"
    gc.collect()


SOUND = {
    "20 ms": (b"\xf8" + bytes(50), "opus", 0.02),
    "10 ms": (b"\xf0" + bytes(50), "opus", 0.01),
    "60 ms": (bytes([3 << 3]) + bytes(50), "opus", 0.06),
    "two of 20 ms": (b"\xf9" + bytes(50), "Opus", 0.04),
    "six of 20 ms": (b"\xfb\x06" + bytes(50), "opus", 0.12),
    "as many as can be written": (bytes([3 << 3 | 3, 63]), "opus", 3.78),
    "a number that is missing": (b"\xfb", "opus", 0.0),
    "none": (b"", "opus", 0.0),
    "of G.711": (bytes(160), "PCMU", 0.02),
    "of G.722": (bytes(160), "G722", 0.02),
}


@pytest.mark.parametrize(("payload", "codec", "length_s"), SOUND.values(), ids=SOUND.keys())
def test_the_seconds_in_a_packet_are_known_before_it_is_decoded(
    payload: bytes, codec: str, length_s: float
) -> None:
    assert sound_s(payload, codec) == pytest.approx(length_s)


def body(kind: int, content: bytes) -> bytes:
    return pack("!BBH", kind, 0, 4 + len(content)) + content + bytes(-len(content) % 4)


SACK_HEAD = pack("!LL", 1, 1)
PACKETS = {
    "a message": (body(0, bytes(13)), 1),
    "a message without a byte": (body(0, bytes(12)), 0),
    "an acknowledgement": (body(3, SACK_HEAD + pack("!HHHH", 1, 0, 2, 9)), 1),
    "an acknowledgement that ends early": (body(3, SACK_HEAD + pack("!HH", 9, 0)), 0),
    "a gap that runs backwards": (body(3, SACK_HEAD + pack("!HHHH", 1, 0, 9, 2)), 0),
    "a gap that is too wide": (body(3, SACK_HEAD + pack("!HHHH", 1, 0, 1, 1025)), 0),
    "a heartbeat": (body(4, pack("!HHL", 1, 8, 7)), 1),
    "a parameter without a length": (body(4, pack("!HH", 1, 0)), 0),
    "a parameter shorter than its head": (body(130, pack("!HH", 13, 3)), 0),
    "parameters without end": (body(130, pack("!HH", 13, 4) * 33), 0),
    "a skipped message": (body(192, pack("!LHH", 1, 1, 1)), 1),
    "half a skipped stream": (body(192, pack("!LH", 1, 1)), 0),
    "a chunk longer than its packet": (pack("!BBH", 10, 0, 400) + bytes(40), 0),
    "a chunk shorter than its head": (pack("!BBH", 10, 0, 3) + bytes(40), 0),
    "nothing": (b"", 0),
    "a chunk of tomorrow": (body(77, bytes(9)), 1),
    "thirty-two chunks": (body(11, b"") * 32, 32),
    "thirty-three chunks": (body(11, b"") * 33, 0),
}


@pytest.mark.parametrize(("chunks", "number"), PACKETS.values(), ids=PACKETS.keys())
def test_a_packet_is_checked_before_it_is_parsed(chunks: bytes, number: int) -> None:
    assert count_chunks(HEAD + chunks) == number


@pytest.mark.parametrize(
    ("size", "first"),
    [
        pytest.param(60, "datagrams_too_fast", id="small, of the browser"),
        pytest.param(1_400, "bytes_too_fast", id="large, of the browser"),
    ],
)
def test_a_burst_after_a_delay_passes_and_a_flood_does_not(size: int, first: str) -> None:
    counters, data = Counters(0.0), b"\x16" + bytes(size - 1)
    assert not any(counters.judge_datagram(data, known=True, now=8.0).over for _ in range(350))

    verdicts = [counters.judge_datagram(data, known=True, now=8.0).over for _ in range(10_000)]

    assert next(filter(None, verdicts)) == first


@pytest.mark.parametrize(
    ("data", "passed"),
    [
        (b"\x00\x01" + bytes(18), 200),  # a connectivity check
        (b"\x16\xfe\xfd" + bytes(60), 0),  # DTLS
        (b"\x80\x6f" + bytes(170), 0),  # sound
        (bytes(5), 0),
        (b"", 0),
        (bytes(60_000), 200),
    ],
    ids=["STUN", "DTLS", "sound", "short", "empty", "large"],
)
def test_datagrams_from_unknown_addresses_never_end_a_call(data: bytes, passed: int) -> None:
    counters = Counters(0.0)

    verdicts = [counters.judge_datagram(data, known=False, now=0.0) for _ in range(20_000)]
    own = counters.judge_datagram(b"\x16" + bytes(60), known=True, now=0.0)

    assert not any(verdict.over for verdict in verdicts)
    assert sum(not verdict.drop for verdict in verdicts) == passed
    assert own == Arrival()
