"""Decides when to mute the microphone because a nearby loudspeaker plays.

Without echo cancellation, the agent's own voice comes back through the microphone, is taken for the
caller's, and interrupts the agent. So the microphone is ignored while our sound or its echo is in
the room.

All moments are monotonic, in seconds.
"""

import math
from typing import Final

TAIL_S: Final = 0.3  # for the room's echo and the different buffers of the two devices (chosen)


class EchoGuard:
    """Closed while the agent can be heard in the room; not needed with headphones.

    guard = EchoGuard(delay_s=0.1)
    guard.play(now, until=now + 0.5)
    guard.is_closed(now + 0.8)  # True: its end is still on the way back
    """

    def __init__(self, *, delay_s: float) -> None:
        """Start open.

        Args:
            delay_s: The seconds of sound in the microphone's own buffer.
        """
        self._delay_s = delay_s
        self._heard_until = -math.inf  # until when our sound is in the room

    def play(self, now: float, *, until: float) -> None:
        """Record that our sound plays from now on until a moment."""
        self._heard_until = max(self._heard_until, now, until)

    def drop(self, *, until: float) -> None:
        """Record that pending sound was dropped, so that our sound ends at an earlier moment."""
        self._heard_until = min(self._heard_until, until)

    def is_closed(self, now: float) -> bool:
        """Return whether microphone sound that arrives now may be our own voice."""
        return now < self._heard_until + self._delay_s + TAIL_S
