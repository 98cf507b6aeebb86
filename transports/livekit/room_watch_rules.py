"""Decides how long to stay in a room on a media server."""

from typing import Final

EMPTY_S: Final = 15.0  # how long a caller may take to enter the room
LOST_S: Final = 30.0  # how long a lost media server may take to return
# How long a caller who left may take to return. After a loss of the server, the caller's gateway
# has to return too.
BACK_S: Final = 20.0


class RoomWatch:
    """Ends the stay if no caller arrives, the caller leaves for good, or the line stays lost.

    A caller who leaves while the line is lost counts as not having hung up, because the loss of a
    server removes all participants. If the caller returns, the call goes on.

        watch = RoomWatch(now=0.0)
        watch.caller_came(0.2)
        watch.line_lost(60.0)
        watch.caller_left(60.1, over="")
        watch.line_restored(62.0)
        watch.caller_came(63.0)    # nothing has ended
        watch.caller_left(90.0, over="caller_hung_up")
        watch.over                 # "caller_hung_up"

    Moments are monotonic, in seconds.

    Attributes:
        over: Why the stay has ended; empty until then.
        wake_at: When to call `tick` next; `None` if no time limit is running.
        caller_here: Whether the caller is in the room, as far as we know.
        up: Whether we are connected to the room.
    """

    def __init__(self, now: float) -> None:
        """Start in a room that we have just entered; `wake_at` limits the wait for the caller."""
        self.over = ""
        self.wake_at: float | None = now + EMPTY_S
        self.caller_here = False
        self.up = True
        self._came = False

    def caller_came(self, now: float) -> None:
        """Record that the caller is there, possibly again."""
        self.caller_here = self._came = True
        if self.up:
            self.wake_at = None

    def caller_left(self, now: float, *, over: str) -> None:
        """Record that the caller left.

        Args:
            now: The moment.
            over: Why the call has ended, if the caller will not return; else empty.
        """
        self.caller_here = False
        if self.up and over:
            self._end_watch(over)
        elif self.up:
            self.wake_at = now + BACK_S

    def line_lost(self, now: float) -> None:
        """Record that the connection to the server is lost; the stay ends in `LOST_S`."""
        if self.up:
            self.up = False
            self.wake_at = now + LOST_S

    def line_restored(self, now: float) -> None:
        """Record that we are in the room again.

        A caller who is not there has `BACK_S` to return, or `EMPTY_S` if none has come yet.
        """
        self.up = True
        wait_s = BACK_S if self._came else EMPTY_S
        self.wake_at = None if self.caller_here else now + wait_s

    def line_ended(self) -> None:
        """Record that the server removed us or closed the room."""
        self._end_watch("line_ended")

    def tick(self, now: float) -> None:
        """End the stay if a limit has passed, as `never_connected` if no caller has ever come."""
        if self.wake_at is not None and now >= self.wake_at:
            self._end_watch("line_lost" if self._came else "never_connected")

    def _end_watch(self, reason: str) -> None:
        self.over = self.over or reason
        self.wake_at = None
