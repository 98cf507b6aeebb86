"""Divides a rung's concurrency limit into places, which processes lease.

Within a process, its own gate admits requests to the leased places. A process that needs more gets
free places first, then those that others do not need. Places that no process needs are divided
evenly, so that each process has one at hand. A place that was asked back counts as leased until its
process confirms that it is free: a message may be late, but the limit must hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Loan:
    """The lease of one process."""

    sent: int = 0  # the places in the last message to it
    number: int = 0  # the number of that message
    held: int = 0  # the places that it may be using
    wanted: int = 0  # the places that it could use now


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A message to a process: how many places it has from now on."""

    places: int
    number: int


class Leases:
    """The places of one rung, and the processes that lease them."""

    def __init__(self, limit: int) -> None:
        """Lease out `limit` places."""
        self.limit = limit
        self._loans: dict[str, _Loan] = {}

    def join(self, process: str) -> None:
        """Add a process."""
        self._loans[process] = _Loan()

    def leave(self, process: str) -> None:
        """Take back all places of a process that is gone."""
        self._loans.pop(process, None)

    def held(self) -> int:
        """Return how many places may be in use."""
        return sum(loan.held for loan in self._loans.values())

    def note_use(self, process: str, *, number: int, inside: int, wanted: int) -> None:
        """Update a process's lease by its report.

        Args:
            process: The process.
            number: The number of the last message that it has received; while a later one is on the
                way, its previous places still count as held.
            inside: How many places it uses.
            wanted: How many places it could use now, for waiting requests, too.
        """
        loan = self._loans.get(process)
        if loan is None:
            return
        loan.wanted = wanted
        if number == loan.number:
            loan.held = max(loan.sent, inside)

    def divide(self) -> Mapping[str, Lent]:
        """Divide the places again; return a message for each process whose share changes."""
        aims = self._aims()
        free = self.limit - self.held()
        changed: dict[str, Lent] = {}
        for process, loan in self._loans.items():
            aim = min(aims[process], loan.held + max(0, free))
            if aim == loan.sent:
                continue
            free -= max(0, aim - loan.held)
            loan.sent, loan.number = aim, loan.number + 1
            loan.held = max(loan.held, aim)
            changed[process] = Lent(places=aim, number=loan.number)
        return changed

    def _aims(self) -> dict[str, int]:
        """Return how many places each process should have: first by need, then evenly."""
        aims = dict.fromkeys(self._loans, 0)
        free = self.limit
        for by_need in (True, False):
            while free > 0 and (process := self._next(aims, by_need=by_need)) is not None:
                aims[process] += 1
                free -= 1
        return aims

    def _next(self, aims: Mapping[str, int], *, by_need: bool) -> str | None:
        """Return the process with the fewest places; with `by_need`, among those that need more."""
        candidates = [
            name for name, loan in self._loans.items() if not by_need or aims[name] < loan.wanted
        ]
        return min(candidates, key=lambda name: aims[name], default=None)
