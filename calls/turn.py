"""The turn in progress, shared by all stages of a call: its number and its one deadline.

Until the answer is heard, the deadline is the end of the latency budget, counted from the caller's
last voiced sample. From then on it is the moment at which the queued audio runs out.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

from fallbacks.deadline import Deadline

HOLD_S: Final = 2.5  # beyond the budget; a caller's longest silence is then 4 s


class Turn:
    """The turn that the stages work on. The only place that makes a deadline.

    Attributes:
        number: Of the latest decided turn; 0 before the first.
        attempts: Gives attempt numbers: no two attempts of a call share one.
    """

    def __init__(self, *, budget_s: float) -> None:
        self.number = 0
        self.attempts: Iterator[int] = count(1)
        self._budget_s = budget_s
        self._until: Deadline | None = None
        self._heard = False

    def caller_stopped(self, at: float) -> None:
        """Start the latency budget, counted from the caller's last voiced sample."""
        self._heard = False
        self._until = Deadline(at=at + self._budget_s)

    def may_have_stopped(self, at: float) -> None:
        """Start the budget of an early answer, before it is certain that the caller stopped."""
        self._heard, self._until = False, Deadline(at=at + self._budget_s)

    def stays_open(self, until: float) -> None:
        """Count the budget from `until`: more words of the caller are expected before that."""
        self._heard, self._until = False, Deadline(at=until + self._budget_s)

    def queued(self, dry_at: float) -> None:
        """Move the deadline to `dry_at`, when the queued audio runs out.

        The first audio may move the deadline to an earlier moment: from then on the line counts.
        Later audio only extends it.
        """
        if self._until is not None:
            self._until = Deadline(at=max(self._until.at, dry_at) if self._heard else dry_at)
            self._heard = True

    def flushed(self, now: float) -> None:
        """End the deadline now: the queued audio was discarded."""
        if self._until is not None:
            self._until = self._until.no_later_than(now)

    def until(self, now: float) -> Deadline:
        """Return the deadline; for speech that no caller waits for, one budget from now."""
        return self._until or Deadline(at=now + self._budget_s)

    def patient_until(self, now: float) -> Deadline:
        """Return when even a late answer is given up; until then something else holds the line."""
        return self.until(now).later_by(HOLD_S)

    def unhurried_until(self, now: float, wait_s: float = HOLD_S) -> Deadline:
        """Return a deadline for work that no caller waits for yet."""
        return Deadline(at=now + wait_s)
