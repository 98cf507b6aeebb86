"""How much of what was let go to the caller's line is not played yet, by our own reckoning."""


class LineQueue:
    """The line plays without a gap what it has; `dry_at` is when it has nothing left.

    All moments are monotonic, in seconds. A line that plays slower than it should is not seen here:
    what the caller has heard is told by the line itself, which lets words go as it plays them.
    """

    def __init__(self) -> None:
        self.dry_at = 0.0

    def queued_s(self, now: float) -> float:
        """Return the seconds of sound that are still to be played."""
        return max(0.0, self.dry_at - now)

    def add(self, length_s: float, now: float) -> None:
        """Note that so much sound was let go to the line."""
        self.dry_at = max(self.dry_at, now) + length_s

    def flush(self, now: float) -> None:
        """Note that the line threw away what it had."""
        self.dry_at = min(self.dry_at, now)
