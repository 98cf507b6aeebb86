"""The moment by which the caller must hear something, handed down and never restarted.

Until the answer is heard it is the end of the turn's budget, counted from the caller's last voiced
sample. From then on it is the moment at which the queued audio runs dry.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on the monotonic clock, in seconds."""

    at: float

    def left_s(self, now: float) -> float:
        """Return what is left, never less than nothing."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        """Say whether nothing is left."""
        return now >= self.at

    def at_least(self, at: float) -> "Deadline":
        """Return this deadline, or the given moment if that is later."""
        return Deadline(at=max(self.at, at))


class TurnDeadline:
    """The one deadline of a turn, which all stages ask."""

    def __init__(self, *, stopped_at: float, budget_s: float) -> None:
        self._until = Deadline(at=stopped_at + budget_s)
        self.heard = False

    @property
    def until(self) -> Deadline:
        """The deadline as it stands."""
        return self._until

    def queued(self, dry_at: float) -> Deadline:
        """Note that audio for the caller is queued until `dry_at`; return the deadline.

        The first audio moves the deadline even backwards: what counts from then on is the line.
        Later audio only adds to the queue.
        """
        moved = max(self._until.at, dry_at) if self.heard else dry_at
        self.heard = True
        self._until = Deadline(at=moved)
        return self._until

    def flushed(self, now: float) -> Deadline:
        """Note that the queued audio was thrown away: the line is dry now."""
        self._until = Deadline(at=min(self._until.at, now))
        return self._until
