"""The health of one rung, shared by all calls: breaker, suspicion, rests, recent latency.

A rate limit is not a failure: the rung rests, with its own counter. A rung that failed and asked
for a pause is spared: asked after all others, until it succeeds. A refusal that may be due to the
content of one call does not count against the rung: it opens the breaker only when at least two
calls and a probe have met it, without a success in between. A permanent failure opens the breaker
at once. A probe that fails soon after a caller was served counts only when that time has passed
without another success.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from fallbacks.breaker import Breaker, BreakerSettings, Permit, State
from fallbacks.facts import BreakerMoved, ProviderReset, RungRested, Suspected, SuspicionCleared
from fallbacks.failure import Failure, Kind, Scope, Severity
from fallbacks.latency import PRIOR_S, RungLatency
from fallbacks.retry_after import MOST_S, rest_s

SuspicionFact: TypeAlias = Suspected | SuspicionCleared
HealthFact: TypeAlias = BreakerMoved | SuspicionFact | RungRested | ProviderReset
"""The events of a rung's health."""

PROTOCOL_LIMIT: Final = 3  # invalid answers in a row that open the breaker
WITNESSES: Final = 2  # calls whose requests were refused, before the rung is blamed
SERVED_S: Final = 30.0  # after a caller was served, a failed probe does not count yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A rung's availability at one moment, for a ladder."""

    provider: str
    usable: bool  # a live attempt may be made
    suspect: bool
    spared: bool = False  # it failed, and asked for a pause
    promising: bool = False  # not usable, but a probe succeeded, and no trial is in progress
    last_resort: bool = False  # not usable, but a caller without another rung may try it
    p50_s: float  # to first useful output
    p95_s: float
    rests_until: float | None = None  # unusable only because of a rate limit, until then


class Suspicion:
    """Whether a rung is suspect: it failed or was late in a live call, so others ask it last.

    The first failure of a live attempt raises the suspicion at once, in every call, long before the
    breaker has counted to three. A success clears it.

    Attributes:
        since: When it was raised; `None` if the rung is not suspect.
    """

    def __init__(self, stage: str, provider: str) -> None:
        self.since: float | None = None
        self._stage = stage
        self._provider = provider
        self._judged_at = -math.inf  # when it was last raised or cleared

    def stands(self, now: float, settings: BreakerSettings) -> bool:
        """Return whether it is still active; without probes it also expires with time."""
        if self.since is None:
            return False
        return settings.probing or now < self.since + settings.open_s

    def begin(self, kind: Kind, now: float) -> tuple[SuspicionFact, ...]:
        """Mark the rung suspect; other calls ask it last."""
        if self.since is not None:
            return ()
        self.since = self._judged_at = now
        return (Suspected(stage=self._stage, provider=self._provider, kind=kind),)

    def clear(self, now: float) -> tuple[SuspicionFact, ...]:
        """Clear the suspicion."""
        if self.since is None:
            return ()
        after_s, self.since = max(0.0, now - self.since), None
        self._judged_at = now
        return (SuspicionCleared(stage=self._stage, provider=self._provider, after_s=after_s),)

    def follow(
        self, kind: Kind | None, *, since: float, now: float, may_clear: bool
    ) -> tuple[SuspicionFact, ...]:
        """Adopt the suspicion of another process, unless ours has changed since.

        Args:
            kind: The kind of failure suspected there; `None` if it was cleared.
            since: The time of that, on our clock.
            now: Monotonic, in seconds.
            may_clear: Whether nothing else speaks against the rung here.
        """
        if since <= self._judged_at:
            return ()
        at = min(now, since)
        if kind is not None:
            return self.begin(kind, at)
        return self.clear(at) if may_clear else ()


class Rotation:
    """Whether an operator took a rung out of rotation; probes continue.

    Attributes:
        out: Whether the rung is out of rotation.
        at: When an operator last decided that; monotonic, in seconds. A decision from before this
            process began counts, too.
    """

    def __init__(self) -> None:
        self.out = False
        self.at = -math.inf

    def take_out(self, now: float) -> None:
        """Take the rung out of rotation: no caller gets it."""
        self.at, self.out = now, True

    def put_back(self, now: float) -> None:
        """Put the rung back into rotation."""
        self.at, self.out = now, False

    def follow(self, *, out: bool, since: float) -> None:
        """Adopt an operator's decision from another process, unless ours is newer."""
        if since > self.at:
            self.at, self.out = since, out


class Refusals:
    """The calls whose requests were refused since the last success, perhaps for their content."""

    def __init__(self) -> None:
        self._calls: set[Hashable] = set()
        self._probe = False

    def add(self, call: Hashable, *, probe: bool) -> bool:
        """Add one; return whether the rung is to blame: several calls and a probe met it."""
        self._probe |= probe
        if call is not None and len(self._calls) < WITNESSES:
            self._calls.add(call)
        return self._probe and len(self._calls) >= WITNESSES

    def clear(self) -> None:
        """Forget them after a success."""
        self._calls.clear()
        self._probe = False


class Health:
    """The health of one rung, shared by all calls of the process."""

    def __init__(
        self,
        stage: str,
        provider: str,
        *,
        now: float,
        settings: BreakerSettings | None = None,
        prior_s: float = PRIOR_S,
    ) -> None:
        self.stage = stage
        self.provider = provider
        self.breaker = Breaker(stage, provider, now=now, settings=settings)
        self.latency = RungLatency(prior_s=prior_s)
        self.suspicion = Suspicion(stage, provider)
        self.rests_until = self.spared_until = now
        self.retired = False  # opened by a failure that only a person can fix
        self.rotation = Rotation()
        self._limits = 0  # rate limits in a row
        self._garbage = 0  # protocol failures in a row
        self.served_until = -math.inf  # until then a caller's success outweighs a failed probe
        self._outweighed = 0  # failed probes since the last success that do not count yet
        self._refusals = Refusals()

    @property
    def suspect_since(self) -> float | None:
        """When the rung became suspect, or `None`."""
        return self.suspicion.since

    def standing(self, now: float) -> Standing:
        """Return the rung's availability now."""
        # Without probes one caller must try it, in its usual place: ranked after a healthy standby
        # it would never be asked again.
        trial = self.breaker.state is State.HALF_OPEN and not self.breaker.settings.probing
        free = not self.breaker.on_trial(now, by_probe=False)
        admits = self.breaker.state is State.CLOSED or (trial and free)
        hopeless = self.retired and not self.breaker.promising
        rests, out = now < self.rests_until, self.rotation.out
        offered = not rests and not out
        return Standing(
            provider=self.provider,
            usable=admits and offered,
            suspect=not trial and self.suspicion.stands(now, self.breaker.settings),
            spared=now < self.spared_until,
            promising=not admits and self.breaker.promising and free and offered,
            last_resort=not admits and not hopeless and free and offered,
            p50_s=self.latency.p50_s,
            p95_s=self.latency.p95_s,
            rests_until=self.rests_until if admits and rests and not out else None,
        )

    def permit(
        self, now: float, *, probe: bool = False, last_resort: bool = False, hears: bool = False
    ) -> Permit | None:
        """Return a permit to ask the rung, or `None`; see `Breaker.permit`."""
        rests = now < self.rests_until and not hears
        if (rests or self.rotation.out) and not probe:
            return None
        last_resort &= not self.retired or self.breaker.promising
        return self.breaker.permit(now, probe=probe, last_resort=last_resort, hears=hears)

    def succeeded(
        self, permit: Permit, now: float, *, ttfb_s: float | None = None
    ) -> tuple[HealthFact, ...]:
        """Record a success of an attempt, or of a probe of the real kind.

        Args:
            permit: Of the attempt or probe.
            now: Monotonic, in seconds.
            ttfb_s: Seconds to its first useful output; `None` for a probe that does not measure it.
        """
        if ttfb_s is not None:
            self.latency.took(ttfb_s)
        self._limits = self._garbage = self._outweighed = 0
        self._refusals.clear()
        self.served_until = self.served_until if permit.probe else now + SERVED_S
        self.spared_until = now
        moved = self.breaker.succeeded(permit, now)
        if self.breaker.state is State.CLOSED:
            self.retired = False
            return (*moved, *self.suspicion.clear(now))
        return moved

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        call: Hashable = None,
        chance: float = 0.5,
    ) -> tuple[HealthFact, ...]:
        """Count a failure of an attempt or a probe, made with this permit.

        `call` identifies the call of the request; `None` if it had none. `chance` is 0 to 1, and
        spreads a rest that the provider did not specify.
        """
        outweighed = permit.probe and now < self.served_until
        if outweighed or failure.scope is Scope.PAYLOAD:
            self.breaker.take_back(permit)  # the rung still serves callers
            self._outweighed += outweighed and failure.verdict.counts
            return ()
        if failure.scope is Scope.CAPACITY:
            return self._rest_limited(permit, failure, now=now, chance=chance)
        facts: tuple[HealthFact, ...] = self.suspicion.begin(failure.kind, now)
        asked_s = None if failure.permanent else failure.retry_after_s
        outage = asked_s is not None and asked_s > MOST_S
        carried = _may_be_carried(failure, permit)
        trip = self._says_it_all(permit, failure, call) or outage
        if not trip and (carried or not failure.verdict.counts):
            self.breaker.take_back(permit)
            return facts
        slow = trip and failure.permanent and not carried
        long_s = self.breaker.settings.slow_s if slow else asked_s if outage else None
        if now >= self.served_until and self.breaker.state is State.CLOSED:
            self.breaker.failures += self._outweighed
            self._outweighed = 0
        moved = self.breaker.failed(permit, now, trip=trip, rest_s=long_s)
        if moved or (slow and permit.probe):  # a probe of an open rung moves nothing
            self.retired = slow
        self.spared_until = max(self.spared_until, now + (asked_s or 0.0))
        return (*facts, *_weigh(moved, retired=self.retired))

    def retire(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        """Open at once, after a permanent failure of a rung with the same key."""
        moved = self.breaker.trip(now, rest_s=self.breaker.settings.slow_s)
        self.retired = True
        return (*self.suspicion.begin(kind, now), *_weigh(moved, retired=self.retired))

    def trip(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        """Open for an ordinary rest, because another key of the same account was refused."""
        if self.retired:
            return ()
        return (*self.suspicion.begin(kind, now), *self.breaker.trip(now))

    def reset(self, now: float) -> tuple[HealthFact, ...]:
        """Allow a trial at once, for an operator."""
        self.rests_until = self.spared_until = now
        self._limits = self._garbage = self._outweighed = 0
        self._refusals.clear()
        told = ProviderReset(stage=self.stage, provider=self.provider)
        return (told, *self.breaker.reset(now))

    def follow_breaker(
        self, state: State, *, since: float, now: float, rest_s: float, retired: bool
    ) -> tuple[HealthFact, ...]:
        """Adopt the breaker of another process; see `Breaker.follow`."""
        moved = self.breaker.follow(state, since=since, now=now, rest_s=rest_s)
        if moved:
            self.retired = retired
        return _weigh(moved, retired=self.retired)

    def _says_it_all(self, permit: Permit, failure: Failure, call: Hashable) -> bool:
        if _may_be_carried(failure, permit):
            return self._refusals.add(call, probe=permit.probe)
        if failure.kind is Kind.PROTOCOL:
            self._garbage += 1
            return failure.permanent or self._garbage >= PROTOCOL_LIMIT
        return failure.permanent or failure.verdict.trips

    def _rest_limited(
        self, permit: Permit, failure: Failure, *, now: float, chance: float
    ) -> tuple[HealthFact, ...]:
        asked_s = rest_s(failure.retry_after_s, self._limits, chance=chance)
        self._limits += 1
        if asked_s > MOST_S:  # that long is an outage
            return self.breaker.failed(permit, now, trip=True, rest_s=asked_s)
        self.breaker.take_back(permit)
        self.rests_until = max(self.rests_until, now + asked_s)
        return (RungRested(stage=self.stage, provider=self.provider, rest_s=asked_s),)


def _may_be_carried(failure: Failure, permit: Permit) -> bool:
    """Return whether a call's content may have caused a failure; a probe's 403 is the key's."""
    return failure.scope is Scope.REQUEST and not (failure.kind is Kind.AUTH and permit.probe)


def _weigh(moved: tuple[BreakerMoved, ...], *, retired: bool) -> tuple[BreakerMoved, ...]:
    """Raise the severity of an opening that only a person can fix."""
    if not retired:
        return moved
    return tuple(
        replace(breaker_moved, severity=Severity.HIGH)
        if breaker_moved.after == State.OPEN
        else breaker_moved
        for breaker_moved in moved
    )
