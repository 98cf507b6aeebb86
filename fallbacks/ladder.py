"""The ladder of a stage: its shared settings, and which rung one request asks next.

The preferred rung comes first unless it is suspect, too slow for the time left, or asked for a
pause. After a failure, the next rung is asked at once. If a rung is only late, it continues while
the next one is asked, and the first to produce content wins. Such races, and second tries of a late
rung, are extra requests, and an outage is the worst time for these. So they are limited to a tenth
of the stage's recent attempts: its allowance.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fallbacks.availability import BUSY, Availability, AvailabilityTable, Reason, RungState
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.lag import Lag
from fallbacks.limits import Gate
from fallbacks.retry_after import RETRY_WAIT_S

ROUNDING_S: Final = 1e-6  # tolerance, so that a rest of exactly the limit is not too long
MAX_REPEATS: Final = 2  # repeated tries of one rung for one request
RECENT: Final = 100  # attempts that count as recent
FLOOR: Final = 3  # extra attempts that are always allowed: the first outage has no history
EARLY_SHARE: Final = 0.25  # dropped early requests per ordinary request; docs/decisions/0009


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a stage is with its rungs, in seconds."""

    late_min_s: float = 0.35  # no rung is late earlier
    late_max_s: float = 0.8  # every rung is late then
    gap_s: float = 0.4  # the longest gap in useful output, while work is pending
    silent_end_ok: bool = False  # an end without output is valid, as for a recogniser after a cough
    races_itself: bool = True  # a second request to a rung leaves its first one in progress

    def late_after_s(self, rung: Availability | None) -> float:
        """Return how long after its start a rung without useful output is late."""
        if rung is None:
            return self.late_max_s
        return min(max(rung.p95_s, self.late_min_s), self.late_max_s)


class Allowance:
    """Limits the extra attempts of a stage; shared by all calls.

    An extra attempt is allowed if, of the recent attempts, fewer than `share`, or fewer than
    `floor`, were extra ones.
    """

    def __init__(self, *, share: float = 0.1, floor: int = FLOOR, recent: int = RECENT) -> None:
        self._share = share
        self._floor = floor
        self._recent: deque[bool] = deque(maxlen=recent)

    @property
    def spent(self) -> int:
        """The number of extra attempts among the recent ones."""
        return sum(self._recent)

    def share(self, processes: int) -> None:
        """Reduce the floor to this process's part of it, if several processes share the load.

        `share` stays: a tenth of each process's attempts is a tenth of all. To be called once.
        """
        self._floor = max(min(self._floor, 1), self._floor // processes)

    def note(self) -> None:
        """Count an ordinary attempt."""
        self._recent.append(False)

    def take(self) -> bool:
        """Return whether an extra attempt is allowed, and count it if so.

        Extra attempts may be a share of the recent ones, and at least as many as the floor.
        """
        allowed = self.spent < max(self._floor, int(self._share * len(self._recent)))
        if allowed:
            self._recent.append(True)
        return allowed


class EarlyBudget:
    """Limits the early requests whose answers are dropped; shared by all calls of a process.

    Attributes:
        asked: The number of requests for decided turns, since the process started.
        extra: The number of additional requests, whose answers were dropped.
        reserved: Early answers of which it is not known yet whether they are used.
    """

    def __init__(
        self, *, share: float = EARLY_SHARE, floor: int = FLOOR, recent: int = RECENT
    ) -> None:
        self.asked = 0
        self.extra = 0
        self._share = share
        self._floor = floor
        self._recent: deque[bool] = deque(maxlen=recent)
        self.reserved = 0

    @property
    def extra_share(self) -> float:
        """The ratio of extra requests to requests for decided turns."""
        return self.extra / self.asked if self.asked else float(self.extra)

    def note(self) -> None:
        """Count a request for a decided turn, early or not."""
        self.asked += 1
        self._recent.append(False)

    def reserve(self) -> bool:
        """Return whether one more early answer is allowed; if so, call `settle` later."""
        ordinary = len(self._recent) - sum(self._recent)
        allowed = sum(self._recent) + self.reserved < max(self._floor, int(self._share * ordinary))
        self.reserved += allowed
        return allowed

    def settle(self, extra: int) -> None:
        """End a reservation; `extra` of its requests were dropped."""
        self.reserved -= 1
        self.extra += extra
        self._recent.extend([True] * extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseRule:
    """How much of an unfinished sentence a voice may get.

    Attributes:
        words: The number of first words that are enough; `None` if only a comma ends a clause.
    """

    words: int | None = None


@dataclass(slots=True, kw_only=True)
class StagePolicy:
    """The settings and state of one stage that all calls of a process share."""

    stage: str  # stt, llm, tts
    availability: AvailabilityTable
    pace: Pace = field(default_factory=Pace)
    allowance: Allowance = field(default_factory=Allowance)
    hedges: Allowance | None = None  # for a second rung before the first is late; `None` if never
    lag: Lag = field(default_factory=Lag)  # our own stalls
    early: EarlyBudget | None = None  # for early answers; `None` if there are none
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])  # by the rung's name
    cold: frozenset[str] = frozenset()  # standbys that connect only when they are needed
    untimed: frozenset[str] = frozenset()  # voices that do not report word times
    drifting: set[str] = field(default_factory=set[str])  # voices whose word times are wrong
    suspected: set[str] = field(default_factory=set[str])  # those found wrong once
    confirmed: Counter[str] = field(default_factory=Counter[str])  # how often they were right
    voice_paces: dict[str, float] = field(default_factory=dict[str, float])  # see `learn_pace`
    quiet: frozenset[str] = frozenset()  # recognisers that send nothing while the caller speaks
    # How much of an unfinished sentence a voice may get; voices without an entry get nothing.
    clauses: Mapping[str, ClauseRule] = field(default_factory=dict[str, ClauseRule])
    # The call and the text that two voices left unspoken, so that the text is to blame, not the
    # voices; `None` if there is none.
    unspoken: tuple[Hashable, str] | None = None
    then_s: float = 0.0  # the time that later stages need before the caller hears something
    chance: Callable[[], float] = lambda: 0.5  # 0 to 1; spreads rests without a specified time

    def has_recovered(self, now: float) -> bool:
        """Return whether a rung is worth asking again.

        That is the case if a usable rung is ready. If no rung is usable, one is enough whose latest
        probe succeeded.
        """
        found = self.availability.ladder(self.stage, now)
        usable = [rung for rung in found if rung.usable]
        if usable:
            return any(rung.state is RungState.READY for rung in usable)
        return any(rung.state is RungState.PROBED for rung in found)

    def has_failed_since(self, at: float) -> bool:
        """Return whether a failure was proved since then: not only one call's content failed."""
        rungs = (rung for rung in self.availability if rung.stage == self.stage)
        return any(rung.proven_at >= at for rung in rungs)

    def has_served_since(self, at: float, providers: Iterable[str]) -> bool:
        """Return whether each of these rungs has answered a request that began since then."""
        rungs = (self.availability.of(self.stage, provider) for provider in providers)
        return all(rung.healthy_at >= at for rung in rungs)

    def usable(self, now: float) -> Sequence[Availability]:
        """Return the rungs that every caller may ask, the preferred one first."""
        return self.availability.usable(self.stage, now)


def rank(
    rungs: Iterable[Availability],
    until: Deadline,
    *,
    now: float,
    stay_with: str | None = None,
    avoids: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """Return rungs in the order in which they are asked.

    Rungs that asked for a pause come last, suspect ones and those that the call avoids before them.
    Of equally good rungs, the ones that are too slow for the time left come after the others.

    `stay_with` is the rung that was used before in this call, if it is preferred: a voice that took
    over stays, unless it becomes suspect itself.
    """
    left_s = until.left_s(now)
    ordered = sorted(  # stable: the preferred rung comes first among equals
        rungs,
        key=lambda rung: (
            rung.reason is Reason.PAUSE,
            rung.state is RungState.SUSPECT or avoids(rung.provider),
            rung.provider != stay_with,
            rung.p50_s > left_s,
        ),
    )
    return tuple(rung.provider for rung in ordered)


def may_ask_again(
    failure: Failure | None, until: Deadline, *, now: float, tries: int
) -> float | None:
    """Return in how many seconds the same rung may be asked again; `None` if not at all.

    Args:
        failure: What went wrong; `None` if the rung was only late.
        until: The deadline; no rung is asked again after it.
        now: Monotonic, in seconds.
        tries: How often the rung was asked again before.
    """
    if until.passed(now) or tries >= MAX_REPEATS:
        return None
    if failure is None:
        return 0.0
    if failure.permanent or not failure.same_rung or failure.scope is Scope.PAYLOAD:
        return None
    wait_s = failure.retry_after_s
    if wait_s is None:
        return None if failure.kind is Kind.RATE_LIMITED else 0.0
    return wait_s if wait_s <= min(RETRY_WAIT_S, until.left_s(now)) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRung:
    """The rung to ask next, and how."""

    provider: str
    wait_s: float = 0.0  # before it may be asked
    extra: bool = False  # counted against the allowance: a race, or a second try
    mended: bool = False  # with a trimmed or split payload
    hedge: bool = False  # in addition, before any rung is late


class RungChoice:
    """Remembers which rungs one request asked and with what result, and proposes the next one."""

    def __init__(
        self,
        policy: StagePolicy,
        *,
        call: Hashable = None,
        stay_with: str | None = None,
        offered: Callable[[str], bool] = lambda _: True,
        hears: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Create an empty record for one request.

        Args:
            policy: The stage's settings and state.
            call: Identifies the call, which avoids rungs that failed only itself.
            stay_with: The rung that was used before in this call, if it is preferred.
            offered: Returns whether this call can ask a rung.
            hears: Returns whether a rung already gets this call's audio. Such a rung continues if
                no rung is usable. Without one, the call tries rungs whose breakers are not closed.
        """
        self._policy = policy
        self._call = call
        self._stay_with = stay_with
        self.offered = offered
        self.hears = hears
        self.repeats = True  # whether a rung may be asked again
        self._last_ranked: dict[str, Availability] = {}  # the rungs of the last ranking
        self._starts: Counter[str] = Counter()
        self._failures: dict[str, Failure | None] = {}  # `None` if it was only late
        self._mended: dict[str, bool] = {}  # rungs that rejected our payload; whether it was fixed

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self._starts.total()

    @property
    def failed_alike(self) -> bool:
        """Whether several rungs were asked and all have failed as if the request were to blame."""
        found = [self._failures.get(provider) for provider in self._starts]
        return len(found) > 1 and all(f is not None and f.kind not in BUSY for f in found)

    def standbys(self, now: float) -> list[Availability]:
        """Return the rungs that may be asked and were not asked for this request."""
        return [rung for rung in self._allowed_rungs(now) if rung.provider not in self._starts]

    def note_start(self, candidate: NextRung) -> Availability | None:
        """Record an attempt's start; return its rung as last ranked, or `None` if it was not.

        Unless it is an extra one, it is counted in the stage's allowance.
        """
        self._starts[candidate.provider] += 1
        if candidate.mended:
            self._mended[candidate.provider] = True
        if not candidate.extra:
            self._policy.allowance.note()
        return self._last_ranked.get(candidate.provider)

    def take_back(self, provider: str) -> None:
        """Forget one start of a rung: the attempt ended through no fault of the rung."""
        self._starts -= Counter([provider])  # removes a count of 0, so it counts as not asked

    def note_failure(self, provider: str, failure: Failure | None) -> None:
        """Record a failure of a rung; `None` if it was only late.

        If our payload was rejected, the rung may be asked once with a mended one.
        """
        self._failures[provider] = failure
        if failure is not None and failure.scope is Scope.PAYLOAD and failure.same_rung:
            self._mended.setdefault(provider, False)

    def find_next(self, until: Deadline, running: Collection[str], now: float) -> NextRung | None:
        """Return the next rung to ask, such as after a failure; `None` if there is none.

        A rung that rejected our payload comes first, with a mended one. A new rung does not use the
        allowance, because no work is duplicated. If no new rung is left and no attempt is running,
        a rung is asked again, at once or after a short wait; but not if several rungs have all
        failed alike, because the request itself may be the cause.

        Args:
            until: The deadline.
            running: The rungs of the attempts in progress.
            now: Monotonic, in seconds.
        """
        for provider in self.ranked(until, now):
            works = self._mended.get(provider) is False  # it rejected only our payload
            if works and self.repeats:
                return NextRung(provider=provider, mended=True)
        fresh = self.find_fresh(until, running, now)
        if fresh is not None:
            return NextRung(provider=fresh)
        return None if running else self._find_repeat(until, now)

    def find_second(
        self, until: Deadline, running: Collection[str], now: float, *, hedge: bool = False
    ) -> NextRung | None:
        """Return the rung to ask in addition: another one, or the same if it is the only one left.

        It is taken from the allowance. `None` if that is used up, if two are being asked already,
        or if none may be asked at once. A hedge, before the first is late, has its own allowance.
        A voice says one thing at a time: a second request would end the first, which may be about
        to speak, so it is asked again only when its patience has ended.
        """
        if len(running) > 1:
            return None
        second = self.find_fresh(until, running, now)
        if second is None and self._policy.pace.races_itself:
            second = self._repeatable_at_once(until, now)
        allowance = (self._policy.hedges if hedge else None) or self._policy.allowance
        if second is None or not allowance.take():
            return None
        return NextRung(provider=second, extra=True, hedge=hedge)

    def find_fresh(self, until: Deadline, running: Collection[str], now: float) -> str | None:
        """Return the best rung not asked yet, else one that only lost a race, else `None`."""
        busy_or_failed = {*running, *self._failures}
        free = [rung for rung in self.ranked(until, now) if rung not in busy_or_failed]
        return next((rung for rung in free if rung not in self._starts), next(iter(free), None))

    def can_replace(self, until: Deadline, running: Collection[str], now: float) -> bool:
        """Return whether a rung could be asked at once in place of those that are running."""
        if self.find_fresh(until, running, now) is not None:
            return True
        again = None if self._policy.pace.races_itself else self._repeatable_at_once(until, now)
        return again is not None

    def _repeatable_at_once(self, until: Deadline, now: float) -> str | None:
        """Return the first rung that may be asked again without a wait; `None` if there is none."""
        found = (rung for rung, wait_s in self._repeatable_rungs(until, now) if wait_s == 0)
        return next(found, None)

    def ranked(self, until: Deadline, now: float) -> tuple[str, ...]:
        """Return the rungs that may be asked, best first; remember their availability."""
        allowed = self._allowed_rungs(now)
        self._last_ranked = {rung.provider: rung for rung in allowed}

        def avoids(provider: str) -> bool:
            rung = self._policy.availability.of(self._policy.stage, provider)
            return rung.is_avoided(self._call, now)

        return rank(allowed, until, now=now, stay_with=self._stay_with, avoids=avoids)

    def _allowed_rungs(self, now: float) -> list[Availability]:
        """Return the rungs that this call may ask, in the order of the ladder.

        These are the usable ones. If there are none, they are those that already get this call's
        audio, else those whose latest probe succeeded, else all others that are open.
        """
        found = self._policy.availability.ladder(self._policy.stage, now)
        offered = [rung for rung in found if self.offered(rung.provider)]
        if usable := [rung for rung in offered if rung.usable]:
            return usable
        if hearing := [rung for rung in found if self._may_continue(rung)]:
            return hearing
        probed = [rung for rung in offered if rung.state is RungState.PROBED]
        return probed or [rung for rung in offered if rung.state is RungState.OPEN]

    def _may_continue(self, rung: Availability) -> bool:
        """Return whether an unusable rung may go on with the audio that it already gets."""
        return self.hears(rung.provider) and rung.reason is not Reason.ROTATION

    def _find_repeat(self, until: Deadline, now: float) -> NextRung | None:
        """Return the rung to ask once more, at once or after a short wait; `None` if none may be.

        Asking a rung again that reported a failure does not use the allowance; its breaker limits
        how often that happens. A rung that only timed out may still be working, so asking it again
        uses the allowance, unless it is the only one. A rung whose rate limit ends soon may not
        have been asked for this request: another call may have reached the limit.
        """
        several = len(self.ranked(until, now)) > 1
        for provider, wait_s in self._repeatable_rungs(until, now):
            failure = self._failures.get(provider)
            timed_out = failure is None or failure.kind is Kind.TIMEOUT
            timed_out = timed_out and provider in self._starts
            extra = several and timed_out
            if extra and not self._policy.allowance.take():
                continue
            return NextRung(provider=provider, wait_s=wait_s, extra=extra)
        return None

    def _repeatable_rungs(self, until: Deadline, now: float) -> Iterator[tuple[str, float]]:
        """Yield each rung that may be asked again, with the seconds until then.

        Resting rungs come last, in the order in which their rests end. Their wait is the rest, not
        the pause that the provider asked for, which may be shorter. A rung that is a last resort is
        asked only once, so it is not among them.
        """
        last_resort = (RungState.PROBED, RungState.OPEN)
        ranked = self.ranked(until, now)
        if self.failed_alike or not self.repeats:
            return
        states = {rung: self._last_ranked[rung].state for rung in ranked}
        ready = {rung: 0.0 for rung in ranked if states[rung] not in last_resort}
        for provider, left_s in (ready | self._resting_rungs(until, now)).items():
            failure, tries = self._failures.get(provider), self._starts[provider] - 1
            wait_s = may_ask_again(failure, until, now=now, tries=tries)
            if wait_s is not None:
                yield provider, left_s or wait_s

    def _resting_rungs(self, until: Deadline, now: float) -> dict[str, float]:
        """Return the rungs whose rate limit ends soon, with the seconds left, the soonest first."""
        most_s = min(RETRY_WAIT_S, until.left_s(now)) + ROUNDING_S
        rests = [
            (rung.until - now, rung.provider)
            for rung in self._policy.availability.ladder(self._policy.stage, now)
            if rung.state is RungState.RESTING and rung.until is not None
            if self.offered(rung.provider) and rung.provider not in self._last_ranked
        ]
        soon = sorted((rest for rest in rests if rest[0] <= most_s), key=lambda rest: rest[0])
        return {provider: rest_s for rest_s, provider in soon}
