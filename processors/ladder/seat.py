"""A call's place at a rung, held for as long as its connection there."""

from fallbacks.failure import Failure, Kind
from fallbacks.limits import Gate


class Seat:
    """Taken before a connection is opened, given back when the call is over.

    A connection that was lost keeps its seat: it is made again.
    """

    def __init__(self, gate: Gate | None) -> None:
        """Sit at the rung's gate; None: there is no limit."""
        self._gate = gate
        self._ticket: int | None = None

    @property
    def offered(self) -> bool:
        """Whether it is taken, or can be."""
        return self._gate is None or self._ticket is not None or self._gate.room

    def take(self) -> bool:
        """Sit down, if that is still to be done; False: there is no place."""
        if self._gate is not None and self._ticket is None:
            self._ticket = self._gate.seat()
        return self._gate is None or self._ticket is not None

    def learn(self, failure: Failure) -> None:
        """Learn from a failure: it may say that we hold more connections than we may."""
        if self._gate is not None and failure.kind is Kind.RATE_LIMITED:
            self._gate.refused()

    def leave(self) -> None:
        """Give it back."""
        if self._gate is not None and self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._gate.leave(ticket)
