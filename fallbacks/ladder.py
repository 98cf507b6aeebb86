"""Which rung to ask, when to ask the next one as well, and how often that may be done.

The preferred rung comes first unless it is suspect, too slow for what is left, or asked to be left
alone. The next one is started at once after a failure; while the first is merely late, both run and
the first to give content wins. Such races, and second tries of a rung that let everybody wait, are
extra work, and an outage is the worst moment for that: a stage has an allowance, a tenth of its
recent attempts.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.health import Standing

RETRY_WAIT_S: Final = 0.3  # the longest that a caller waits for a rate limit to pass inside a turn
ROUNDING_S: Final = 1e-6  # of a sum of moments: a rest of exactly so long is waited for
SAME_RUNG: Final = 2  # second tries of one rung for one piece of work
RECENT: Final = 100  # attempts that "recent" means
FLOOR: Final = 3  # extra attempts that are always allowed: the first outage meets no history


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a stage is with its rungs, in seconds."""

    late_min_s: float = 0.35  # nobody is called late before
    late_max_s: float = 0.8  # everybody is after
    gap_s: float = 0.4  # between two pieces of useful output, while work is owed
    silent_end_ok: bool = False  # a recogniser that heard a cough ends without a word


def rank(
    standings: Sequence[Standing], until: Deadline, *, now: float, stay_with: str | None = None
) -> tuple[str, ...]:
    """Return the rungs that may be asked, the one to ask first in front.

    `stay_with` is the rung that the caller knows: a voice that took over stays for the call, as
    long as it is not suspect itself. Empty means that the stage has nobody: hold the line.
    """
    left_s = until.left_s(now)
    places = {standing.provider: place for place, standing in enumerate(standings)}
    usable = [standing for standing in standings if standing.usable]
    usable.sort(
        key=lambda standing: (
            standing.spared,
            standing.suspect,
            standing.provider != stay_with,
            standing.p50_s > left_s,
            places[standing.provider],
        )
    )
    return tuple(standing.provider for standing in usable)


def resting(standings: Iterable[Standing], until: Deadline, *, now: float) -> Mapping[str, float]:
    """Return the rungs that may be asked in a moment, and in how many seconds, the first first."""
    left_s = {
        standing.provider: standing.rests_until - now
        for standing in standings
        if standing.rests_until is not None
    }
    most_s = min(RETRY_WAIT_S, until.left_s(now)) + ROUNDING_S
    soon = [provider for provider, rest_s in left_s.items() if rest_s <= most_s]
    return {provider: left_s[provider] for provider in sorted(soon, key=left_s.__getitem__)}


def late_after_s(standing: Standing | None, pace: Pace) -> float:
    """Return how long after its start a rung without useful output is late."""
    if standing is None:
        return pace.late_max_s
    return min(max(standing.p95_s, pace.late_min_s), pace.late_max_s)


def may_ask_again(
    failure: Failure | None, until: Deadline, *, now: float, tries: int
) -> float | None:
    """Say in how many seconds the same rung may be asked again, or None: not for this work.

    Args:
        failure: What it did wrong; None: it only let us wait.
        until: The deadline; nobody is asked twice after it.
        now: Monotonic, in seconds.
        tries: How often it was asked again already.
    """
    if until.passed(now) or tries >= SAME_RUNG:
        return None
    if failure is None:
        return 0.0
    if failure.permanent or not failure.same_rung or failure.scope is Scope.PAYLOAD:
        return None
    wait_s = failure.retry_after_s
    if wait_s is None:
        return None if failure.kind is Kind.RATE_LIMITED else 0.0
    return wait_s if wait_s <= min(RETRY_WAIT_S, until.left_s(now)) else None


class Allowance:
    """How many extra attempts a stage may make; shared by all calls.

    Every attempt is noted. An extra one is allowed while the extra ones among the recent are fewer
    than their share, or than the floor.
    """

    def __init__(self, *, share: float = 0.1, floor: int = FLOOR, recent: int = RECENT) -> None:
        self._share = share
        self._floor = floor
        self._recent: deque[bool] = deque(maxlen=recent)

    @property
    def spent(self) -> int:
        """The extra attempts among the recent ones."""
        return sum(self._recent)

    def share(self, processes: int) -> None:
        """Have only a part of what is always allowed: other processes have theirs.

        The share of the attempts needs no dividing: a tenth of each is a tenth of all.
        """
        self._floor = max(min(self._floor, 1), self._floor // processes)

    def note(self) -> None:
        """Count an ordinary attempt."""
        self._recent.append(False)

    def take(self) -> bool:
        """Count an extra attempt if it is allowed, and say whether it is."""
        allowed = self.spent < max(self._floor, int(self._share * len(self._recent)))
        if allowed:
            self._recent.append(True)
        return allowed


Standings: TypeAlias = Callable[[float], Sequence[Standing]]
"""The stage's ladder at a moment, such as `HealthTable.standings` of the stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRung:
    """A rung that is to be asked, and how."""

    provider: str
    wait_s: float = 0.0  # until it may be
    extra: bool = False  # a race, or a second try that is paid for
    mended: bool = False  # with a payload that was trimmed or split
    hedge: bool = False  # as well, although nobody is late yet


class AttemptUnderWay(Protocol):
    """An attempt under way."""

    provider: str


class RungChoice:
    """Remembers who was asked and how that went, and proposes the next one."""

    def __init__(
        self, standings: Standings, *, allowance: Allowance, stay_with: str | None
    ) -> None:
        self._standings = standings
        self._allowance = allowance
        self._stay_with = stay_with
        self._seen: dict[str, Standing] = {}  # when they were ranked last
        self._starts: Counter[str] = Counter()
        self._failures: dict[str, Failure | None] = {}  # None: it only let the caller wait
        self._mended: dict[str, bool] = {}  # whose payload was wrong, and whether it was mended

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._starts.total()

    def standbys(self, now: float) -> tuple[Standing, ...]:
        """Return the rungs that may be asked and have not been."""
        standings = self._standings(now)
        return tuple(
            standing
            for standing in standings
            if standing.usable and standing.provider not in self._starts
        )

    def note_start(self, candidate: NextRung) -> Standing | None:
        """Note that a rung is asked, and return how it stood when it was chosen."""
        self._starts[candidate.provider] += 1
        if candidate.mended:
            self._mended[candidate.provider] = True
        if not candidate.extra:
            self._allowance.note()
        return self._seen.get(candidate.provider)

    def take_back(self, provider: str) -> None:
        """Forget that a rung was asked: that came to nothing through no fault of its own."""
        self._starts -= Counter([provider])  # without a zero: it counts as not asked

    def note_failure(self, provider: str, failure: Failure | None) -> None:
        """Note that a rung failed; None: by our own watch."""
        self._failures[provider] = failure
        if failure is not None and failure.scope is Scope.PAYLOAD and failure.same_rung:
            self._mended.setdefault(provider, False)

    def find_next(
        self, until: Deadline, runs: Collection[AttemptUnderWay], now: float
    ) -> NextRung | None:
        """Return who is to be asked in place of one that failed.

        A new rung is free of the allowance: nobody else is being asked in vain. When nobody new is
        left and none runs, one is asked again, at once or in a moment.
        """
        for provider in self.ranked(until, now):
            if self._mended.get(provider) is False:  # the rung is well: it was our payload
                return NextRung(provider=provider, mended=True)
        fresh = self.find_fresh(until, runs, now)
        if fresh is not None:
            return NextRung(provider=fresh)
        return None if runs else self._same_again(until, now)

    def find_second(
        self,
        until: Deadline,
        runs: Collection[AttemptUnderWay],
        now: float,
        *,
        allowance: Allowance | None = None,
        hedge: bool = False,
    ) -> NextRung | None:
        """Return who is to be asked as well: another rung, or the same if it is the only one left.

        Nobody, if two are being asked already.

        Args:
            until: The deadline.
            runs: Who is being asked.
            now: Monotonic, in seconds.
            allowance: Pays for it; None: the stage's.
            hedge: Nobody is late yet.
        """
        if len(runs) > 1:
            return None
        again = (each for each, wait_s in self._again_after(until, now) if wait_s == 0)
        second = self.find_fresh(until, runs, now) or next(again, None)
        if second is None or not (allowance or self._allowance).take():
            return None
        return NextRung(provider=second, extra=True, hedge=hedge)

    def find_fresh(
        self, until: Deadline, runs: Collection[AttemptUnderWay], now: float
    ) -> str | None:
        """Return the best rung that was not asked yet, or that was only outrun when it was."""
        asked = {run.provider for run in runs} | self._failures.keys()
        free = [text for text in self.ranked(until, now) if text not in asked]
        return next((text for text in free if text not in self._starts), next(iter(free), None))

    def ranked(self, until: Deadline, now: float) -> tuple[str, ...]:
        """Return the rungs that may be asked, the best one in front."""
        standings = self._standings(now)
        self._seen = {standing.provider: standing for standing in standings}
        return rank(standings, until, now=now, stay_with=self._stay_with)

    def _same_again(self, until: Deadline, now: float) -> NextRung | None:
        """Return who is asked once more, at once or in a moment.

        Retrying a rung that reported a failure is free; its breaker limits how often. A rung that
        only timed out may still be working, so retrying it uses the allowance. One that rests for
        a moment yet may not have been asked at all: it was another call that it refused.
        """
        several = len(self.ranked(until, now)) > 1
        for provider, wait_s in self._again_after(until, now):
            failure = self._failures.get(provider)
            timed_out = failure is None or failure.kind is Kind.TIMEOUT
            timed_out = timed_out and provider in self._starts
            extra = several and timed_out
            if extra and not self._allowance.take():
                continue
            return NextRung(provider=provider, wait_s=wait_s, extra=extra)
        return None

    def _again_after(self, until: Deadline, now: float) -> Iterator[tuple[str, float]]:
        """The rungs that may be asked again, and in how many seconds.

        Of those that rest the one that has rested first; a rest is longer than was asked for if
        that was too little. A last resort is asked once.
        """
        ranked = self.ranked(until, now)
        ready = {rung: 0.0 for rung in ranked if not self._seen[rung].last_resort}
        ready |= resting(self._seen.values(), until, now=now)
        for provider, left_s in ready.items():
            failure, tries = self._failures.get(provider), self._starts[provider] - 1
            wait_s = may_ask_again(failure, until, now=now, tries=tries)
            if wait_s is not None:
                yield provider, left_s or wait_s
