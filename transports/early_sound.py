"""The caller's sound goes on as it comes: no packet waits for later ones that bring it nothing.

aiortc holds four packets back, 80 ms of every turn. After the first one that is lost it holds back
fourteen, 0.28 s, to the end of the call: it gives out one packet for each that comes, however many
wait. Browsers send no sound twice, so nothing is gained by waiting but packets in the wrong order,
and those are a place or two apart.
"""

from typing import Final

from aiortc import RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer

PLACES: Final = 4  # a power of two; so much later a missing packet is given up, 60 ms
AHEAD: Final = 1  # a packet is whole when the next one has come
BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"  # as Pipecat changes it for a shared screen


def hand_on_early(line: RTCPeerConnection) -> None:
    """Have each receiver of sound hold back no more than it must; before the first packet."""
    for gettransceiver in line.getTransceivers():
        if gettransceiver.kind == "audio":
            setattr(gettransceiver.receiver, BUFFER, JitterBuffer(capacity=PLACES, prefetch=AHEAD))
