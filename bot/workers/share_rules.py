"""A machine's share of a limit that several machines have in common.

A machine asks the store for places several times a second. The store counts them as leased for
`LEASE_S`, on its own clock. The machine begins requests with them for `OWN_S` after it has asked,
on its own clock: so a machine that was frozen begins none until it has asked again, and requests
that it has begun have a second to end before others get its places.

While the store is away, each machine takes its part of the limit, rounded down: at once if it had
as many places, else after `LEASE_S`, when all leases have ended. A machine that does not know how
many others there are, because it has just started or was frozen, assumes that there is another one.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

LEASE_S: Final = 3.0
OWN_S: Final = 2.0
ONE_OTHER: Final = 2  # machines


@dataclass(slots=True)
class Share:
    """The share of one limit. Times are monotonic, in seconds.

        share = Share(limit=3)
        share.grant(2, machines=2, asked_at=100.0)
        share.places(101.9)           # 2
        share.places(102.0)           # 0: it may have been frozen
        share.note_away(102.0)
        share.places(102.0)           # 1

    Attributes:
        limit: The limit for all machines together.
        machines: How many machines there were at the store's last answer.
    """

    limit: int
    machines: int = ONE_OTHER
    _granted: int = 0
    _until: float = -inf  # of the store's last answer
    _away_since: float = inf
    _away_at: float = -inf  # the latest request without an answer

    def grant(self, places: int, *, machines: int, asked_at: float) -> None:
        """Record the store's answer: `places` are ours until `OWN_S` after the request was sent."""
        self._granted, self.machines = places, machines
        self._until, self._away_since = asked_at + OWN_S, inf

    def note_away(self, now: float) -> None:
        """Record a request that the store has not answered.

        After a start or a freeze, this machine then has no places for `LEASE_S`.
        """
        last = max(self._until, self._away_at + OWN_S)
        if now >= last + OWN_S:  # we were frozen, or have just started
            self._granted, self._away_since = 0, inf
            self.machines = max(ONE_OTHER, self.machines)
        self._away_since, self._away_at = min(self._away_since, now), now

    def places(self, now: float) -> int:
        """Return how many places may be used now: as granted, or our part without the store."""
        if now < self._until:
            return self._granted
        if now >= self.until:
            return 0
        part = self.limit // self.machines
        return part if now >= self._away_since + LEASE_S else min(part, self._granted)

    @property
    def until(self) -> float:
        """When the places end, unless the store is asked again before."""
        return max(self._until, self._away_at + OWN_S)


@dataclass(slots=True, kw_only=True)
class LeakyBucket:
    """A limit on the rate of requests: each adds 1 to a bucket that leaks evenly.

    Attributes:
        capacity: How many requests may be sent at once.
        per_s: The rate at which the bucket leaks.
        level: How full it was at `at` (monotonic, in seconds).
    """

    capacity: float
    per_s: float
    level: float = 0.0
    at: float = 0.0

    def wait_s(self, now: float) -> float:
        """Let the bucket leak until `now`; return how many seconds the next request has to wait."""
        self.level, self.at = max(0.0, self.level - (now - self.at) * self.per_s), now
        return max(0.0, (self.level + 1 - self.capacity) / self.per_s)

    def take(self, now: float) -> float:
        """Count a request if it may be sent now, and return 0; else return how long it waits."""
        wait_s = self.wait_s(now)
        self.level += not wait_s
        return wait_s
