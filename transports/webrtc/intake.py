"""Limits what a browser may send, before aioice and aiortc store it; a flood closes the line.

For each limit, one method or attribute of an instance is replaced
(`tests/transports/webrtc/test_intake.py` fails if a library stops using it):

    datagram_received      of each socket: limits datagrams, before aioice parses or queues them
    _handle_data           of SCTP: limits chunks, incomplete messages and channels
    _handle_rtp_packet     of the sound: limits seconds, before they get to the decoder's thread
    _handle_rtcp_packet    of our sender: drops requests to repeat sound, which browsers do not send
    _queue                 of the track: limits the frames that wait to be read
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

from aioice import ice
from aiortc import RTCDataChannel, RTCPeerConnection, RTCRtpReceiver, RTCSctpTransport
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import AnyRtcpPacket, RtcpRrPacket, RtcpSrPacket, RtpPacket
from loguru import logger

from transports.far_end import AUDIO_PER_S, FloodLimit
from transports.leg import Clock
from transports.webrtc.ice_restart import transports_of
from transports.webrtc.intake_rules import MAX_HELD, MAX_STREAMS, Arrival, Counters, sound_s

AUDIO_CAP_S: Final = 8.0  # a line that returns within `connection.LOST_S` delivers this at once
UNREAD_FRAMES: Final = 50  # one second of sound; above this the oldest frame is dropped
MAX_UNREAD_BYTES: Final = 256 * 1024  # of our messages; the first hundred of a call have 30 kB
CODECS: Final = "_RTCRtpReceiver__codecs"  # the only place with the codec of a payload type

PLACES: Final = 4  # a power of two; a missing packet is given up after about 60 ms
AHEAD: Final = 1  # a packet is complete when the next one has arrived
BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"  # Pipecat replaces it too, for a shared screen

Handle: TypeAlias = Callable[..., Awaitable[None]]


def hand_on_early(line: RTCPeerConnection) -> None:
    """Make each audio receiver hold back as little as possible; call before the first packet.

    aiortc holds back four packets, which delays every turn by 80 ms. After the first lost packet it
    holds back fourteen, 0.28 s, until the end of the call, because it then releases one packet for
    each that arrives. Browsers do not send lost sound again, so the wait only helps packets in the
    wrong order, which are one or two places apart.
    """
    for transceiver in line.getTransceivers():
        if transceiver.kind == "audio":
            receiver = transceiver.receiver
            setattr(receiver, BUFFER, JitterBuffer(capacity=PLACES, prefetch=AHEAD))
            if receiver._track is not None:  # noqa: SLF001 - the queue is not public
                receiver._track._queue = NewestFrames(UNREAD_FRAMES)  # noqa: SLF001


class NewestFrames(asyncio.Queue[Any]):
    """Decoded frames that wait to be read; a full queue drops the oldest."""

    async def put(self, item: Any) -> None:
        """Add a frame without waiting, because the decoder's thread does not wait either."""
        if self.full():
            self.get_nowait()
        self.put_nowait(item)


class BrowserIntake:
    """Limits what one browser sends, over all parts of its line.

    Attributes:
        over: Why the line was closed; empty if it was not.
    """

    def __init__(
        self, *, clock: Clock, refused: Callable[[str], None], on_over: Callable[[], None]
    ) -> None:
        """Start without a line.

        Args:
            clock: The time in seconds; monotonic.
            refused: Called with the reason when something is refused or the line is closed.
            on_over: Called when the line was closed.
        """
        self.over = ""
        self._clock = clock
        self._refused = refused
        self._on_over = on_over
        self._counters = Counters(clock())
        self._sound = FloodLimit(per_s=AUDIO_PER_S, cap=AUDIO_CAP_S)
        self._sockets: list[ice.StunProtocol] = []

    def watch(self, line: RTCPeerConnection) -> None:
        """Limit the parts of a line that are new; call before the answer is sent to the browser."""
        for transport in transports_of(line):
            connection = transport._connection  # noqa: SLF001 - aiortc has no public way
            for protocol in connection._protocols:  # noqa: SLF001
                if protocol not in self._sockets:
                    self._sockets.append(protocol)
                    _replace_method(protocol, "datagram_received", self._take_datagram, connection)
        for transceiver in line.getTransceivers():
            receiver = transceiver.receiver
            _replace_method(receiver, "_handle_rtp_packet", self._take_sound, receiver)
            _replace_method(transceiver.sender, "_handle_rtcp_packet", _take_report)
        if line.sctp is not None:
            _replace_method(line.sctp, "_handle_data", self._take_data, line.sctp)

    def reads(self, channel: RTCDataChannel | None) -> bool:
        """Return whether the page acknowledges our messages, because aiortc keeps the others.

        If it does not, that is reported. True without a channel.
        """
        lags = channel is not None and channel.bufferedAmount > MAX_UNREAD_BYTES
        if lags:
            self._refused("page_does_not_read")
        return not lags

    def close(self, reason: str) -> None:
        """Close the sockets at once, so that a flood has no further cost; this ends the line."""
        if self.over:
            return
        self.over = reason
        self._refused(reason)
        for protocol in self._sockets:
            protocol.transport.close()
        self._on_over()

    def _take_datagram(
        self, connection: ice.Connection, take: Callable[..., None], data: bytes, address: Any
    ) -> None:
        """Let aioice read a datagram, unless it exceeds a limit or the line was closed."""
        if not self.over:
            known = _is_candidate(connection, (address[0], address[1]))
            if self._passes_verdict(
                self._counters.judge_datagram(data, known=known, now=self._clock())
            ):
                take(data, address)

    async def _take_data(self, sctp: RTCSctpTransport, take: Handle, data: bytes) -> None:
        """Let aiortc read an SCTP packet; close the line if that fails, or if too much is held."""
        if not self._passes_verdict(self._counters.judge_packet(data, self._clock())):
            return
        try:
            await take(data)
        except ConnectionError:
            raise  # aiortc handles it: the connection has ended
        except Exception as error:  # noqa: BLE001 - aiortc's parser may raise anything
            logger.debug("a browser's data packet was not read: {!r}", error)
            self.close("bad_data_packet")
        if _holds_too_much(sctp):
            self.close("unfinished_messages")

    async def _take_sound(
        self, receiver: RTCRtpReceiver, take: Handle, packet: RtpPacket, arrival_time_ms: int
    ) -> None:
        """Let aiortc decode a packet; drop and report one that comes faster than time passes."""
        codec = getattr(receiver, CODECS).get(packet.payload_type)
        length_s = sound_s(packet.payload, codec.name) if codec else 0.0
        if await self._sound.take(length_s):
            await take(packet, arrival_time_ms=arrival_time_ms)
        else:
            self._refused("audio_faster_than_time")

    def _passes_verdict(self, verdict: Arrival) -> bool:
        """Report and carry out a verdict; return whether the library gets what has arrived."""
        if verdict.reason:
            self._refused(verdict.reason)
        if verdict.over:
            self.close(verdict.over)
        return not (verdict.drop or verdict.over)


def _replace_method(item: object, name: str, new: Callable[..., Any], *arguments: object) -> None:
    """Replace a method of an instance with `new`, once; `new` also gets the replaced method."""
    if name not in vars(item):
        setattr(item, name, partial(new, *arguments, getattr(item, name)))


def _is_candidate(connection: ice.Connection, address: tuple[str, int]) -> bool:
    """Return whether a datagram's sender is an address of the browser that we try or use."""
    pairs = [*connection._check_list, *connection._nominated.values()]  # noqa: SLF001
    return any(pair.remote_addr == address for pair in pairs)


def _holds_too_much(sctp: RTCSctpTransport) -> bool:
    """Return whether aiortc holds more incomplete messages than a page can cause."""
    streams = sctp._inbound_streams  # noqa: SLF001 - aiortc has no limits for this and the next two
    held = sum(len(stream.reassembly) for stream in streams.values())
    channels = len(sctp._data_channels)  # noqa: SLF001
    disordered = len(sctp._sack_misordered)  # noqa: SLF001
    return max(held, disordered) > MAX_HELD or max(channels, len(streams)) > MAX_STREAMS


async def _take_report(take: Handle, packet: AnyRtcpPacket) -> None:
    """Let aiortc read only reports, and not requests to repeat sound."""
    if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
        await take(packet)
