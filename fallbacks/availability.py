"""The availability of each rung and the reasons for it, shared by all calls of a process.

- A first failure, or a late answer, makes a rung suspect: every call asks other rungs first until
  the rung succeeds.
- Repeated or conclusive failures open its breaker (`fallbacks/breaker.py`): then only probes and
  callers without another rung ask it. A permanent failure opens it at once.
- One call's content may cause a failure of any kind. So failures count only up to the one that
  would open the breaker, until they are proved: by a second call, or by a probe that fails, too.
  Until then, only the call itself avoids the rung.
- A rate limit is not a failure: the rung rests, and its rests are counted separately. While only
  one call has met the limit, callers without another rung may ask, unless the rest is short.
- A rung that failed and asked for a pause is asked after all others, until it succeeds.
- A refusal that the content of one call may have caused opens the breaker only if at least two
  calls and a probe were refused, without a success in between.
- A probe that fails soon after a caller was served does not count yet. It counts with the next
  failure after that time, if there was no other success. It does not affect other rungs, either.

A key that is rejected, or has no credit left, takes every rung with that key out at once. Otherwise
each rung would find out in turn, at a caller's expense. The breakers of rungs with other keys of
the same account open as well, but with the rest of an ordinary failure: another key may still work,
and the next probe decides.
"""

import math
import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from fallbacks.breaker import Breaker, BreakerSettings, Permit, State
from fallbacks.events import BreakerMoved, ProviderReset, RungRested, Suspected, SuspicionCleared
from fallbacks.failure import ONE_CALL, VERDICTS, Failure, Kind, Scope, Severity
from fallbacks.retry_after import MAX_PAUSE_S, RETRY_WAIT_S, rest_s

AvailabilityEvent: TypeAlias = (
    BreakerMoved | Suspected | SuspicionCleared | RungRested | ProviderReset
)
"""The events of a rung's availability."""

PROTOCOL_LIMIT: Final = 3  # invalid answers in a row that open the breaker
MIN_REFUSED_CALLS: Final = 2  # below it, the calls' content is blamed and not the rung
AVOIDED_S: Final = 60.0  # for this long, a call avoids a rung that failed only this call (chosen)
MAX_AVOIDING: Final = 256  # calls remembered by a rung; the oldest are forgotten (chosen)
STRIKES: Final = 2  # transient failures in a row after which a call avoids a rung
BUSY: Final = frozenset({Kind.TIMEOUT, Kind.STALLED, Kind.RATE_LIMITED, Kind.OVERLOADED})
"""Kinds of failure that pass with time, so that a request's own content is not suspected."""
PROBE: Final = "probe"  # in place of a call, among those that prove a kind of failure
STATUS: Final = re.compile(r"\b4[0-9]{2}\b")  # as in `calls/sentences.py`
SERVED_S: Final = 30.0  # for this long after a caller was served, a failed probe does not count
WINDOW: Final = 50  # attempts; at a few turns a minute, these are about ten minutes
MIN_MEASUREMENTS: Final = 5  # for a quantile; missing ones are assumed to be `PRIOR_S`
PRIOR_S: Final = 0.6  # slower than a healthy rung, so that an unmeasured one is not preferred


class RungState(StrEnum):
    """Which callers may ask a rung."""

    READY = "ready"  # all callers
    SUSPECT = "suspect"  # all callers, after the rungs that are ready
    # Callers without another rung: the breaker is not closed, but the latest probe succeeded.
    PROBED = "probed"
    OPEN = "open"  # callers without another rung, once: the breaker is not closed
    RESTING = "resting"  # none until `until`, because of a rate limit
    OUT = "out"  # none


class Reason(StrEnum):
    """Why a rung is not simply ready."""

    FAILED = "failed"  # it failed, or was late, since its last success
    PAUSE = "pause"  # it failed and asked for a pause
    BREAKER = "breaker"  # its breaker is not closed
    RATE_LIMIT = "rate_limit"
    TRIAL = "trial"  # another caller is trying it
    PERSON = "person"  # only a person can fix it
    ROTATION = "rotation"  # an operator took it out of rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a rung may be asked, at one moment."""

    provider: str
    state: RungState = RungState.READY
    reason: Reason | None = None
    until: float | None = None  # the end of a pause or rest; monotonic, in seconds
    p50_s: float  # time to the first useful output
    p95_s: float

    @property
    def usable(self) -> bool:
        """Whether every caller may ask it."""
        return self.state in (RungState.READY, RungState.SUSPECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A rung's stage and name, and what it shares with other rungs."""

    stage: str
    provider: str
    credential: str  # equal for rungs that share a key; never the key itself; empty without a key
    account: str = ""  # equal for rungs whose keys belong to one account or project


class RungLatency:
    """The recent times to first useful output of one rung, in seconds."""

    def __init__(self, *, prior_s: float = PRIOR_S, window: int = WINDOW) -> None:
        self._prior_s = prior_s
        self._measured: deque[float] = deque(maxlen=window)

    @property
    def is_measured(self) -> bool:
        """Whether the quantiles are based on measurements alone."""
        return len(self._measured) >= MIN_MEASUREMENTS

    def add(self, ttfb_s: float) -> None:
        """Add the time of an attempt that produced output.

        Only the newest `window` are kept. A negative time counts as 0.
        """
        self._measured.append(max(0.0, ttfb_s))

    def quantile(self, share: float) -> float:
        """Return the seconds that `share` (0 to 1) of the attempts did not exceed (nearest rank).

        Until there are `MIN_MEASUREMENTS`, the prior stands for each missing one.
        """
        missing = max(0, MIN_MEASUREMENTS - len(self._measured))
        ordered = sorted([*self._measured, *[self._prior_s] * missing])
        return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class RungAvailability:
    """The availability of one rung, shared by all calls of the process.

    Attributes:
        stage: The rung's stage.
        provider: The rung's name.
        breaker: Its circuit breaker.
        latency: Its recent times to the first useful output.
        suspect_since: When it became suspect; `None` if it is not.
        cause: The kind of the latest failure since it was healthy, and its HTTP status, if any.
        rests_until: The end of the rest after a rate limit; minus infinity if it was reset.
        doubted_until: The end of a rest that only one call's request caused; callers without
            another rung may ask. Only this process knows of it.
        retired: Whether its breaker was opened by a failure that only a person can fix.
        out: Whether an operator took it out of rotation; probes continue.
        out_at: When an operator last changed `out`, perhaps before this process was started.
        served_until: Until then, failed probes do not count, because a caller was served.
        proven_at: When a failure was last proved not to be due to one call's content.
        healthy_at: When the latest request or probe that succeeded began, or when another process
            last found the rung healthy.
    """

    def __init__(
        self,
        stage: str,
        provider: str,
        *,
        now: float,
        settings: BreakerSettings | None = None,
        prior_s: float = PRIOR_S,
    ) -> None:
        """Begin healthy, with a closed breaker; `prior_s` is the latency assumed at first."""
        self.stage = stage
        self.provider = provider
        self.breaker = Breaker(stage, provider, now=now, settings=settings)
        self.latency = RungLatency(prior_s=prior_s)
        self.suspect_since: float | None = None
        self.cause = ""
        self._judged_at = -math.inf  # when it was last suspected or cleared
        self.rests_until = self._paused_until = now
        self.doubted_until = -math.inf
        self.retired = False
        self.out, self.out_at = False, -math.inf
        self.served_until = self.proven_at = self.healthy_at = -math.inf
        self._rate_limits = 0  # in a row
        self._pause_named_at = -math.inf  # when a rate limit last named its length
        self._invalid_answers = 0  # in a row
        self._uncounted_probes = 0  # failed probes since the last success that do not count yet
        self._suspect_kind: Kind | None = None  # of the failure that made it suspect
        # By kind, the first calls that failed since the last success, and `PROBE` if a probe did.
        self._proofs: dict[Kind, set[Hashable]] = {}
        # By call: its failures in a row at this rung, and the moment of the latest one.
        self._strikes: dict[Hashable, tuple[int, float]] = {}

    def at(self, now: float) -> Availability:
        """Return the availability at this moment.

        If several reasons apply, an operator's decision takes precedence, then a rest, then the
        breaker. A pause that the provider asked for replaces the reason, but not the state.
        """
        # Without probes, one caller must try it, in its usual rank: ranked after a healthy standby,
        # it would never be asked again.
        needs_trial = self.breaker.state is State.HALF_OPEN and not self.breaker.settings.probing
        on_trial = self.breaker.on_trial(now, by_probe=False)
        admits = self.breaker.state is State.CLOSED or (needs_trial and not on_trial)
        suspect = self._is_suspect(now) and not needs_trial
        state, reason, until = RungState.OPEN, Reason.BREAKER, self.breaker.wake_at
        if self.out:
            state, reason, until = RungState.OUT, Reason.ROTATION, None
        elif now < self.rests_until:
            state = RungState.RESTING if admits else RungState.OUT
            reason, until = Reason.RATE_LIMIT, self.rests_until
        elif admits:
            state, reason, until = _state_when_admitted(now, self.doubted_until, suspect=suspect)
        elif on_trial:
            state, reason = RungState.OUT, Reason.TRIAL
        elif self.breaker.probe_succeeded:
            state = RungState.PROBED
        elif self.retired:
            state, reason = RungState.OUT, Reason.PERSON
        if now < self._paused_until and not self.out and state is not RungState.RESTING:
            reason, until = Reason.PAUSE, self._paused_until
        return Availability(
            provider=self.provider,
            state=state,
            reason=reason,
            until=until,
            p50_s=self.latency.quantile(0.5),
            p95_s=self.latency.quantile(0.95),
        )

    @property
    def refuses(self) -> bool:
        """Whether it refused a request, here or in another process, and has not succeeded since.

        The agent's tools may be the cause, so a probe has to offer them.
        """
        doubted = self.suspect_since is not None
        refused = doubted and self._suspect_kind is Kind.BAD_REQUEST
        return refused or bool(self._proofs.get(Kind.BAD_REQUEST))

    def permit(
        self, now: float, *, probe: bool = False, last_resort: bool = False, hears: bool = False
    ) -> Permit | None:
        """Return a permit to ask the rung; `None` if it may not be asked now.

        The arguments are those of `Breaker.permit`. Only a probe may ask a rung that is out of
        rotation, or a resting one unless the rung already gets the caller's audio.
        """
        doubted = now < self.doubted_until and not last_resort
        rests = (now < self.rests_until or doubted) and not hears
        if (rests or self.out) and not probe:
            return None
        last_resort &= not self.retired or self.breaker.probe_succeeded
        return self.breaker.permit(now, probe=probe, last_resort=last_resort, hears=hears)

    def succeeded(
        self,
        permit: Permit,
        now: float,
        *,
        ttfb_s: float | None = None,
        call: Hashable = None,
    ) -> tuple[AvailabilityEvent, ...]:
        """Record a success of an attempt, or of a probe that counts.

        The failures before it are forgotten. If the breaker is closed then, the suspicion ends.

        Args:
            permit: The permit of the attempt or probe.
            now: Monotonic, in seconds.
            ttfb_s: Seconds to its first useful output; `None` if not measured, or recorded before.
            call: The call that was served; `None` if none was.
        """
        self._strikes.pop(call, None)
        if ttfb_s is not None:
            self.latency.add(ttfb_s)
        self._forget_failures(permit.asked_at)
        if not permit.probe:
            self.served_until = now + SERVED_S
        self._paused_until = now
        moved = self.breaker.succeeded(permit, now)
        if self.breaker.state is State.CLOSED:
            self.retired = False
            if moved:  # a proven outage is over, for every call
                self._strikes.clear()
            self.healthy_at = max(self.healthy_at, permit.asked_at)
            return (*moved, *self.clear(now))
        return moved

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        call: Hashable = None,
        chance: float = 0.5,
    ) -> tuple[AvailabilityEvent, ...]:
        """Count a failure of an attempt or a probe, by the rules at the top of this module.

        `call` identifies the call that made the request; `None` if none did. `chance`, 0 to 1,
        spreads a rest whose length the provider did not specify.
        """
        self._count_strikes(failure, call, now)
        just_served = self.outweighs(permit, now)
        if just_served or failure.scope is Scope.PAYLOAD:
            self.breaker.take_back(permit)  # the rung still serves callers
            self._uncounted_probes += just_served and failure.verdict.counts
            return ()
        proven = self._record_proof(permit, failure, call, now)
        if failure.scope is Scope.CAPACITY:
            return self._rest_after_limit(permit, failure, now=now, chance=chance, proven=proven)
        suspected = self.suspect(failure.kind, now)
        self.cause = " ".join((failure.kind, *STATUS.findall(failure.reason)[:1]))
        by_content = _content_may_be_cause(failure, probe=permit.probe)
        pause_s = 0.0 if failure.permanent else failure.retry_after_s or 0.0
        # A proven failure opens the breaker without waiting for more if it is grave or rests long.
        trip = proven and (self._opens_at_once(permit, failure) or pause_s > MAX_PAUSE_S)
        if not trip and (by_content or not failure.verdict.counts):
            self.breaker.take_back(permit)  # the breaker does not count it
            return suspected
        retires = trip and failure.permanent and not by_content  # only a person can fix it
        return (
            *suspected,
            *self._count_failure(permit, now, trip=trip, retires=retires, pause_s=pause_s),
        )

    def _count_failure(
        self, permit: Permit, now: float, *, trip: bool, retires: bool, pause_s: float
    ) -> tuple[AvailabilityEvent, ...]:
        """Let the breaker count a failure, or open it at once; return the events.

        Args:
            permit: The permit of the attempt or probe.
            now: Monotonic, in seconds.
            trip: Whether to open at once.
            retires: Whether only a person can end the outage, so the rung is probed less often.
            pause_s: The wait that the provider asked for; a long one is the breaker's rest.
        """
        outage_s = pause_s if pause_s > MAX_PAUSE_S else None
        long_s = self.breaker.settings.slow_s if retires else outage_s
        if now >= self.served_until and self.breaker.state is State.CLOSED:
            self.breaker.failures += self._uncounted_probes
            self._uncounted_probes = 0
        opens = trip or self._several_failed()
        moved = self.breaker.failed(permit, now, trip=trip, rest_s=long_s, opens=opens)
        if moved or (retires and permit.probe):  # a failed probe does not move an open breaker
            self.retired = retires
        self._paused_until = max(self._paused_until, now + pause_s)
        return self._with_severity(moved)

    def outweighs(self, permit: Permit, now: float) -> bool:
        """Return whether a failure does not count: a probe failed, but a caller was just served."""
        return permit.probe and now < self.served_until

    @property
    def refused_for_good(self) -> bool:
        """Whether it is suspect after a failure of a kind that does not pass by itself."""
        kind = self._suspect_kind if self.suspect_since is not None else None
        return kind is not None and VERDICTS[kind].permanent

    def suspect(self, kind: Kind, now: float) -> tuple[AvailabilityEvent, ...]:
        """Make the rung suspect; return the event, or nothing if it already is.

        A `cause` that is known already stays.
        """
        if self.suspect_since is not None:
            return ()
        self.suspect_since = self._judged_at = now
        self.cause = self.cause or kind.value
        self._suspect_kind = kind
        return (Suspected(stage=self.stage, provider=self.provider, kind=kind),)

    def clear(self, now: float) -> tuple[AvailabilityEvent, ...]:
        """Clear the suspicion and `cause`; return the event, or nothing without a suspicion."""
        self.cause = ""
        if self.suspect_since is None:
            return ()
        after_s, self.suspect_since = max(0.0, now - self.suspect_since), None
        self._judged_at = now
        return (SuspicionCleared(stage=self.stage, provider=self.provider, after_s=after_s),)

    def retire(self, kind: Kind, now: float) -> tuple[AvailabilityEvent, ...]:
        """Suspect the rung, and open its breaker with a long rest.

        For a rung whose key has failed permanently at another rung.
        """
        moved = self.breaker.trip(now, rest_s=self.breaker.settings.slow_s)
        self.retired = True
        return (*self.suspect(kind, now), *self._with_severity(moved))

    def trip(self, kind: Kind, now: float) -> tuple[AvailabilityEvent, ...]:
        """Suspect the rung, and open its breaker with an ordinary rest, unless it is retired.

        For a rung whose account was refused at another rung.
        """
        return () if self.retired else (*self.suspect(kind, now), *self.breaker.trip(now))

    def reset(self, now: float) -> tuple[AvailabilityEvent, ...]:
        """Allow a trial at once: for an operator, or because the key or account works again.

        Ends its rest and pause, and forgets counted failures. If it is suspect or retired, it stays
        so until it succeeds.
        """
        self.rests_until, self._paused_until = -math.inf, now
        self._forget_failures()
        reset = ProviderReset(stage=self.stage, provider=self.provider)
        return (reset, *self.breaker.reset(now))

    def set_out(self, now: float, *, out: bool) -> None:
        """Take the rung out of rotation, or put it back, for an operator; no event reports it."""
        self.out, self.out_at = out, now

    def follow_suspicion(self, kind: Kind | None, *, since: float, now: float) -> None:
        """Adopt another process's suspicion, unless ours has changed later.

        The other process has published the change, so no event is returned.

        Args:
            kind: The kind of failure; `None` if the suspicion was cleared.
            since: When the other process changed it, on our clock.
            now: Monotonic, in seconds.
        """
        if since <= self._judged_at:
            return
        if kind is not None:
            self.suspect(kind, min(now, since))
        elif self.breaker.state is State.CLOSED:  # else this process has its own reason
            self.healthy_at = max(self.healthy_at, min(now, since))
            self.clear(min(now, since))

    def follow_breaker(
        self, state: State, *, since: float, now: float, rest_s: float, retired: bool
    ) -> tuple[AvailabilityEvent, ...]:
        """Adopt the breaker of another process (`Breaker.follow`), and its retirement if it opened.

        A retirement that only we know of lasts until the breaker closes, or opens again.
        """
        changed_at = self.breaker.changed_at
        moved = self.breaker.follow(state, since=since, now=now, rest_s=rest_s)
        if moved and self.breaker.state is State.OPEN:
            self.retired, self.proven_at = retired, now
        elif self.breaker.changed_at > changed_at:  # ours was open, too, or the rung recovers
            self.retired = self.breaker.state is not State.CLOSED and (self.retired or retired)
        return self._with_severity(moved)

    def _is_suspect(self, now: float) -> bool:
        """Return whether the suspicion is still active; without probes it expires with time."""
        if self.suspect_since is None:
            return False
        settings = self.breaker.settings
        return settings.probing or now < self.suspect_since + settings.open_s

    def is_proven(self, failure: Failure, *, probe: bool = False) -> bool:
        """Return whether failures of this kind come from two calls or a probe since a success.

        A refusal for which a call's content is the likely cause must come from both. `probe` is
        whether a probe failed, whose 403 is caused by the key.
        """
        by_content = _content_may_be_cause(failure, probe=probe)
        proofs = self._proofs.get(Kind.BAD_REQUEST if by_content else failure.kind, set())
        return len(proofs) > MIN_REFUSED_CALLS if by_content else _is_proof(proofs)

    def as_known(self, failure: Failure) -> Failure:
        """Return a failure as it is reported: a refusal that is not proved is that of one call."""
        if not failure.verdict.trips or self.retired or self.is_proven(failure):
            return failure
        return replace(failure, reason=f"{ONE_CALL}: {failure.reason}")

    def is_avoided(self, call: Hashable, now: float) -> bool:
        """Return whether a call asks other rungs first, because this one failed only this call."""
        strikes, at = self._strikes.get(call, (0, now))
        return strikes >= STRIKES and now < at + AVOIDED_S

    def _count_strikes(self, failure: Failure, call: Hashable, now: float) -> None:
        """Count a failure for the call alone; after a refusal, no second one is awaited."""
        if call is None or failure.kind in BUSY or failure.scope is Scope.PAYLOAD:
            return
        strikes, _ = self._strikes.pop(call, (0, now))
        self._strikes[call] = (STRIKES if failure.permanent else strikes + 1, now)
        if len(self._strikes) > MAX_AVOIDING:
            del self._strikes[next(iter(self._strikes))]

    def _record_proof(self, permit: Permit, failure: Failure, call: Hashable, now: float) -> bool:
        """Record who reports a failure; return whether it is proven now.

        A request without a call has no caller's content, so it proves as much as a probe.
        """
        self._invalid_answers += failure.kind is Kind.PROTOCOL
        by_content = _content_may_be_cause(failure, probe=permit.probe)
        proofs = self._proofs.setdefault(Kind.BAD_REQUEST if by_content else failure.kind, set())
        if permit.probe or call is None:
            proofs.add(PROBE)
        elif len(proofs - {PROBE}) < MIN_REFUSED_CALLS:
            proofs.add(call)
        proven = self.is_proven(failure, probe=permit.probe)
        self.proven_at = now if proven else self.proven_at
        return proven

    def _several_failed(self) -> bool:
        """Return whether the failures that count, of whatever kind, are proved."""
        counted = (found for kind, found in self._proofs.items() if VERDICTS[kind].counts)
        return _is_proof(set[Hashable]().union(*counted))

    def _opens_at_once(self, permit: Permit, failure: Failure) -> bool:
        """Return whether a failure opens the breaker without others, once it is proved."""
        if _content_may_be_cause(failure, probe=permit.probe):
            return True
        if failure.kind is Kind.PROTOCOL:
            return failure.permanent or self._invalid_answers >= PROTOCOL_LIMIT
        return failure.permanent or failure.verdict.trips

    def _rest_after_limit(
        self, permit: Permit, failure: Failure, *, now: float, chance: float, proven: bool
    ) -> tuple[AvailabilityEvent, ...]:
        """Do not ask the rung for a while after a rate limit; return the events.

        A proved limit above `MAX_PAUSE_S` opens the breaker instead. `chance`, 0 to 1, spreads the
        length if the provider named none.
        """
        length_s = rest_s(failure.retry_after_s, self._rate_limits, chance=chance)
        self._rate_limits += 1
        if failure.retry_after_s is not None:
            self._pause_named_at = now
        if length_s > MAX_PAUSE_S:
            if proven:
                return self.breaker.failed(permit, now, trip=True, rest_s=length_s)
            length_s = MAX_PAUSE_S
        self.breaker.take_back(permit)
        if proven or length_s <= RETRY_WAIT_S:
            self.rests_until = max(self.rests_until, now + length_s)
        else:
            self.doubted_until = now + length_s
        return (RungRested(stage=self.stage, provider=self.provider, rest_s=length_s),)

    def _forget_failures(self, asked_at: float = math.inf) -> None:
        """Forget counted failures after a success of a request that was sent at `asked_at`.

        A request from before a rate limit that named a pause does not end the pause.
        """
        self._invalid_answers = self._uncounted_probes = 0
        limited = self._proofs.get(Kind.RATE_LIMITED, set())
        self._proofs.clear()
        if asked_at < self._pause_named_at:
            self._proofs[Kind.RATE_LIMITED] = limited
        else:
            self._rate_limits, self.doubted_until = 0, -math.inf

    def _with_severity(self, moved: tuple[BreakerMoved, ...]) -> tuple[BreakerMoved, ...]:
        """Return the events, with a high severity if only a person can fix the rung."""
        if not self.retired:
            return moved
        return tuple(
            replace(move, severity=Severity.HIGH) if move.after == State.OPEN else move
            for move in moved
        )


def _state_when_admitted(
    now: float, doubted_until: float, *, suspect: bool
) -> tuple[RungState, Reason | None, float | None]:
    """Return a rung's state, with reason and end, while its breaker admits all callers."""
    if now < doubted_until:
        return RungState.OPEN, Reason.RATE_LIMIT, doubted_until
    return (RungState.SUSPECT, Reason.FAILED, None) if suspect else (RungState.READY, None, None)


def _is_proof(proofs: Set[Hashable]) -> bool:
    return PROBE in proofs or len(proofs) >= MIN_REFUSED_CALLS


def _content_may_be_cause(failure: Failure, *, probe: bool) -> bool:
    """Return whether a call's content may be the cause; a probe's 403 is caused by the key."""
    return failure.scope is Scope.REQUEST and not (failure.kind is Kind.AUTH and probe)


class AvailabilityTable:
    """The availability of all rungs of all stages, shared by all calls of a process."""

    def __init__(
        self,
        places: Iterable[Place],
        *,
        now: float,
        settings: BreakerSettings | None = None,
        priors_s: Mapping[str, float] | None = None,
        known: Mapping[tuple[str, str], RungAvailability] | None = None,
    ) -> None:
        """Create a table.

        Args:
            places: The rungs, the preferred one of each stage first.
            now: Monotonic, in seconds.
            settings: Of the breakers, if not the defaults.
            priors_s: By stage, the assumed time to a rung's first useful output.
            known: Rungs that other tables have, too, by stage and name.
        """
        priors, known = priors_s or {}, known or {}
        self._places = {(place.stage, place.provider): place for place in places}
        self._rungs = {
            key: known.get(key)
            or RungAvailability(
                *key, now=now, settings=settings, prior_s=priors.get(key[0], PRIOR_S)
            )
            for key in self._places
        }

    def of(self, stage: str, provider: str) -> RungAvailability:
        """Return one rung.

        Raises:
            KeyError: There is no such rung.
        """
        return self._rungs[stage, provider]

    def ladder(self, stage: str, now: float) -> Sequence[Availability]:
        """Return the stage's rungs as they are now, preferred rung first."""
        return [rung.at(now) for rung in self if rung.stage == stage]

    def usable(self, stage: str, now: float) -> Sequence[Availability]:
        """Return the rungs of a stage that every caller may ask, preferred rung first."""
        return [rung for rung in self.ladder(stage, now) if rung.usable]

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        call: Hashable = None,
        chance: float = 0.5,
    ) -> tuple[AvailabilityEvent, ...]:
        """Count a failure of one rung, and open the breakers of others with its key or account.

        A failed probe opens none of them if this rung has just served a caller, and leaves out each
        that has.
        """
        rung = self.of(failure.stage, failure.provider)
        was_retired = rung.retired  # if so, the account's other breakers were already opened
        events = list(rung.failed(permit, failure, now=now, call=call, chance=chance))
        proven = rung.is_proven(failure, probe=permit.probe)
        if failure.scope is not Scope.CREDENTIAL or not proven or rung.outweighs(permit, now):
            return tuple(events)
        same_account = [] if was_retired else self._rungs_sharing(rung, _same_account)
        for other in self._rungs_sharing(rung, _same_key):
            if not other.outweighs(permit, now):
                events += other.retire(failure.kind, now)
        for other in same_account:
            if not other.outweighs(permit, now):
                events += other.trip(failure.kind, now)
        return tuple(events)

    def succeeded(
        self,
        place: tuple[str, str],
        permit: Permit,
        *,
        now: float,
        ttfb_s: float | None = None,
        call: Hashable = None,
    ) -> tuple[AvailabilityEvent, ...]:
        """Record a success of the rung at `place`, its stage and its name; return the events.

        If that ends its retirement (an outage that only a person ends), retired rungs with its key
        or account are reset. The other arguments are those of `RungAvailability.succeeded`.
        """
        rung = self._rungs[place]
        was_retired = rung.retired
        events = list(rung.succeeded(permit, now, ttfb_s=ttfb_s, call=call))
        if was_retired and not rung.retired:
            sharing = [
                *self._rungs_sharing(rung, _same_key),
                *self._rungs_sharing(rung, _same_account),
            ]
            for other in [other for other in sharing if other.retired]:
                events += other.reset(now)
        return tuple(events)

    def reset(self, provider: str, now: float) -> tuple[AvailabilityEvent, ...]:
        """Allow a trial at once for every rung of this name, in any stage.

        Raises:
            KeyError: No rung has this name.
        """
        named = [rung for rung in self if rung.provider == provider]
        if not named:
            raise KeyError(provider)
        return tuple(event for rung in named for event in rung.reset(now))

    def set_out(self, provider: str, now: float, *, out: bool) -> None:
        """Take the rungs of this name, if any, out of rotation or back, from the next request."""
        for rung in self:
            if rung.provider == provider:
                rung.set_out(now, out=out)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return min((at for rung in self if (at := rung.breaker.wake_at) is not None), default=None)

    def tick(self, now: float) -> tuple[AvailabilityEvent, ...]:
        """Make each open breaker half-open whose rest is over."""
        return tuple(event for rung in self for event in rung.breaker.tick(now))

    def __iter__(self) -> Iterator[RungAvailability]:
        """Iterate over all rungs, in the order in which they were given."""
        return iter(self._rungs.values())

    def _rungs_sharing(
        self, rung: RungAvailability, shares: Callable[[Place, Place], bool]
    ) -> list[RungAvailability]:
        """Return the other rungs that share something with a rung; `shares` compares two places."""
        own = self._places[rung.stage, rung.provider]
        return [
            self._rungs[key]
            for key, place in self._places.items()
            if place is not own and shares(own, place)
        ]


def _same_key(own: Place, other: Place) -> bool:
    return bool(own.credential) and own.credential == other.credential


def _same_account(own: Place, other: Place) -> bool:
    """Return whether two rungs belong to one account, but have different keys or none."""
    same_account = bool(own.account) and own.account == other.account
    return same_account and not _same_key(own, other)
