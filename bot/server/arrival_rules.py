"""Who may wait for a call to begin, and who makes room when too many do.

A caller who has not begun costs a socket or a peer connection, and may be a stranger who never
will. So a full room refuses nobody who comes new: the oldest guest goes, of the address that sent
the most. A true caller stays for a moment only and is hardly ever the oldest of a crowd.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HAIR: Final = 1e-6  # of what is counted: rounding must not make a wait of no time, again and again


class IntakeAllowance:
    """Fills as time passes, up to a cap, and says how long to wait when it is overspent.

    Unlike `transports/far_end.py` it drops nothing: who asked reads on later.
    """

    def __init__(self, *, per_s: float, cap: float, now: float) -> None:
        """Start full.

        Args:
            per_s: What one second grants; 0: nothing comes back.
            cap: The most that can be saved up.
            now: Monotonic seconds.
        """
        self._per_s = per_s
        self._cap = cap
        self._left = cap
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Count what has come in, even if it was more than there is."""
        self._left = self._left_at(now) - amount
        self._at = now

    def wait_s(self, now: float) -> float:
        """Return how long nothing more may come in; infinite if nothing ever may."""
        missing = -self._left_at(now)
        if missing < HAIR:
            return 0.0
        return missing / self._per_s if self._per_s > 0 else float("inf")

    def _left_at(self, now: float) -> float:
        return min(self._cap, self._left + (now - self._at) * self._per_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guest:
    """One that waits.

    Attributes:
        address: Where it came from, as far as is known.
        came_at: Monotonic seconds.
        leave: Has it go; called at most once.
        known: It has shown that it is who may call: it makes room for nobody who has not.
    """

    address: str
    came_at: float
    leave: Callable[[], None]
    known: bool = False


class WaitingRoom:
    """Guests by the order in which they came."""

    def __init__(self, *, places: int, of_one_address: int, ripe_s: float = 0.0) -> None:
        """Open an empty room.

        Args:
            places: How many may wait.
            of_one_address: How many of these may come from one address.
            ripe_s: Nobody makes room before it has waited so long; then the newcomer is refused.
        """
        self._places = places
        self._of_one_address = of_one_address
        self._ripe_s = ripe_s
        self._guests: dict[Guest, None] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._guests)

    def enter(self, guest: Guest, now: float) -> bool:
        """Let a guest in, and have another one leave if there are too many.

        Returns:
            False when nobody makes room: the guest has not come in.
        """
        if self._crowded_by(guest):
            oldest = self._oldest_to_go(guest, now)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.leave()
        self._guests[guest] = None
        return True

    def remove(self, guest: Guest) -> None:
        """Forget a guest that has begun or gone; harmless when it is forgotten already."""
        self._guests.pop(guest, None)

    def _crowded_by(self, guest: Guest) -> bool:
        return len(self._guests) >= self._places or self._full_of(guest)

    def _full_of(self, guest: Guest) -> bool:
        same = sum(item.address == guest.address for item in self._guests)
        return same >= self._of_one_address

    def _oldest_to_go(self, guest: Guest, now: float) -> Guest | None:
        """Return who makes room: the oldest of the address that crowds the room most."""
        may_go = [
            other
            for other in self._guests
            if now - other.came_at >= self._ripe_s and (guest.known or not other.known)
        ]
        strangers = [other for other in may_go if not other.known] or may_go
        if self._full_of(guest):
            strangers = [other for other in strangers if other.address == guest.address]
        counts = Counter(other.address for other in strangers)
        return max(strangers, key=lambda other: counts[other.address], default=None)
