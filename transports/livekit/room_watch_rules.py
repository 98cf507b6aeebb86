"""Decides how long a room on a media server is worth staying in."""

from typing import Final

EMPTY_S: Final = 15.0  # for the caller to come into a room that was made for the call
LOST_S: Final = 30.0  # for a media server that is gone to be back
BACK_S: Final = 20.0  # for the caller, whose own gateway lost the server too, to be back after us


class RoomWatch:
    """Three things end a stay: nobody came, the caller left for good, a lost line stayed lost.

    A caller who leaves while the line is lost has not hung up: the server's end made everybody
    leave. A caller who then comes back goes on with the call.

        watch = RoomWatch(now=0.0)
        watch.caller_came(0.2)
        watch.line_lost(60.0)
        watch.caller_left(60.1, for_good=False)
        watch.line_restored(62.0)
        watch.caller_came(63.0)    # nothing has ended
        watch.caller_left(90.0, for_good=True)
        watch.over                 # "caller_hung_up"

    Moments are monotonic, in seconds.

    Attributes:
        over: The reason's name once it is over, else nothing.
        wake_at: When `tick` has something to say; None: never by time alone.
        here: Whether the caller is in the room, as far as we know.
        up: Whether we are.
    """

    def __init__(self, now: float) -> None:
        """Begin in a room that we have just entered."""
        self.over = ""
        self.wake_at: float | None = now + EMPTY_S
        self.here = False
        self.up = True
        self._came = False

    def caller_came(self, now: float) -> None:
        """Note that the caller is there, again perhaps."""
        self.here = self._came = True
        if self.up:
            self.wake_at = None

    def caller_left(self, now: float, *, for_good: bool) -> None:
        """Note that the caller is not there any more.

        Args:
            now: The moment.
            for_good: The server says why, and it is no reason to come back.
        """
        self.here = False
        if self.up and for_good:
            self._end("caller_hung_up")
        elif self.up:
            self.wake_at = now + BACK_S

    def line_lost(self, now: float) -> None:
        """Note that we have no server any more."""
        if self.up:
            self.up = False
            self.wake_at = now + LOST_S

    def line_restored(self, now: float) -> None:
        """Note that we are in the room again."""
        self.up = True
        wait_s = BACK_S if self._came else EMPTY_S
        self.wake_at = None if self.here else now + wait_s

    def line_ended(self) -> None:
        """Note that the server sent us away, or closed the room."""
        self._end("line_ended")

    def tick(self, now: float) -> None:
        """End what has waited long enough."""
        if self.wake_at is not None and now >= self.wake_at:
            self._end("line_lost" if self._came else "never_connected")

    def _end(self, reason: str) -> None:
        self.over = self.over or reason
        self.wake_at = None
