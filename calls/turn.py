"""The turn in progress, shared by all stages of a call: its number and its deadline.

Until audio of the answer is queued, the deadline is the end of the latency budget, which begins
with the caller's last voiced sample. From then on, it is the end of the queued audio.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

from fallbacks.deadline import Deadline

HOLD_S: Final = 2.5  # after the budget; with a budget of 1.5 s, a caller waits for at most 4 s


class Turn:
    """The turn that the stages work on. Only this class makes deadlines.

    Moments are monotonic, in seconds.

    Attributes:
        number: The number of the latest decided turn; 0 before the first.
        attempts: The call's attempt numbers; each is used once.
    """

    def __init__(self, *, budget_s: float) -> None:
        self.number = 0
        self.attempts: Iterator[int] = count(1)
        self._budget_s = budget_s
        self._until: Deadline | None = None
        self._audio_queued = False  # whether audio of the answer was queued

    def caller_stopped(self, at: float) -> None:
        """Start the latency budget at `at`, the moment of the caller's last voiced sample."""
        self._audio_queued = False
        self._until = Deadline(at=at + self._budget_s)

    def may_have_stopped(self, at: float) -> None:
        """Start an early answer's budget at `at`, before it is certain that the caller stopped."""
        self._audio_queued, self._until = False, Deadline(at=at + self._budget_s)

    def stays_open(self, until: float) -> None:
        """Start the budget at `until`, because more words of the caller may come before."""
        self._audio_queued, self._until = False, Deadline(at=until + self._budget_s)

    def queued(self, dry_at: float) -> None:
        """Move the deadline to `dry_at`, the end of the queued audio; no effect before a deadline.

        The first audio of the answer may move the deadline to an earlier moment. Later audio only
        extends it.
        """
        if self._until is not None:
            self._until = Deadline(at=max(self._until.at, dry_at) if self._audio_queued else dry_at)
            self._audio_queued = True

    def flushed(self, now: float) -> None:
        """Move the deadline to now if it is later: the queued audio was discarded."""
        if self._until is not None:
            self._until = self._until.no_later_than(now)

    def until(self, now: float) -> Deadline:
        """Return the deadline; before the caller's first turn, one budget from now."""
        return self._until or Deadline(at=now + self._budget_s)

    def patient_until(self, now: float) -> Deadline:
        """Return when even a late answer is given up; until then the line is held."""
        return self.until(now).later_by(HOLD_S)

    def unhurried_until(self, now: float, wait_s: float = HOLD_S) -> Deadline:
        """Return a deadline, `wait_s` from now, for work that no caller waits for yet."""
        return Deadline(at=now + wait_s)
