"""Decides when dials of silent processes are looked for: before a claim could take their slot."""

from collections.abc import Callable


class SilentLooks:
    """Twice in each lease; behind trouble with the database before every claim, for a lease.

    Dials that go on may have run out of their lease then, each at a moment of its own: a slot that
    seems free is not.
    """

    def __init__(self, lease_s: float, *, now_s: Callable[[], float]) -> None:
        """Begin with none made."""
        self._lease_s = lease_s
        self._now_s = now_s
        self._looked_s = float("-inf")
        self._broken_s = float("-inf")

    @property
    def due(self) -> bool:
        """Whether to look now."""
        # A moment that lies ahead is of a clock that was put back since.
        rested = 0.0 <= self._now_s() - self._looked_s < self._lease_s / 2
        return not rested or self._looked_s - self._broken_s <= self._lease_s

    def looked(self, at_s: float) -> None:
        """Note a look that the database answered, as of that moment."""
        self._looked_s = at_s

    def doubt(self) -> None:
        """Note that the database has failed us just now, or that a dial was left to its lease."""
        self._broken_s = self._now_s()
