"""The health of all rungs of all stages, and the effect of one rung's failure on the others.

A key that is rejected, or has no credit left, takes every rung with that key out at once. Otherwise
each rung would find out in turn, at a caller's expense. Rungs with other keys of the same account
are tripped with it. But another key may still work, so those rungs rest as after an ordinary
failure, and the next probe decides.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.breaker import BreakerSettings, Permit
from fallbacks.failure import Failure, Scope
from fallbacks.health import Health, HealthFact, Standing
from fallbacks.latency import PRIOR_S

RungName: TypeAlias = tuple[str, str]
"""Stage and provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A rung's place in a stage."""

    stage: str
    provider: str
    credential: str  # equal for rungs that share a key; never the key itself
    account: str = ""  # equal for rungs whose keys belong to one account or project


class HealthTable:
    """The health of all rungs, shared by all calls of a process."""

    def __init__(
        self,
        places: Iterable[Place],
        *,
        now: float,
        settings: BreakerSettings | None = None,
        priors_s: Mapping[str, float] | None = None,
    ) -> None:
        self._places = {(place.stage, place.provider): place for place in places}
        priors = priors_s or {}
        self._rungs = {
            key: Health(*key, now=now, settings=settings, prior_s=priors.get(key[0], PRIOR_S))
            for key in self._places
        }
        self._ladders: dict[str, list[Health]] = {}
        for (stage, _), health in self._rungs.items():
            self._ladders.setdefault(stage, []).append(health)

    def health(self, stage: str, provider: str) -> Health:
        """Return one rung's health.

        Raises:
            KeyError: There is no such rung.
        """
        return self._rungs[stage, provider]

    def standings(self, stage: str, now: float) -> Sequence[Standing]:
        """Return the standings of the stage's ladder, preferred rung first."""
        return [health.standing(now) for health in self._ladders.get(stage, [])]

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        call: Hashable = None,
        chance: float = 0.5,
    ) -> tuple[HealthFact, ...]:
        """Count a failure of one rung, and its effect on those with the same key or account."""
        key = (failure.stage, failure.provider)
        known = self._rungs[key].retired  # the other rungs of the account were already tripped
        facts = self._rungs[key].failed(permit, failure, now=now, call=call, chance=chance)
        if failure.scope is not Scope.CREDENTIAL:
            return facts
        same_key = with_key_of(key, self._places)
        same_account = [] if known else with_account_of(key, self._places)
        return (
            *facts,
            *[
                fact
                for rung_name in same_key
                for fact in self._rungs[rung_name].retire(failure.kind, now)
            ],
            *[fact for item in same_account for fact in self._rungs[item].trip(failure.kind, now)],
        )

    def succeeded(
        self, place: tuple[str, str], permit: Permit, *, now: float, ttfb_s: float | None = None
    ) -> tuple[HealthFact, ...]:
        """Record a success of the rung at (stage, provider); a fixed key is tried everywhere."""
        health = self._rungs[place]
        was_retired = health.retired
        facts = health.succeeded(permit, now, ttfb_s=ttfb_s)
        if not was_retired or health.retired:
            return facts
        sharing = (*with_key_of(place, self._places), *with_account_of(place, self._places))
        mended = [self._rungs[rung_name] for rung_name in sharing if self._rungs[rung_name].retired]
        return (*facts, *[fact for item in mended for fact in item.reset(now)])

    def reset(self, provider: str, now: float) -> tuple[HealthFact, ...]:
        """Allow a trial at once for every rung of this name, in any stage.

        Raises:
            KeyError: No rung has this name.
        """
        named = [rung for rung in self._rungs.values() if rung.provider == provider]
        if not named:
            raise KeyError(provider)
        return tuple(fact for health in named for fact in health.reset(now))

    def withdraw(self, provider: str, now: float) -> None:
        """Take the rungs of this name out of rotation, from the next request on."""
        for health in self:
            if health.provider == provider:
                health.rotation.take_out(now)

    def put_back(self, provider: str, now: float) -> None:
        """Put them back into rotation."""
        for health in self:
            if health.provider == provider:
                health.rotation.put_back(now)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return min((at for item in self if (at := item.breaker.wake_at) is not None), default=None)

    def tick(self, now: float) -> tuple[HealthFact, ...]:
        """Update every breaker for the passing of time."""
        return tuple(fact for item in self for fact in item.breaker.tick(now))

    def __iter__(self) -> Iterator[Health]:
        """Every rung's health, stage by stage."""
        return iter(self._rungs.values())


def with_key_of(rung: RungName, places: Mapping[RungName, Place]) -> list[RungName]:
    """Return the other rungs with the same key."""
    shared = places[rung].credential
    return [
        other
        for other, place in places.items()
        if other != rung and shared and place.credential == shared
    ]


def with_account_of(rung: RungName, places: Mapping[RungName, Place]) -> list[RungName]:
    """Return the rungs with another key of the same account."""
    own = places[rung]
    return [
        other
        for other, place in places.items()
        if own.account
        and place.account == own.account
        and (not own.credential or place.credential != own.credential)
        and other != rung
    ]
