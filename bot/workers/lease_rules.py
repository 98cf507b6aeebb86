"""Divides a rung's concurrency limit into places, which processes lease.

Within a process, its own gate admits requests to the leased places. A process that needs more gets
free places first, then those that others do not need. Places that no process needs are divided
evenly, so that each process has one at hand. A place that was asked back counts as leased until its
process confirms that it is free: a message may be late, but the limit must hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Lease:
    """The lease of one process."""

    sent: int = 0  # how many places the last message gave it
    number: int = 0  # the number of that message
    held: int = 0  # how many places it may be using
    wanted: int = 0  # how many places it could use now


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseMessage:
    """A message to a process: how many places it has from now on."""

    places: int
    number: int


class Leases:
    """The places of one rung, and the processes that lease them."""

    def __init__(self, limit: int) -> None:
        """Lease out `limit` places."""
        self.limit = limit
        self._leases: dict[str, _Lease] = {}

    def join(self, process: str) -> None:
        """Add a process, without places until the next `divide`."""
        self._leases[process] = _Lease()

    def leave(self, process: str) -> None:
        """Take back all places of a process that is gone; the next `divide` leases them out."""
        self._leases.pop(process, None)

    def held(self) -> int:
        """Return how many places may be in use."""
        return sum(lease.held for lease in self._leases.values())

    def wanted(self) -> int:
        """Return how many places could be used now."""
        return sum(lease.wanted for lease in self._leases.values())

    def note_use(self, process: str, *, number: int, inside: int, wanted: int) -> None:
        """Update a process's lease by its report; ignored unless the process has joined.

        Args:
            process: The process.
            number: The number of the last message that it has received. While a later one is on the
                way, its previous places still count as held.
            inside: How many places it uses.
            wanted: How many places it could use now, including those for waiting requests.
        """
        lease = self._leases.get(process)
        if lease is None:
            return
        lease.wanted = wanted
        if number == lease.number:
            lease.held = max(lease.sent, inside)

    def divide(self) -> Mapping[str, LeaseMessage]:
        """Divide the places again; return a message, to be sent, for each process with a new share.

        From now on, the places in a message count as held.

        A process gets no more than the free places in addition to those that it holds. The rest
        of its target follows in later calls, when other processes have freed their places.
        """
        targets = self._target_places()
        free = self.limit - self.held()
        changed: dict[str, LeaseMessage] = {}
        for process, lease in self._leases.items():
            places = min(targets[process], lease.held + max(0, free))
            if places == lease.sent:
                continue
            free -= max(0, places - lease.held)
            lease.sent, lease.number = places, lease.number + 1
            lease.held = max(lease.held, places)
            changed[process] = LeaseMessage(places=places, number=lease.number)
        return changed

    def _target_places(self) -> dict[str, int]:
        """Return the target number of places for each process.

        One place at a time goes to the process with the fewest: first among those that need more,
        then among all.
        """
        targets = dict.fromkeys(self._leases, 0)
        free = self.limit
        for by_need in (True, False):
            while (
                free > 0
                and (process := self._process_with_fewest(targets, by_need=by_need)) is not None
            ):
                targets[process] += 1
                free -= 1
        return targets

    def _process_with_fewest(self, targets: Mapping[str, int], *, by_need: bool) -> str | None:
        """Return the process with the fewest places; with `by_need`, among those that need more."""
        candidates = [
            name
            for name, lease in self._leases.items()
            if not by_need or targets[name] < lease.wanted
        ]
        return min(candidates, key=lambda name: targets[name], default=None)
