"""Decides which rung to ask, when to ask the next one as well, and how often.

The preferred rung comes first unless it is suspect, too slow for the remaining time, or asked for a
pause. After a failure the next rung is started at once. While the first is merely late, both run
and the first to give content wins. Such races, and second tries of a rung that was late, are extra
work, and an outage is the worst moment for that. So a stage has an allowance: a tenth of its recent
attempts.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.health import Standing

RETRY_WAIT_S: Final = 0.3  # the longest wait for a rate limit to pass inside a turn
ROUNDING_S: Final = 1e-6  # of a sum of moments, so that a rest of exactly the limit is waited for
SAME_RUNG: Final = 2  # second tries of one rung for one request
RECENT: Final = 100  # the number of attempts that counts as recent
FLOOR: Final = 3  # extra attempts always allowed: the first outage has no history


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a stage is with its rungs, in seconds."""

    late_min_s: float = 0.35  # no rung is late before
    late_max_s: float = 0.8  # every rung is late after
    gap_s: float = 0.4  # between two pieces of useful output, while work is pending
    silent_end_ok: bool = False  # a recogniser that heard a cough ends without a word


def rank(
    standings: Sequence[Standing], until: Deadline, *, now: float, stay_with: str | None = None
) -> tuple[str, ...]:
    """Return the rungs that may be asked, the first choice first.

    `stay_with` is the rung that the caller knows: a voice that took over stays for the call, unless
    it becomes suspect itself. Empty if no provider is available: hold the line.
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
    """Return rungs whose rate limit ends soon, and in how many seconds, the soonest first."""
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
    """Return in how many seconds the same rung may be asked again; `None` if not at all.

    Args:
        failure: What went wrong; `None` if it was only late.
        until: The deadline; no rung is asked twice after it.
        now: Monotonic, in seconds.
        tries: How often it was already asked again.
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
    """Limits the extra attempts of a stage; shared by all calls.

    Every attempt is counted. An extra one is allowed while the extra ones among the recent are
    fewer than their share, or than the floor.
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
        """Reduce the floor to this process's part.

        The share needs no division: a tenth of each process's attempts is a tenth of all.
        """
        self._floor = max(min(self._floor, 1), self._floor // processes)

    def note(self) -> None:
        """Count an ordinary attempt."""
        self._recent.append(False)

    def take(self) -> bool:
        """Return whether an extra attempt is allowed, and count it if so."""
        allowed = self.spent < max(self._floor, int(self._share * len(self._recent)))
        if allowed:
            self._recent.append(True)
        return allowed


Standings: TypeAlias = Callable[[float], Sequence[Standing]]
"""The stage's ladder at a moment, such as `HealthTable.standings` for the stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRung:
    """The rung to ask next, and how."""

    provider: str
    wait_s: float = 0.0  # before it may be asked
    extra: bool = False  # a race, or a second try, counted against the allowance
    mended: bool = False  # with a trimmed or split payload
    hedge: bool = False  # in addition, before any rung is late


class AttemptUnderWay(Protocol):
    """An attempt in progress."""

    provider: str


class RungChoice:
    """Remembers which rungs were asked and with what result, and proposes the next one."""

    def __init__(
        self, standings: Standings, *, allowance: Allowance, stay_with: str | None
    ) -> None:
        self._standings = standings
        self._allowance = allowance
        self._stay_with = stay_with
        self._seen: dict[str, Standing] = {}  # from the last ranking
        self._starts: Counter[str] = Counter()
        self._failures: dict[str, Failure | None] = {}  # `None` if it was only late
        self._mended: dict[str, bool] = {}  # rungs that rejected our payload; whether it was fixed

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self._starts.total()

    def standbys(self, now: float) -> tuple[Standing, ...]:
        """Return the usable rungs that have not been asked."""
        standings = self._standings(now)
        return tuple(
            standing
            for standing in standings
            if standing.usable and standing.provider not in self._starts
        )

    def note_start(self, candidate: NextRung) -> Standing | None:
        """Record the start of an attempt; return the rung's standing when it was chosen."""
        self._starts[candidate.provider] += 1
        if candidate.mended:
            self._mended[candidate.provider] = True
        if not candidate.extra:
            self._allowance.note()
        return self._seen.get(candidate.provider)

    def take_back(self, provider: str) -> None:
        """Forget one start of a rung: it ended through no fault of its own."""
        self._starts -= Counter([provider])  # drops a zero, so that it counts as not asked

    def note_failure(self, provider: str, failure: Failure | None) -> None:
        """Record a failure of a rung; `None` if it was only late."""
        self._failures[provider] = failure
        if failure is not None and failure.scope is Scope.PAYLOAD and failure.same_rung:
            self._mended.setdefault(provider, False)

    def find_next(
        self, until: Deadline, runs: Collection[AttemptUnderWay], now: float
    ) -> NextRung | None:
        """Return the rung to ask in place of one that failed.

        A new rung does not use the allowance, because it is no duplicate work. When no new rung is
        left and none runs, one is asked again, at once or in a moment.
        """
        for provider in self.ranked(until, now):
            if self._mended.get(provider) is False:  # the rung works: our payload was wrong
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
        """Return the rung to ask in addition: another one, or the same if it is the only one left.

        `None` if two are already being asked.

        Args:
            until: The deadline.
            runs: The attempts in progress.
            now: Monotonic, in seconds.
            allowance: Pays for it; `None` for the stage's own.
            hedge: No rung is late yet.
        """
        if len(runs) > 1:
            return None
        again = (rung for rung, wait_s in self._again_after(until, now) if wait_s == 0)
        second = self.find_fresh(until, runs, now) or next(again, None)
        if second is None or not (allowance or self._allowance).take():
            return None
        return NextRung(provider=second, extra=True, hedge=hedge)

    def find_fresh(
        self, until: Deadline, runs: Collection[AttemptUnderWay], now: float
    ) -> str | None:
        """Return the best rung that was not asked yet, or that has only lost a race."""
        asked = {run.provider for run in runs} | self._failures.keys()
        free = [rung for rung in self.ranked(until, now) if rung not in asked]
        return next((rung for rung in free if rung not in self._starts), next(iter(free), None))

    def ranked(self, until: Deadline, now: float) -> tuple[str, ...]:
        """Return the rungs that may be asked, best first."""
        standings = self._standings(now)
        self._seen = {standing.provider: standing for standing in standings}
        return rank(standings, until, now=now, stay_with=self._stay_with)

    def _same_again(self, until: Deadline, now: float) -> NextRung | None:
        """Return the rung to ask once more, at once or in a moment.

        Retrying a rung that reported a failure is free; its breaker limits how often. A rung that
        only timed out may still be working, so retrying it uses the allowance. A rung that still
        rests for a moment may not have been asked at all: its rate limit hit another call.
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

        Of the resting rungs, the one whose rest ends first comes first. A rest is longer than the
        provider's request if that was too short. A last resort is asked once.
        """
        ranked = self.ranked(until, now)
        ready = {rung: 0.0 for rung in ranked if not self._seen[rung].last_resort}
        ready |= resting(self._seen.values(), until, now=now)
        for provider, left_s in ready.items():
            failure, tries = self._failures.get(provider), self._starts[provider] - 1
            wait_s = may_ask_again(failure, until, now=now, tries=tries)
            if wait_s is not None:
                yield provider, left_s or wait_s
