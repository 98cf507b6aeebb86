"""Who may be asked next for one piece of work: a new rung, or one that was asked already."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.health import Standing
from fallbacks.ladder import Allowance, may_ask_again, rank
from fallbacks.run import Run

Standings: TypeAlias = Callable[[float], Sequence[Standing]]
"""The stage's ladder as it stands at a moment, such as `Roster.standings` with its stage given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rung that is to be asked, and how."""

    provider: str
    wait_s: float = 0.0  # until it may be
    extra: bool = False  # a race, or a second try that is paid for
    mended: bool = False  # with a payload that was trimmed or split
    hedge: bool = False  # as well, although nobody is late yet


class Candidates:
    """Remembers who was asked and how that went, and proposes the next one."""

    def __init__(
        self, standings: Standings, *, allowance: Allowance, stay_with: str | None
    ) -> None:
        self._standings = standings
        self._allowance = allowance
        self._stay_with = stay_with
        self._starts: Counter[str] = Counter()
        self._failures: dict[str, Failure | None] = {}  # None: it only let the caller wait
        self._mended: dict[str, bool] = {}  # whose payload was wrong, and whether it was mended

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._starts.total()

    def standing(self, provider: str, now: float) -> Standing | None:
        """Return how a rung stands."""
        return next((each for each in self._standings(now) if each.provider == provider), None)

    def standbys(self, now: float) -> tuple[Standing, ...]:
        """Return the rungs that may be asked and have not been."""
        standings = self._standings(now)
        return tuple(
            each for each in standings if each.usable and each.provider not in self._starts
        )

    def note_start(self, candidate: Candidate) -> None:
        """Note that a rung is asked."""
        self._starts[candidate.provider] += 1
        if candidate.mended:
            self._mended[candidate.provider] = True
        if not candidate.extra:
            self._allowance.note()

    def note_failure(self, provider: str, failure: Failure | None) -> None:
        """Note that a rung failed; None: by our own watch."""
        self._failures[provider] = failure
        if failure is not None and failure.scope is Scope.PAYLOAD:
            self._mended.setdefault(provider, False)

    def find_next(self, until: Deadline, runs: Collection[Run], now: float) -> Candidate | None:
        """Return who is to be asked in place of one that failed.

        A new rung is free of the allowance: nobody else is being asked in vain. When nobody new is
        left and none runs, one is asked again, at once or in a moment.
        """
        for provider in self.ranked(until, now):
            if self._mended.get(provider) is False:  # the rung is well: it was our payload
                return Candidate(provider=provider, mended=True)
        fresh = self.find_fresh(until, runs, now)
        if fresh is not None:
            return Candidate(provider=fresh)
        return None if runs else self._same_again(until, now)

    def find_second(
        self,
        until: Deadline,
        runs: Collection[Run],
        now: float,
        *,
        allowance: Allowance | None = None,
        hedge: bool = False,
    ) -> Candidate | None:
        """Return who is to be asked as well: another rung, or the same if it is the only one left.

        Args:
            until: The deadline.
            runs: Who is being asked.
            now: Monotonic, in seconds.
            allowance: Pays for it; None: the stage's.
            hedge: Nobody is late yet.
        """
        again = (each for each, wait_s in self._again_after(until, now) if wait_s == 0)
        second = self.find_fresh(until, runs, now) or next(again, None)
        if second is None or not (allowance or self._allowance).take():
            return None
        return Candidate(provider=second, extra=True, hedge=hedge)

    def find_fresh(self, until: Deadline, runs: Collection[Run], now: float) -> str | None:
        """Return the best rung that was not asked yet, or that was only outrun when it was."""
        asked = {run.provider for run in runs} | self._failures.keys()
        free = [each for each in self.ranked(until, now) if each not in asked]
        return next((each for each in free if each not in self._starts), next(iter(free), None))

    def ranked(self, until: Deadline, now: float) -> tuple[str, ...]:
        """Return the rungs that may be asked, the best one in front."""
        return rank(self._standings(now), until, now=now, stay_with=self._stay_with)

    def _same_again(self, until: Deadline, now: float) -> Candidate | None:
        """Return who is asked once more, at once or in a moment.

        Retrying a rung that reported a failure is free; its breaker limits how often. A rung that
        only timed out may still be working, so retrying it uses the allowance.
        """
        several = len(self.ranked(until, now)) > 1
        for provider, wait_s in self._again_after(until, now):
            failure = self._failures.get(provider)
            timed_out = failure is None or failure.kind is Kind.TIMEOUT
            extra = several and timed_out
            if extra and not self._allowance.take():
                continue
            return Candidate(provider=provider, wait_s=wait_s, extra=extra)
        return None

    def _again_after(self, until: Deadline, now: float) -> Iterator[tuple[str, float]]:
        """The rungs that may be asked again, and in how many seconds."""
        for provider in self.ranked(until, now):
            failure, tries = self._failures.get(provider), self._starts[provider] - 1
            wait_s = may_ask_again(failure, until, now=now, tries=tries)
            if wait_s is not None:
                yield provider, wait_s
