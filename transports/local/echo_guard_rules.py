"""Whether the microphone may be listened to while a loudspeaker beside it plays.

Without echo cancellation the agent's own voice comes back through the microphone, is taken for the
caller, and interrupts the agent. So the line is half duplex: while our sound is in the room, and
for as long as it echoes there, what the microphone hears is not the caller.

All moments are monotonic, in seconds.
"""

import math
from typing import Final

TAIL_S: Final = 0.3  # of a room's echo, and of what two devices' buffers differ by (chosen)


class EchoGuard:
    """Closed while the agent can be heard; a person with headphones needs none.

    guard = EchoGuard(delay_s=0.1)
    guard.play(now, until=now + 0.5)
    guard.is_closed(now + 0.8)  # True: the end of it is still on its way back
    """

    def __init__(self, *, delay_s: float) -> None:
        """Begin open.

        Args:
            delay_s: From the microphone to us, of the device's own buffer.
        """
        self._delay_s = delay_s
        self._heard_until = -math.inf  # our sound is in the room

    def play(self, now: float, *, until: float) -> None:
        """Note that sound of ours was let go, and when the room has heard the last of it."""
        self._heard_until = max(self._heard_until, now, until)

    def drop(self, *, until: float) -> None:
        """Note that what waited was thrown away: only the device has some left."""
        self._heard_until = min(self._heard_until, until)

    def is_closed(self, now: float) -> bool:
        """Say whether what arrives from the microphone now may be our own voice."""
        return now < self._heard_until + self._delay_s + TAIL_S
