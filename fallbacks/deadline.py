"""The moment by which the caller must hear something, handed down and never restarted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on the monotonic clock, in seconds.

    A turn makes one (`calls/turn.py`) when the caller stops; every stage is handed it, asks what is
    left, and derives from it what its own part of the work may take:

        until = turn.until(now)              # the caller's budget
        until.left_s(now)                    # 1.2
        until.no_later_than(now + 0.4)       # for the part of it that another stage still needs
    """

    at: float

    def left_s(self, now: float) -> float:
        """Return what is left, never less than nothing."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        """Say whether nothing is left."""
        return now >= self.at

    def no_sooner_than(self, at: float) -> "Deadline":
        """Return this deadline, or `at` if that is later."""
        return Deadline(at=max(self.at, at))

    def no_later_than(self, at: float) -> "Deadline":
        """Return this deadline, or `at` if that is sooner."""
        return Deadline(at=min(self.at, at))

    def later_by(self, more_s: float) -> "Deadline":
        """Return a deadline that gives so much more time."""
        return Deadline(at=self.at + more_s)
