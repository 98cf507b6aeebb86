"""The health of all rungs of all stages, and what one rung's failure says about the others.

A key that is not accepted, or has nothing left to spend, takes every rung out at once that shares
it, instead of being found out rung by rung at the callers' expense. Other keys of the same account
are tripped with it; but a key may be well that is not the one that was refused, so they rest as
after an ordinary failure, and the next probe decides.
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
    credential: str  # the same for all rungs that share a key; never the key
    account: str = ""  # the same for all rungs whose keys are of one account or project


class HealthTable:
    """What all calls of a process share."""

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
        """Return the stage's ladder as it stands, preferred rung first."""
        return [ladder.standing(now) for ladder in self._ladders.get(stage, [])]

    def failed(
        self,
        permit: Permit,
        failure: Failure,
        *,
        now: float,
        call: Hashable = None,
        chance: float = 0.5,
    ) -> tuple[HealthFact, ...]:
        """Count a failure of one rung, and what it says about those that share key or account."""
        key = (failure.stage, failure.provider)
        known = self._rungs[key].retired  # its account has been told before
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
        """Note a success of the rung at (stage, provider); a mended key is tried everywhere."""
        health = self._rungs[place]
        was_retired = health.retired
        facts = health.succeeded(permit, now, ttfb_s=ttfb_s)
        if not was_retired or health.retired:
            return facts
        sharing = (*with_key_of(place, self._places), *with_account_of(place, self._places))
        mended = [self._rungs[rung_name] for rung_name in sharing if self._rungs[rung_name].retired]
        return (*facts, *[fact for item in mended for fact in item.reset(now)])

    def reset(self, provider: str, now: float) -> tuple[HealthFact, ...]:
        """Let a rung of this name, in whatever stage, be tried at once.

        Raises:
            KeyError: No rung has this name.
        """
        named = [rung for rung in self._rungs.values() if rung.provider == provider]
        if not named:
            raise KeyError(provider)
        return tuple(fact for rung_window in named for fact in rung_window.reset(now))

    def withdraw(self, provider: str, now: float) -> None:
        """Offer the rungs of this name to no caller any more, from the next piece of work on."""
        for item in self:
            if item.provider == provider:
                item.rotation.take_out(now)

    def put_back(self, provider: str, now: float) -> None:
        """Offer them again."""
        for item in self:
            if item.provider == provider:
                item.rotation.put_back(now)

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return min((at for item in self if (at := item.breaker.wake_at) is not None), default=None)

    def tick(self, now: float) -> tuple[HealthFact, ...]:
        """Move on the passing of time alone."""
        return tuple(fact for item in self for fact in item.breaker.tick(now))

    def __iter__(self) -> Iterator[Health]:
        """Every rung's health, stage by stage."""
        return iter(self._rungs.values())


def with_key_of(rung: RungName, places: Mapping[RungName, Place]) -> list[RungName]:
    """Return the other rungs that have this one's key."""
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
