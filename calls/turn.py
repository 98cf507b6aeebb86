"""The turn in progress, as all stages of a call share it: its number, its deadline."""

from collections.abc import Iterator
from itertools import count
from typing import Final

from fallbacks.deadline import Deadline, TurnDeadline

HOLD_S: Final = 2.5  # past the budget: with it, a caller's longest silence is 4 s


class Turn:
    """What stages ask while they work on an answer.

    Attributes:
        number: Of the latest decided turn; 0 before the first.
        attempts: Gives attempt numbers: no two attempts of a call share one.
    """

    def __init__(self, *, budget_s: float) -> None:
        self.number = 0
        self.attempts: Iterator[int] = count(1)
        self._budget_s = budget_s
        self._deadline: TurnDeadline | None = None

    def caller_stopped(self, at_s: float) -> None:
        """Open the caller's budget, counted from the last voiced sample."""
        self._deadline = TurnDeadline(stopped_at=at_s, budget_s=self._budget_s)

    def queued(self, dry_at_s: float) -> None:
        """Note that audio is queued for the caller until then."""
        if self._deadline:
            self._deadline.queued(dry_at_s)

    def flushed(self, now: float) -> None:
        """Note that the queued audio was thrown away."""
        if self._deadline:
            self._deadline.flushed(now)

    def until(self, now: float) -> Deadline:
        """Return the deadline; of speech that no caller waits for, one budget from now."""
        return self._deadline.until if self._deadline else Deadline(at=now + self._budget_s)

    def patient_until(self, now: float) -> Deadline:
        """Return when even a late answer is given up: meanwhile something else holds the line."""
        return Deadline(at=self.until(now).at + HOLD_S)
