"""Retries work outside a turn: dials, the owner's systems, alerts, sheets, clips.

Not for work that a caller waits for: inside a turn the ladder moves to the next rung instead.
`fallbacks/retrying.py` decides when and how often to retry; this module waits, with tenacity, and
updates the health table. All attempts of a sequence count as one result: a permanent failure or an
exhausted sequence opens the provider's breaker at once, but a single failed attempt does not count
towards its consecutive failures.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from calls.entry import Emit
from fallbacks.availability import AvailabilityEvent, AvailabilityTable
from fallbacks.breaker import Permit
from fallbacks.events import (
    AttemptFailed,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import OF_REQUEST, Failure, Kind, Scope, ServiceError, error_of, failed
from fallbacks.retrying import RetrySettings, Rounds, wait_s
from runtime import clock
from runtime.clock import Clock

T = TypeVar("T")
Key: TypeAlias = tuple[str, str]
"""The kind of work, such as a stage, and the provider's name."""

_CHANCE: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The retry policy for work outside a turn, its event sink, health table and clock."""

    settings: RetrySettings
    emit: Emit
    availability: AvailabilityTable | None = None  # `None` if the provider's health is not tracked
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
    """Run `work`, and retry it where that may help; safe to cancel at any time.

    Emits an event for each failed attempt and each planned retry, and updates the breaker.

    Args:
        work: One attempt.
        asked: The provider; must be in the health table, if there is one.
        classify: Classifies an exception of `work`; `None` for our own error, which is re-raised.
        retries: The policy.

    Raises:
        ServiceError: All attempts failed; holds the last failure. Also raised without an attempt
            if the provider is unavailable: open breaker, rate limit, out of rotation.
    """
    sequence = RetrySequence(asked, classify, retries)

    async def attempt() -> T:
        return await sequence.attempt(work)

    retrying = AsyncRetrying(
        sleep=retries.sleep,
        retry=retry_if_exception_type(ServiceError),
        stop=sequence.over,
        wait=sequence.wait,
        reraise=True,
    )
    return await retrying(attempt)


class RetrySequence:
    """The attempts of one piece of work; decides after each failure whether and when to retry.

    Call `attempt` again only if `wait_s` is not `None`, and after that wait.
    """

    def __init__(
        self, asked: Key, classify: Callable[[Exception], Failure | None], retries: Retries
    ) -> None:
        self._asked = asked
        self._classify = classify
        self._retries = retries
        self._tries = 0
        self._first_s = retries.clock()  # `settings.within_s` counts from here
        self._wait_s: float | None = None  # `None` for no further attempt

    @property
    def wait_s(self) -> float | None:
        """The wait before the next attempt, after a failed one; `None` if there is none."""
        return self._wait_s

    def over(self, _: RetryCallState) -> bool:
        """Return whether there is no further attempt."""
        return self._wait_s is None

    def wait(self, _: RetryCallState) -> float:
        """Return the wait before the next attempt."""
        return self._wait_s or 0.0

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt; emit its failure, and update the breaker.

        Raises:
            ServiceError: It failed; `wait_s` and the emitted event say what happens next. Also if
                the provider is unavailable: then `work` is not called, and `wait_s` is `None`.
            Exception: An error of our own, as `work` raised it; it counts against no provider.
        """
        self._wait_s = None
        permit, began_s = self._permit_to_ask(), self._retries.clock()
        self._tries += 1
        try:
            result = await work()
        except Exception as error:
            failure = self._classify(error)
            if failure is None:
                self._return_permit(permit)
                raise
            self._record_failed_attempt(permit, failure, after_s=self._retries.clock() - began_s)
            raise error_of(failure) from error
        except asyncio.CancelledError:
            self._return_permit(permit)
            raise
        self._record_success(permit)
        return result

    def _permit_to_ask(self) -> Permit | None:
        """Return a permit to ask; `None` if the provider's health is not tracked.

        Raises:
            ServiceError: The provider is unavailable.
        """
        availability, now = self._retries.availability, self._retries.clock()
        if availability is None:
            return None
        permit = availability.of(*self._asked).permit(now)
        if permit is None:
            stage, provider = self._asked
            why = "not asked: unavailable (open breaker, rate limit or out of rotation)"
            raise error_of(failed(Kind.OVERLOADED, stage, provider=provider, reason=why))
        return permit

    def _record_failed_attempt(
        self, permit: Permit | None, failure: Failure, *, after_s: float
    ) -> None:
        """Report a failed attempt, set the wait before the next one, and update the breaker.

        A permanent failure ends the sequence without `RetriesExhausted`.
        """
        self._emit_failure(failure, after_s)
        settings, chance = self._retries.settings, self._retries.chance()
        spent_s = self._retries.clock() - self._first_s
        self._wait_s = wait_s(
            settings, self._tries, failure=failure, chance=chance, spent_s=spent_s
        )
        self._update_breaker(permit, failure)
        if self._wait_s is not None:
            self._retries.emit(
                RetryPlanned(
                    stage=failure.stage,
                    provider=failure.provider,
                    kind=failure.kind,
                    retry=self._tries,
                    wait_s=self._wait_s,
                )
            )
        elif not failure.permanent:
            self._retries.emit(
                RetriesExhausted(
                    stage=failure.stage,
                    provider=failure.provider,
                    kind=failure.kind,
                    tries=self._tries,
                )
            )

    def _update_breaker(self, permit: Permit | None, failure: Failure) -> None:
        """Count a permanent failure, or open the breaker if the sequence is exhausted.

        A failure that is retried only returns the permit.
        """
        availability, now = self._retries.availability, self._retries.clock()
        if availability is None or permit is None:
            return
        if failure.permanent:
            self._emit_all(availability.failed(permit, failure, now=now))
            return
        breaker = availability.of(*self._asked).breaker
        breaker.take_back(permit)
        if self._wait_s is None and failure.scope is not Scope.PAYLOAD:  # else our own fault
            self._emit_all(breaker.trip(now))

    def _record_success(self, permit: Permit | None) -> None:
        availability = self._retries.availability
        if availability is not None and permit is not None:
            self._emit_all(availability.succeeded(self._asked, permit, now=self._retries.clock()))

    def _return_permit(self, permit: Permit | None) -> None:
        availability = self._retries.availability
        if availability is not None and permit is not None:
            availability.of(*self._asked).breaker.take_back(permit)

    def _emit_failure(self, failure: Failure, after_s: float) -> None:
        self._retries.emit(AttemptFailed.of(failure, after_s=after_s))

    def _emit_all(self, events: tuple[AvailabilityEvent, ...]) -> None:
        for event in events:
            self._retries.emit(event)


async def run_down_ladder(
    works: Mapping[str, Callable[[], Awaitable[T]]], *, stage: str, retries: Retries
) -> T:
    """Return the result of the first rung to succeed; safe to cancel at any time.

    Each rung has its own `RetrySequence`: a standby is tried at once, without waiting for the
    retries of the rung above. `fallbacks/retrying.py` chooses the next rung. There is no deadline:
    while a rung may be retried, this waits. Emits `StageExhausted` if no rung succeeds, unless
    each refused only this request.

    Args:
        works: Makes one attempt, by the rung's name; raises `ServiceError` on failure.
        stage: The ladder's stage.
        retries: The policy for each rung; must have a health table.

    Raises:
        ServiceError: No rung succeeded; holds the last failure, but one that is due to the request
            only if all are.
    """
    if retries.availability is None:
        raise ValueError("a ladder needs a health table")
    return await _LadderRun(works, stage, retries, retries.availability).run()


class _LadderRun(Generic[T]):
    """One run of a piece of work down its ladder."""

    def __init__(
        self,
        works: Mapping[str, Callable[[], Awaitable[T]]],
        stage: str,
        retries: Retries,
        availability: AvailabilityTable,
    ) -> None:
        self._works = works
        self._stage = stage
        self._retries = retries
        self._availability = availability
        self._rounds = Rounds()
        self._sequences = {
            name: RetrySequence((stage, name), failure_in, retries) for name in works
        }
        self._last: Failure | None = None
        self._outage: Failure | None = None  # the last one that other requests would have, too
        self._tries = 0

    async def run(self) -> T:
        """Ask one rung after the other; wait while all of them rest, raise if none is left."""
        while True:
            now = self._retries.clock()
            ladder = self._availability.ladder(self._stage, now)
            rungs = [rung for rung in ladder if rung.provider in self._works]
            name = self._rounds.choose(rungs, now)
            if name is None:
                wake_at = self._rounds.wake_at(rungs)
                if wake_at is None:
                    raise self._report_exhaustion()
                await self._retries.sleep(max(0.0, wake_at - now))
                continue
            try:
                return await self._ask_rung(name)
            except ServiceError as error:
                self._record_failure(name, error.failure)

    async def _ask_rung(self, name: str) -> T:
        """Ask a rung; if another one failed before it, emit `RungChosen` first."""
        self._tries += 1
        if self._last is not None and self._last.provider != name:
            chosen = partial(RungChosen, stage=self._stage, cause=self._last.kind.value)
            self._retries.emit(chosen(before=self._last.provider, after=name))
        return await self._sequences[name].attempt(self._works[name])

    def _record_failure(self, name: str, failure: Failure) -> None:
        """Remember a rung's failure, and when the rung may be asked again, if ever."""
        self._last = failure
        if failure.scope not in OF_REQUEST:
            self._outage = failure
        wait_s = self._sequences[name].wait_s
        again_at = None if wait_s is None else self._retries.clock() + wait_s
        self._rounds.fail(name, again_at=again_at)

    def _report_exhaustion(self) -> ServiceError:
        """Return the error to raise when no rung is left, and report an outage if it is one.

        It is none if every rung refused only this request. The error holds the last failure that
        other requests would have, too; without one, the last failure; if no rung was asked, that.
        """
        if self._outage or not self._last:
            self._retries.emit(StageExhausted(stage=self._stage, attempts=self._tries))
        unavailable = failed(
            Kind.OVERLOADED,
            self._stage,
            provider=", ".join(self._works),
            reason="not asked: unavailable (open breaker, rate limit or out of rotation)",
        )
        return error_of(self._outage or self._last or unavailable)


def failure_in(error: Exception) -> Failure | None:
    """Return the failure in a rung's exception; `None` for our own error."""
    return error.failure if isinstance(error, ServiceError) else None
