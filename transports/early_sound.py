"""Passes the caller's sound on as it arrives, without waiting for later packets.

aiortc holds four packets back, 80 ms of every turn. After the first lost packet it holds back
fourteen, 0.28 s, until the end of the call: it releases one packet for each that arrives, however
many wait. Browsers do not retransmit sound, so waiting only helps packets in the wrong order, and
those are one or two places apart.
"""

from typing import Final

from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer

PLACES: Final = 4  # a power of two; a missing packet is given up this much later, 60 ms
AHEAD: Final = 1  # a packet is complete when the next one has arrived
BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"  # as Pipecat changes it for a shared screen


def hand_on_early(line: RTCPeerConnection) -> None:
    """Make each audio receiver hold back as little as possible; call before the first packet."""
    for gettransceiver in line.getTransceivers():
        if gettransceiver.kind == "audio":
            setattr(gettransceiver.receiver, BUFFER, JitterBuffer(capacity=PLACES, prefetch=AHEAD))
