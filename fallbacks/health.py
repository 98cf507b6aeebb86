"""What all calls know together about one rung: breaker, suspicion, rests, recent speed.

The first failure of a live attempt makes the rung suspect at once, in every call, long before the
breaker has counted to three; a success clears it. A rate limit is not a fault: the rung rests, on
a counter of its own. A bad request retires the rung only when a second, different request met it
too, or a probe did. What is permanent opens the breaker at once.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from fallbacks.breaker import Breaker, BreakerSettings, Permit, State
from fallbacks.facts import (
    BreakerMoved,
    ProviderReset,
    RungRested,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import Failure, Kind, Scope, Severity
from fallbacks.latency import PRIOR_S, Latency
from fallbacks.retry_after import MOST_S, rest_s

HealthFact: TypeAlias = BreakerMoved | Suspected | SuspicionCleared | RungRested | ProviderReset
"""What can happen to a rung's health."""

PROTOCOL_LIMIT: Final = 3  # garbage so many times in a row is no accident


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a ladder needs to know of a rung, at one moment."""

    provider: str
    usable: bool  # a live attempt may be made
    suspect: bool
    p50_s: float  # to first useful output
    p95_s: float


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
        self.latency = Latency(prior_s=prior_s)
        self.suspect_since: float | None = None
        self.rests_until = now
        self.retired = False  # opened by what only a person can mend
        self._judged_at = -math.inf  # when suspicion came or went last
        self._limits = 0  # rate limits in a row
        self._garbage = 0  # protocol failures in a row
        self._refused: set[str] = set()  # different requests called bad since the last success

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return self.breaker.wake_at

    def standing(self, now: float) -> Standing:
        """Return what a ladder needs to know now."""
        # Without probes one caller must try it, in its own place: behind a healthy standby it would
        # never be asked again.
        trial = self.breaker.state is State.HALF_OPEN and not self.breaker.settings.probing
        admits = self.breaker.state is State.CLOSED or (trial and not self.breaker.on_trial(now))
        return Standing(
            provider=self.provider,
            usable=admits and now >= self.rests_until,
            suspect=not trial and self._in_doubt(now),
            p50_s=self.latency.p50_s,
            p95_s=self.latency.p95_s,
        )

    def permit(self, now: float, *, probe: bool = False) -> Permit | None:
        """Return leave to ask the rung, or None: it is not to be asked now."""
        if now < self.rests_until and not probe:
            return None
        return self.breaker.permit(now, probe=probe)

    def succeeded(
        self, permit: Permit, now: float, *, ttfb_s: float | None = None
    ) -> tuple[HealthFact, ...]:
        """Take in that an attempt, or a probe of the real kind, did what was asked.

        Args:
            permit: The leave it was made by.
            now: Monotonic, in seconds.
            ttfb_s: Seconds to its first useful output; None of a probe that says nothing of it.
        """
        if ttfb_s is not None:
            self.latency.took(ttfb_s)
        self._limits = self._garbage = 0
        self._refused.clear()
        moved = self.breaker.succeeded(permit, now)
        if self.breaker.state is State.CLOSED:
            self.retired = False
            return (*moved, *self._clear(now))
        return moved

    def connected(self, permit: Permit) -> None:
        """Take in that a cheap probe got in: that is not yet doing what a caller asks."""
        self.breaker.cancelled(permit)

    def cancelled(self, permit: Permit) -> None:
        """Take in that an attempt was called off by us."""
        self.breaker.cancelled(permit)

    def late(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        """Take in that a live attempt lets its caller wait: other calls need not wait, too."""
        return self._suspect(kind, now)

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        request: str = "",
        chance: float = 0.5,
    ) -> tuple[HealthFact, ...]:
        """Take in a failure.

        Args:
            permit: The leave that the attempt was made by.
            failure: What went wrong.
            now: Monotonic, in seconds.
            request: Tells different requests apart, such as a hash; for bad requests only.
            chance: 0 to 1; spreads a rest that the provider did not name.
        """
        match failure.scope:
            case Scope.PAYLOAD:
                self.breaker.cancelled(permit)  # the rung did nothing wrong
                return ()
            case Scope.CAPACITY:
                return self._limited(permit, failure, now=now, chance=chance)
            case _:
                pass
        facts = self._suspect(failure.kind, now)
        trip = self._says_it_all(permit, failure, request)
        if not trip and not failure.verdict.counts:
            self.breaker.cancelled(permit)
            return facts
        slow = trip and failure.permanent
        moved = self.breaker.failed(
            permit, now, trip=trip, rest_s=self.breaker.settings.slow_s if slow else None
        )
        if moved or (slow and permit.probe):  # a probe of an open rung moves nothing
            self.retired = slow
        return (*facts, *self._weighed(moved))

    def retire(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        """Open at once, because a rung that shares the key met what only a person can mend."""
        moved = self.breaker.trip(now, rest_s=self.breaker.settings.slow_s)
        self.retired = True
        return (*self._suspect(kind, now), *self._weighed(moved))

    def trip(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        """Open for an ordinary rest, because another key of the same account was refused."""
        if self.retired:
            return ()
        return (*self._suspect(kind, now), *self.breaker.trip(now))

    def exhausted(self, now: float) -> tuple[HealthFact, ...]:
        """Open at once, because a whole sequence of tries outside a call came to nothing."""
        return self.breaker.trip(now)

    def reset(self, now: float) -> tuple[HealthFact, ...]:
        """Let the rung be tried at once, on an operator's word."""
        self.rests_until = now
        self._limits = self._garbage = 0
        self._refused.clear()
        told = ProviderReset(stage=self.stage, provider=self.provider)
        return (told, *self.breaker.reset(now))

    def follow_breaker(
        self, state: State, *, since: float, now: float, rest_s: float, retired: bool
    ) -> tuple[HealthFact, ...]:
        """Take over the breaker of another process; see `Breaker.follow`."""
        moved = self.breaker.follow(state, since=since, now=now, rest_s=rest_s)
        if moved:
            self.retired = retired
        return self._weighed(moved)

    def follow_suspicion(
        self, kind: Kind | None, *, since: float, now: float
    ) -> tuple[HealthFact, ...]:
        """Take over a suspicion of another process, or that it was cleared there (None)."""
        if since <= self._judged_at:
            return ()
        at = min(now, since)
        if kind is None:
            return self._clear(at) if self.breaker.state is State.CLOSED else ()
        return self._suspect(kind, at)

    def follow_rest(self, rest_s: float, now: float) -> None:
        """Leave the rung alone for as long as another process has to; 0: no longer."""
        until = now + rest_s
        self.rests_until = (
            max(self.rests_until, until) if rest_s > 0 else min(self.rests_until, until)
        )

    def tick(self, now: float) -> tuple[HealthFact, ...]:
        """Move on the passing of time alone."""
        return self.breaker.tick(now)

    def _in_doubt(self, now: float) -> bool:
        """Say whether the suspicion stands; without probes only time and callers can lift it."""
        if self.suspect_since is None:
            return False
        settings = self.breaker.settings
        return settings.probing or now < self.suspect_since + settings.open_s

    def _says_it_all(self, permit: Permit, failure: Failure, request: str) -> bool:
        if failure.kind is Kind.PROTOCOL:
            self._garbage += 1
            return failure.permanent or self._garbage >= PROTOCOL_LIMIT
        if failure.kind is Kind.BAD_REQUEST:
            self._refused.add(request)
            return permit.probe or len(self._refused) > 1
        return failure.permanent or failure.verdict.trips

    def _limited(
        self, permit: Permit, failure: Failure, *, now: float, chance: float
    ) -> tuple[HealthFact, ...]:
        asked_s = rest_s(failure.retry_after_s, self._limits, chance=chance)
        self._limits += 1
        if asked_s > MOST_S:  # that long is an outage
            return self.breaker.failed(permit, now, trip=True, rest_s=asked_s)
        self.breaker.cancelled(permit)
        self.rests_until = max(self.rests_until, now + asked_s)
        return (RungRested(stage=self.stage, provider=self.provider, rest_s=asked_s),)

    def _weighed(self, moved: tuple[BreakerMoved, ...]) -> tuple[BreakerMoved, ...]:
        """Give an opening its weight: what only a person can mend does not pass by itself."""
        if not self.retired:
            return moved
        return tuple(
            replace(each, severity=Severity.HIGH) if each.after == State.OPEN else each
            for each in moved
        )

    def _suspect(self, kind: Kind, now: float) -> tuple[HealthFact, ...]:
        if self.suspect_since is not None:
            return ()
        self.suspect_since = self._judged_at = now
        return (Suspected(stage=self.stage, provider=self.provider, kind=kind),)

    def _clear(self, now: float) -> tuple[HealthFact, ...]:
        if self.suspect_since is None:
            return ()
        after_s, self.suspect_since = max(0.0, now - self.suspect_since), None
        self._judged_at = now
        return (SuspicionCleared(stage=self.stage, provider=self.provider, after_s=after_s),)
