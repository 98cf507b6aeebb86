"""Delay and loss of the caller's sound on its way in."""

from collections.abc import Iterable

import pytest
from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from transports.webrtc.intake import AHEAD, BUFFER, PLACES, hand_on_early

PACKETS = range(200)
TICKS = 960  # of 48,000 a second: 20 ms


def given_out(buffer: JitterBuffer, order: Iterable[int]) -> dict[int, int]:
    """Return, by released packet, the packet on whose arrival it was released."""
    found: dict[int, int] = {}
    for number in order:
        packet = RtpPacket(sequence_number=number, timestamp=number * TICKS, payload_type=111)
        setattr(packet, "_data", b"sound")  # noqa: B010 - aiortc's receiver puts it there
        _, frame = buffer.add(packet)
        if frame is not None:
            found[frame.timestamp // TICKS] = number
    return found


def ours() -> JitterBuffer:
    return JitterBuffer(capacity=PLACES, prefetch=AHEAD)


def test_a_packet_is_passed_on_as_soon_as_it_is_complete() -> None:
    assert all(came == number + 1 for number, came in given_out(ours(), PACKETS).items())


@pytest.mark.parametrize("lost", [{50}, {50, 51, 52}, {50, 90, 130}], ids=str)
def test_a_lost_packet_delays_the_next_ones_only_for_a_moment(lost: set[int]) -> None:
    found = given_out(ours(), (packet for packet in PACKETS if packet not in lost))

    assert found[190] - 190 <= PLACES - 1
    assert set(range(190)) - set(found) <= {number - 1 for number in lost} | lost


def test_two_packets_in_the_wrong_order_are_reordered() -> None:
    order = list(PACKETS)
    order[60], order[61] = order[61], order[60]

    assert set(range(190)) <= set(given_out(ours(), order))


async def test_the_jitter_buffer_is_installed_where_aiortc_looks_for_it() -> None:
    line = RTCPeerConnection()
    line.addTransceiver("audio")
    line.addTransceiver("video")
    sound, picture = (transceiver.receiver for transceiver in line.getTransceivers())
    before = getattr(picture, BUFFER)
    assert getattr(sound, BUFFER).capacity > PLACES  # aiortc's own: 16, of which it keeps 4 back

    hand_on_early(line)

    assert getattr(sound, BUFFER).capacity == PLACES
    assert getattr(picture, BUFFER) is before
    await line.close()
