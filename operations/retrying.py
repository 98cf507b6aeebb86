"""Asks again outside a turn: dials, the owner's systems, alerts, sheets, clips.

Never for a caller who waits: in a turn the ladder moves on instead. When, and how often, is decided
in `fallbacks/retrying.py`; here is the waiting, done by tenacity, and what the roster learns of it.
The tries of a sequence count as one: what is permanent opens the provider's breaker at once, and so
does a sequence that is exhausted, but no try counts towards the breaker's consecutive failures.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from bot import clock
from bot.clock import Clock
from calls.entry import Tell
from fallbacks.breaker import Permit
from fallbacks.facts import (
    AttemptFailed,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Failure, Kind, Scope, ServiceError, error_of, failed
from fallbacks.health import HealthFact
from fallbacks.retrying import RetrySettings, wait_s
from fallbacks.roster import HealthTable
from fallbacks.rounds import Rounds

T = TypeVar("T")
Key: TypeAlias = tuple[str, str]
"""The kind of work, such as a stage, and the provider's name."""

_CHANCE: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How work outside a turn is asked for again, and who learns of it."""

    settings: RetrySettings
    tell: Tell
    roster: HealthTable | None = None  # None: nobody keeps this provider's health
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = _CHANCE.random  # 0 to 1
    clock: Clock = clock.monotonic


async def run_with_retries(
    work: Callable[[], Awaitable[T]],
    *,
    asked: Key,
    classify: Callable[[Exception], Failure | None],
    retries: Retries,
) -> T:
    """Do the work, again where that may help; may be cancelled at any time.

    Args:
        work: One try.
        asked: Whom it asks; with a roster one of its rungs.
        classify: Says what an exception of the work was; None: our own mistake, raised as it is.
        retries: How often, how long between, and who is told.

    Raises:
        ServiceError: It came to nothing; holds what the last try came to. The provider was not
            asked at all if its breaker is open.
    """
    sequence = RetrySequence(asked, classify, retries)

    async def attempt() -> T:
        return await sequence.attempt(work)

    tenacious = AsyncRetrying(
        sleep=retries.sleep,
        retry=retry_if_exception_type(ServiceError),
        stop=sequence.over,
        wait=sequence.wait,
        reraise=True,
    )
    return await tenacious(attempt)


class RetrySequence:
    """The tries of one piece of work; what is next is decided once, when a try has failed."""

    def __init__(
        self, asked: Key, classify: Callable[[Exception], Failure | None], retries: Retries
    ) -> None:
        self._asked = asked
        self._classify = classify
        self._retries = retries
        self._tries = 0
        self._first_s = retries.clock()  # when the first try began
        self._wait_s: float | None = None  # None: no further try

    @property
    def wait_s(self) -> float | None:
        """How long to wait before the next try, after one that failed; None: there is none."""
        return self._wait_s

    def over(self, _: RetryCallState) -> bool:
        """Say whether there is no further try."""
        return self._wait_s is None

    def wait(self, _: RetryCallState) -> float:
        """Return the wait before the next try."""
        return self._wait_s or 0.0

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Try once.

        Raises:
            ServiceError: It failed; what is next has been decided and told.
        """
        self._wait_s = None
        permit, began_s = self._permit(), self._retries.clock()
        self._tries += 1
        try:
            done = await work()
        except Exception as error:
            failure = self._classify(error)
            if failure is None:
                self._call_off(permit)
                raise
            self._book_failure(permit, failure, after_s=self._retries.clock() - began_s)
            raise error_of(failure) from error
        except asyncio.CancelledError:
            self._call_off(permit)
            raise
        self._book_success(permit)
        return done

    def _permit(self) -> Permit | None:
        """Return leave to ask, None where nobody keeps the provider's health.

        Raises:
            ServiceError: There is none: the breaker is open, or the provider rests.
        """
        roster, now = self._retries.roster, self._retries.clock()
        if roster is None:
            return None
        permit = roster.health(*self._asked).permit(now)
        if permit is None:
            stage, provider = self._asked
            why = "not asked: its breaker is open, or it rests"
            raise error_of(failed(Kind.OVERLOADED, stage, provider=provider, reason=why))
        return permit

    def _book_failure(self, permit: Permit | None, failure: Failure, *, after_s: float) -> None:
        self._tell_failure(failure, after_s)
        settings, chance = self._retries.settings, self._retries.chance()
        spent_s = self._retries.clock() - self._first_s
        self._wait_s = wait_s(
            settings, self._tries, failure=failure, chance=chance, spent_s=spent_s
        )
        self._learn(permit, failure)
        if self._wait_s is not None:
            self._retries.tell(
                RetryPlanned(
                    stage=failure.stage,
                    provider=failure.provider,
                    kind=failure.kind,
                    retry=self._tries,
                    wait_s=self._wait_s,
                )
            )
        elif not failure.permanent:
            self._retries.tell(
                RetriesExhausted(
                    stage=failure.stage,
                    provider=failure.provider,
                    kind=failure.kind,
                    tries=self._tries,
                )
            )

    def _learn(self, permit: Permit | None, failure: Failure) -> None:
        roster, now = self._retries.roster, self._retries.clock()
        if roster is None or permit is None:
            return
        if failure.permanent:
            self._tell_all(roster.failed(permit, failure, now=now))
            return
        health = roster.health(*self._asked)
        health.breaker.take_back(permit)
        if self._wait_s is None and failure.scope is not Scope.PAYLOAD:  # then the fault is ours
            self._tell_all(health.breaker.trip(now))

    def _book_success(self, permit: Permit | None) -> None:
        roster = self._retries.roster
        if roster is not None and permit is not None:
            self._tell_all(roster.succeeded(self._asked, permit, now=self._retries.clock()))

    def _call_off(self, permit: Permit | None) -> None:
        roster = self._retries.roster
        if roster is not None and permit is not None:
            roster.health(*self._asked).breaker.take_back(permit)

    def _tell_failure(self, failure: Failure, after_s: float) -> None:
        self._retries.tell(AttemptFailed.of(failure, after_s=after_s))

    def _tell_all(self, facts: tuple[HealthFact, ...]) -> None:
        for fact in facts:
            self._retries.tell(fact)


# Takes work outside a turn down its ladder, and round again: who is next is `fallbacks.rounds`.
#
# Each rung keeps its own sequence of retries (`operations/retrying.py`), so that a standby is asked
# at once, and the breaker of a rung learns the same as of any other work outside a turn.


async def run_down_ladder(
    works: Mapping[str, Callable[[], Awaitable[T]]], *, stage: str, retries: Retries
) -> T:
    """Return what the first rung to succeed has made; may be cancelled at any time.

    Args:
        works: One try of each rung, by its name; raises `ServiceError` when it fails.
        stage: Whose ladder it is.
        retries: How often each is asked, who keeps their health, and who is told.

    Raises:
        ServiceError: No rung did it; holds what the last one that was asked came to.
    """
    if retries.roster is None:
        raise ValueError("a ladder needs a roster")
    return await _Descent(works, stage, retries, retries.roster).run()


class _Descent(Generic[T]):
    """One piece of work on its way down."""

    def __init__(
        self,
        works: Mapping[str, Callable[[], Awaitable[T]]],
        stage: str,
        retries: Retries,
        roster: HealthTable,
    ) -> None:
        self._works = works
        self._stage = stage
        self._retries = retries
        self._roster = roster
        self._rounds = Rounds()
        self._sequences = {
            name: RetrySequence((stage, name), failure_of, retries) for name in works
        }
        self._last: Failure | None = None
        self._tries = 0

    async def run(self) -> T:
        while True:
            now = self._retries.clock()
            standings = self._roster.standings(self._stage, now)
            standings = [standing for standing in standings if standing.provider in self._works]
            name = self._rounds.choose(standings, now)
            if name is None:
                at = self._rounds.wake_at(standings)
                if at is None:
                    raise self._exhausted()
                await self._retries.sleep(max(0.0, at - now))
                continue
            try:
                return await self._ask(name)
            except ServiceError as error:
                self._note(name, error.failure)

    async def _ask(self, name: str) -> T:
        self._tries += 1
        if self._last is not None and self._last.provider != name:
            told = partial(RungChosen, stage=self._stage, cause=self._last.kind.value)
            self._retries.tell(told(before=self._last.provider, after=name))
        return await self._sequences[name].attempt(self._works[name])

    def _note(self, name: str, failure: Failure) -> None:
        self._last = failure
        wait_s = self._sequences[name].wait_s
        again_at = None if wait_s is None else self._retries.clock() + wait_s
        self._rounds.fail(name, again_at=again_at)

    def _exhausted(self) -> ServiceError:
        self._retries.tell(StageExhausted(stage=self._stage, attempts=self._tries))
        unasked = failed(
            Kind.OVERLOADED,
            self._stage,
            provider=", ".join(self._works),
            reason="not asked: the breaker is open, or it rests",
        )
        return error_of(self._last or unasked)


def failure_of(error: Exception) -> Failure | None:
    """Return the failure that an exception of a rung's edge holds; None: our own mistake."""
    return error.failure if isinstance(error, ServiceError) else None
