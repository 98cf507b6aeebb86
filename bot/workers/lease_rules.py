"""Concurrency places of one rung, leased to several processes, never more than the limit.

Each process uses its leased places as its own gate decides. A process that is short gets the free
places first, then those that others do not need. Places that no process needs are divided evenly,
so that one is available at once. A place that was asked back counts as leased until its process has
confirmed that it is free: a message may be late, but the limit must hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Loan:
    """The lease of one process."""

    told: int = 0  # the places in the last message to it
    number: int = 0  # the number of that message
    held: int = 0  # the places that it may still be using
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A message to a process: the places that it has from now on."""

    places: int
    number: int


class Leases:
    """The places of one rung."""

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

    def heed(self, process: str, *, number: int, inside: int, wanted: int) -> None:
        """Take a report of a process.

        Args:
            process: The process.
            number: The number of the last message that it has received; while a later one is on its
                way, its old places count.
            inside: The places that it uses.
            wanted: The places that it could use now, including for waiting work.
        """
        loan = self._loans.get(process)
        if loan is None:
            return
        loan.wanted = wanted
        if number == loan.number:
            loan.held = max(loan.told, inside)

    def divide(self) -> Mapping[str, Lent]:
        """Lease free places and ask back what others need more; return the messages by process."""
        aims = self._aims()
        free = self.limit - self.held()
        changed: dict[str, Lent] = {}
        for process, loan in self._loans.items():
            aim = min(aims[process], loan.held + max(0, free))
            if aim == loan.told:
                continue
            free -= max(0, aim - loan.held)
            loan.told, loan.number = aim, loan.number + 1
            loan.held = max(loan.held, aim)
            changed[process] = Lent(places=aim, number=loan.number)
        return changed

    def _aims(self) -> dict[str, int]:
        """Return how many places each process should have: first by need, then evenly."""
        aims = dict.fromkeys(self._loans, 0)
        left = self.limit
        for wants in (True, False):
            while left > 0 and (process := self._next(aims, wants=wants)) is not None:
                aims[process] += 1
                left -= 1
        return aims

    def _next(self, aims: Mapping[str, int], *, wants: bool) -> str | None:
        open_to = [
            name for name, loan in self._loans.items() if not wants or aims[name] < loan.wanted
        ]
        return min(open_to, key=lambda name: aims[name], default=None)
