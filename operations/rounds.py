"""Takes work outside a turn down its ladder, and round again: who is next is `fallbacks.rounds`.

Each rung keeps its own sequence of retries (`operations/retrying.py`), so that a standby is asked
at once, and the breaker of a rung learns the same as of any other work outside a turn.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

from fallbacks.facts import RungChosen, StageExhausted
from fallbacks.failure import Failure, Kind, ServiceError, error_of, failed
from fallbacks.roster import Roster
from fallbacks.rounds import Rounds
from operations.retrying import Retries, RetrySequence

T = TypeVar("T")


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
        roster: Roster,
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
            standings = [each for each in standings if each.provider in self._works]
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
