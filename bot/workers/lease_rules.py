"""The places at one rung, lent to several processes: together they never hold more than there are.

Each process lets its own work through as its turnstile decides, with as many places as it was lent.
Who is short gets what is free, then what others do not need; what nobody needs is lent out evenly,
so that a place is there when it is wanted. A place that is asked back counts as lent until its
process has said that it is free: a message may be late, a limit may not be broken.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Loan:
    """What one process was lent."""

    told: int = 0  # what it was last told it has
    number: int = 0  # of that message
    held: int = 0  # what it may be using, as far as we know
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What a process is to be told: it has so many places from now on."""

    places: int
    number: int


class Leases:
    """One rung's places."""

    def __init__(self, limit: int) -> None:
        """Lend `limit` places."""
        self.limit = limit
        self._loans: dict[str, _Loan] = {}

    def join(self, process: str) -> None:
        """Count on a process that may want places."""
        self._loans[process] = _Loan()

    def leave(self, process: str) -> None:
        """Get everything back from a process that is gone."""
        self._loans.pop(process, None)

    def held(self) -> int:
        """Return how many places may be in use."""
        return sum(loan.held for loan in self._loans.values())

    def heed(self, process: str, *, number: int, inside: int, wanted: int) -> None:
        """Note what a process reports of itself.

        Args:
            process: Which.
            number: Of the last message that it has had; while one is on its way, its old places
                count.
            inside: The places that it uses.
            wanted: Those that it could use now, waiting work included.
        """
        loan = self._loans.get(process)
        if loan is None:
            return
        loan.wanted = wanted
        if number == loan.number:
            loan.held = max(loan.told, inside)

    def divide(self) -> Mapping[str, Lent]:
        """Lend what is free and ask back what others need more; return whom to tell what."""
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
        """Return how many places each process should have: what it wants first, then evenly."""
        aims = dict.fromkeys(self._loans, 0)
        left = self.limit
        for wants in (True, False):
            while left > 0 and (who := self._next(aims, wants=wants)) is not None:
                aims[who] += 1
                left -= 1
        return aims

    def _next(self, aims: Mapping[str, int], *, wants: bool) -> str | None:
        open_to = [
            each for each, loan in self._loans.items() if not wants or aims[each] < loan.wanted
        ]
        return min(open_to, key=lambda each: aims[each], default=None)
