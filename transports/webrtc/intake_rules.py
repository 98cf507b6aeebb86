"""How much a browser may send, and which packets no browser sends. Pure.

aioice and aiortc store everything that arrives, without limit: datagrams until the DTLS layer reads
them, SCTP chunks until their message is complete, packets until they are decoded, and frames until
they are read. They also trust the lengths in a packet. A parameter of length 0 makes aiortc's SCTP
parser loop for ever, and 280 gaps in one acknowledgement keep it busy for a second. So each
datagram is counted before aioice gets it, and each SCTP packet is checked before aiortc parses it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from transports.arrival_rules import IntakeAllowance

MAX_DATAGRAM_BYTES: Final = 1500  # browsers stay below the MTU; aiortc reads this much DTLS
DATAGRAMS_PER_S: Final = 200.0  # Chromium sends 51, and some to acknowledge our captions
DATAGRAMS_CAP: Final = 1000.0  # a line that was interrupted for 7 s delivers about 400 at once
BYTES_PER_S: Final = 100_000.0  # Opus needs at most 64,000 (RFC 6716, 2.1.1), the page 1,000
BYTES_CAP: Final = 500_000.0
UNKNOWN_PER_S: Final = 20.0  # datagrams from unknown addresses: the first checks of a new network
UNKNOWN_CAP: Final = 200.0
STUN_BYTES: Final = 20  # of a header (RFC 8489, section 5)
MAX_SOURCES: Final = 8  # SSRCs; a browser has one, and another after a change of microphone

CHUNKS_PER_S: Final = 100.0  # the page sends one a second, and acknowledges our messages
CHUNKS_CAP: Final = 500.0
MAX_CHUNKS: Final = 32  # in one packet; it can hold 30 of the page's shortest messages
MAX_GAPS: Final = 32  # in one acknowledgement; the same for its duplicates
MAX_GAP_SPAN: Final = 1024  # our chunks in the gaps of one acknowledgement
MAX_PARAMETERS: Final = 32  # in one chunk
MAX_SKIPPED: Final = 16  # streams in one FORWARD TSN
MAX_HELD: Final = 128  # chunks of incomplete messages; a message of 60 kB has 52
MAX_STREAMS: Final = 16

_COMMON, _HEAD = 12, 4  # bytes, RFC 9260, sections 3.1 and 3.2
DATA, INIT, INIT_ACK, SACK, FORWARD_TSN, RECONFIG = 0, 1, 2, 3, 192, 130
_PARAMETERS_AT: Final = {INIT: 16, INIT_ACK: 16, 4: 0, 5: 0, 6: 0, 9: 0, RECONFIG: 0}
_LEAST: Final = {DATA: 13, INIT: 16, INIT_ACK: 16, SACK: 12, FORWARD_TSN: 4, 7: 4}  # of the body


class Counters:
    """What one browser has sent, over all its sockets and connections."""

    def __init__(self, now: float) -> None:
        """Start with full allowances."""

        def allowance(per_s: float, cap: float) -> IntakeAllowance:
            return IntakeAllowance(per_s=per_s, cap=cap, now=now)

        self._unknown = allowance(UNKNOWN_PER_S, UNKNOWN_CAP)
        self._datagrams = allowance(DATAGRAMS_PER_S, DATAGRAMS_CAP)
        self._bytes = allowance(BYTES_PER_S, BYTES_CAP)
        self._chunks = allowance(CHUNKS_PER_S, CHUNKS_CAP)
        self._sources: set[bytes] = set()

    def judge_datagram(self, data: bytes, *, known: bool, now: float) -> "Arrival":
        """Count a datagram; return what to do with it.

        Anyone may send datagrams to our socket, so those from unknown addresses never end a call:
        only connectivity checks (STUN) of a new network are of use, and only a few.

        Args:
            data: The datagram as it arrived, still encrypted.
            known: Whether it comes from one of the browser's candidates.
            now: The time in seconds; monotonic.
        """
        if not known:
            if not is_stun(data):
                return Arrival(drop=True)
            excess = _exceeds_allowance(self._unknown, 1, now)
            return Arrival(drop=excess, reason="unknown_addresses" if excess else "")
        return self._count_datagram(data, now)

    def judge_packet(self, data: bytes, now: float) -> "Arrival":
        """Count the chunks of a decrypted SCTP packet; return what to do with it."""
        chunks = count_chunks(data)
        if not chunks:
            return Arrival(over="bad_data_packet")
        return Arrival(
            over="data_too_fast" if _exceeds_allowance(self._chunks, chunks, now) else ""
        )

    def _count_datagram(self, data: bytes, now: float) -> "Arrival":
        """Count a datagram from one of the browser's candidates; return what to do with it."""
        if _exceeds_allowance(self._datagrams, 1, now):
            return Arrival(over="datagrams_too_fast")
        if _exceeds_allowance(self._bytes, len(data), now):
            return Arrival(over="bytes_too_fast")
        if len(data) > MAX_DATAGRAM_BYTES:
            return Arrival(drop=True, reason="datagram_too_big")
        if is_sound(data) and not self._admits_source(data[8:12]):
            return Arrival(drop=True, reason="too_many_sources")
        return Arrival()

    def _admits_source(self, source: bytes) -> bool:
        """Return whether a source of sound is one of the first `MAX_SOURCES`, and remember it."""
        if len(self._sources) < MAX_SOURCES:
            self._sources.add(source)
        return source in self._sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What to do with a datagram or packet.

    Attributes:
        drop: Whether to drop it, so that the library does not get it.
        reason: Why it is dropped, if that is to be reported; else empty.
        over: Why to close the connection; empty to keep it.
    """

    drop: bool = False
    reason: str = ""
    over: str = ""


def _exceeds_allowance(allowance: IntakeAllowance, amount: float, now: float) -> bool:
    """Count an amount; return whether that is more than allowed."""
    allowance.spend(amount, now)
    return allowance.wait_s(now) > 0


def is_stun(datagram: bytes) -> bool:
    """Return whether this is a STUN packet (RFC 7983, section 7)."""
    return len(datagram) >= STUN_BYTES and datagram[0] < 4


def is_sound(datagram: bytes) -> bool:
    """Return whether this is an RTP packet (RFC 7983, section 7, and RFC 5761, section 4)."""
    return len(datagram) >= 12 and 127 < datagram[0] < 192 and not 192 <= datagram[1] <= 223


def count_chunks(packet: bytes) -> int:
    """Return the number of chunks in an SCTP packet; 0 if no browser sends such a packet."""
    count = 0
    at = _COMMON
    while at <= len(packet) - _HEAD:
        kind, _, length = unpack_from("!BBH", packet, at)
        count += 1
        if length < _HEAD or at + length > len(packet) or count > MAX_CHUNKS:
            return 0
        if not _is_plausible(kind, packet[at + _HEAD : at + length]):
            return 0
        at += length + -length % 4
    return count


def _is_plausible(kind: int, body: bytes) -> bool:
    """Return whether a browser may have sent a chunk, so that aiortc can parse it safely."""
    if len(body) < _LEAST.get(kind, 0):
        return False
    if kind == SACK:
        return _is_plausible_sack(body)
    if kind == FORWARD_TSN:
        return len(body) % 4 == 0 and len(body) // 4 - 1 <= MAX_SKIPPED
    if kind in _PARAMETERS_AT:
        lengths = list(_parameter_lengths(body, _PARAMETERS_AT[kind]))
        return 0 not in lengths and len(lengths) <= MAX_PARAMETERS
    return True


def _is_plausible_sack(body: bytes) -> bool:
    """Return whether an acknowledgement has few gaps and duplicates, in order and complete."""
    gaps, duplicates = unpack_from("!HH", body, 8)
    if max(gaps, duplicates) > MAX_GAPS or len(body) < 12 + 4 * (gaps + duplicates):
        return False
    pairs = [unpack_from("!HH", body, 12 + 4 * gap) for gap in range(gaps)]
    in_order = all(first <= last for first, last in pairs)
    return in_order and sum(last - first + 1 for first, last in pairs) <= MAX_GAP_SPAN


def _parameter_lengths(body: bytes, at: int) -> Iterator[int]:
    """Yield the length of each parameter; 0 for one that is shorter than its own header."""
    while at <= len(body) - _HEAD:
        (length,) = unpack_from("!H", body, at + 2)
        yield length if length >= _HEAD else 0
        at += max(_HEAD, length + -length % 4)


_OPUS_MS: Final = (
    (10.0, 20.0, 40.0, 60.0) * 3 + (10.0, 20.0) * 2 + (2.5, 5.0, 10.0, 20.0) * 4
)  # of a frame, by configuration: RFC 6716, table 2
_OTHERS_PER_S: Final = 8_000  # bytes: G.711 and G.722 have 64 kbit/s


def sound_s(payload: bytes, codec: str) -> float:
    """Return the seconds of sound in a packet, before it is decoded.

    Args:
        payload: The payload of an RTP packet.
        codec: The codec's name in the SDP.
    """
    if codec.lower() != "opus":
        return len(payload) / _OTHERS_PER_S
    if not payload:
        return 0.0
    kind = payload[0] & 3  # RFC 6716, section 3.1
    frames = (1, 2, 2, payload[1] & 63 if len(payload) > 1 else 0)[kind]
    return frames * _OPUS_MS[payload[0] >> 3] / 1000
