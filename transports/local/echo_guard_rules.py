"""Decides when to mute the microphone because a nearby loudspeaker plays.

Without echo cancellation the agent's own voice comes back through the microphone, is taken for the
caller, and interrupts the agent. So the line is half duplex: while our sound is in the room, and
for as long as it echoes there, the microphone is ignored.

All moments are monotonic, in seconds.
"""

import math
from typing import Final

TAIL_S: Final = 0.3  # of a room's echo, and the difference of two devices' buffers (chosen)


class EchoGuard:
    """Closed while the agent can be heard; headphones need no guard.

    guard = EchoGuard(delay_s=0.1)
    guard.play(now, until=now + 0.5)
    guard.is_closed(now + 0.8)  # True: its end is still on the way back
    """

    def __init__(self, *, delay_s: float) -> None:
        """Start open.

        Args:
            delay_s: The microphone's own buffer.
        """
        self._delay_s = delay_s
        self._heard_until = -math.inf  # our sound is in the room

    def play(self, now: float, *, until: float) -> None:
        """Record that our sound starts, and when the room will have heard it all."""
        self._heard_until = max(self._heard_until, now, until)

    def drop(self, *, until: float) -> None:
        """Record that pending sound was dropped: only the device has some left."""
        self._heard_until = min(self._heard_until, until)

    def is_closed(self, now: float) -> bool:
        """Return whether microphone sound that arrives now may be our own voice."""
        return now < self._heard_until + self._delay_s + TAIL_S
