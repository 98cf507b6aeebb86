"""The deadline for the caller to hear something, passed down and never restarted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on the monotonic clock, in seconds.

    A turn (`calls/turn.py`) makes one when the caller stops. Every stage receives it, reads the
    time left, and derives the limits of its own work:

        until = turn.until(now)              # the latency budget
        until.left_s(now)                    # 1.2
        until.no_later_than(now + 0.4)       # leaves the rest for another stage
    """

    at: float

    def left_s(self, now: float) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        """Return whether no time is left."""
        return now >= self.at

    def no_sooner_than(self, at: float) -> "Deadline":
        """Return this deadline, or `at` if that is later."""
        return Deadline(at=max(self.at, at))

    def no_later_than(self, at: float) -> "Deadline":
        """Return this deadline, or `at` if that is sooner."""
        return Deadline(at=min(self.at, at))

    def later_by(self, more_s: float) -> "Deadline":
        """Return a deadline later by `more_s`."""
        return Deadline(at=self.at + more_s)
