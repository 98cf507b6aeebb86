"""Limits for clients that have connected but not begun a call yet. Pure.

Such a client costs a socket or a peer connection, and may be an attacker that never begins a call.
So a full waiting room drops the oldest connection from the address with the most connections, and
refuses a new client only if no connection may be dropped. A real caller waits only for a moment,
and is hardly ever the oldest one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

BEGUN: Final = "begun"  # key in the scope's state: a function to call when the call is identified
FLOOD: Final = 1008  # RFC 6455, 7.4.1: policy violation
HAIR: Final = 1e-6  # tolerance, so that rounding does not cause repeated waits of zero length


def network_of(address: str) -> str:
    """Return the network that one client may control: an IPv4 address, or an IPv6 /64 network.

    A text that is not an address is returned unchanged, up to 64 characters.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or int(found) >> 64)  # a dual-stack socket maps IPv4


class IntakeAllowance:
    """A token bucket that may be overdrawn; the reader must then wait.

    Unlike `FloodLimit`, it drops nothing: the reader waits, and reads on later.
    """

    def __init__(self, *, per_s: float, cap: float, now: float) -> None:
        """Start full.

        Args:
            per_s: The refill per second; 0 for none.
            cap: The largest allowance that can accumulate.
            now: Monotonic, in seconds.
        """
        self._per_s = per_s
        self._cap = cap
        self._left = cap
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Subtract what has arrived, even if it exceeds the allowance; `now` is monotonic, in s."""
        self._left = self._left_at(now) - amount
        self._at = now

    def wait_s(self, now: float) -> float:
        """Return how long to wait before reading on, in seconds; infinite without a refill."""
        missing = -self._left_at(now)
        if missing < HAIR:
            return 0.0
        return missing / self._per_s if self._per_s > 0 else float("inf")

    def _left_at(self, now: float) -> float:
        return min(self._cap, self._left + (now - self._at) * self._per_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guest:
    """A connection that waits for its call to begin.

    Attributes:
        address: The client's network address, as far as it is known.
        came_at: When it connected; monotonic, in seconds.
        leave: Drops the connection; called at most once.
        known: Whether it is authenticated as the carrier; other connections cannot displace it.
    """

    address: str
    came_at: float
    leave: Callable[[], None]
    known: bool = False


class WaitingRoom:
    """Waiting connections, in order of arrival."""

    def __init__(self, *, places: int, of_one_address: int, ripe_s: float = 0.0) -> None:
        """Create an empty room.

        Args:
            places: The most connections that may wait.
            of_one_address: The most of these from one address.
            ripe_s: A connection can be displaced only after waiting this long; before that, new
                ones are refused.
        """
        self._places = places
        self._of_one_address = of_one_address
        self._ripe_s = ripe_s
        self._guests: dict[Guest, None] = {}

    def __len__(self) -> int:
        """Return the number of waiting connections."""
        return len(self._guests)

    def enter(self, guest: Guest, now: float) -> bool:
        """Admit a connection, and displace another one if there are too many, by its `leave`.

        Returns:
            False if there are too many and none can be displaced: the new one is refused.
        """
        if self._is_full_for(guest):
            oldest = self._find_displaceable(guest, now)
            if oldest is None:
                return False
            self.remove(oldest)
            oldest.leave()
        self._guests[guest] = None
        return True

    def remove(self, guest: Guest) -> None:
        """Remove a connection that is gone, or whose call has begun; it may be absent already."""
        self._guests.pop(guest, None)

    def _is_full_for(self, guest: Guest) -> bool:
        return len(self._guests) >= self._places or self._address_is_full(guest)

    def _address_is_full(self, guest: Guest) -> bool:
        guests = sum(item.address == guest.address for item in self._guests)
        return guests >= self._of_one_address

    def _find_displaceable(self, guest: Guest, now: float) -> Guest | None:
        """Return the oldest connection from the most frequent address; `None` if none may go.

        Unauthenticated ones are displaced first. If the new one's address has too many, only one of
        the same address is.
        """
        may_go = [
            old
            for old in self._guests
            if now - old.came_at >= self._ripe_s and (guest.known or not old.known)
        ]
        candidates = [old for old in may_go if not old.known] or may_go
        if self._address_is_full(guest):
            candidates = [old for old in candidates if old.address == guest.address]
        counts = Counter(old.address for old in candidates)
        return max(candidates, key=lambda old: counts[old.address], default=None)
