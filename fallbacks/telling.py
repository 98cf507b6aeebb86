"""Tells the facts of one piece of work: who was asked, who was heard, who failed, who waited."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.attempts import Start
from fallbacks.breaker import Permit
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Failure
from fallbacks.health import HealthFact

Fact: TypeAlias = (
    AttemptStarted
    | AttemptFailed
    | AttemptWon
    | AttemptDropped
    | HedgeStarted
    | LimitReached
    | RungChosen
    | StageExhausted
    | HealthFact
)
"""What a piece of work tells."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt under way."""

    number: int
    provider: str
    permit: Permit
    started: float  # monotonic; of one that waited, when it was truly begun


class Telling:
    """Puts what happened to the attempts of a stage into facts."""

    def __init__(self, stage: str, tell: Callable[[Fact], None]) -> None:
        self._stage = stage
        self._tell = tell

    def started(self, start: Start, now: float) -> None:
        """Tell that a rung was asked."""
        self._tell(
            AttemptStarted(
                stage=self._stage,
                provider=start.provider,
                attempt=start.attempt,
                extra=start.extra,
                left_s=start.until.left_s(now),
            )
        )

    def hedged(self, start: Start, *, behind: Attempt, now: float) -> None:
        """Tell that it was asked before the first one was late."""
        self._tell(
            HedgeStarted(
                stage=self._stage,
                provider=start.provider,
                attempt=start.attempt,
                behind=behind.provider,
                after_s=now - behind.started,
            )
        )

    def limited(self, attempt: Attempt, *, asked: bool, now: float) -> None:
        """Tell that there was no place for an attempt when it came."""
        self._tell(
            LimitReached(
                stage=self._stage,
                provider=attempt.provider,
                attempt=attempt.number,
                waited_s=now - attempt.started,
                asked=asked,
            )
        )

    def failed(
        self, attempt: Attempt, failure: Failure, *, now: float, heard_words: int = 0
    ) -> None:
        """Tell that an attempt failed."""
        self._tell(
            AttemptFailed(
                stage=self._stage,
                provider=attempt.provider,
                kind=failure.kind,
                scope=failure.scope,
                after_s=now - attempt.started,
                attempt=attempt.number,
                permanent=failure.permanent,
                severity=failure.severity,
                unknown=failure.unknown,
                heard_words=heard_words,
                reason=failure.reason,
            )
        )

    def dropped(self, attempt: Attempt, because: str) -> None:
        """Tell that an attempt was called off."""
        self._tell(
            AttemptDropped(
                stage=self._stage,
                provider=attempt.provider,
                attempt=attempt.number,
                because=because,
            )
        )

    def won(self, attempt: Attempt, *, known: str | None, now: float) -> None:
        """Tell that an attempt is heard; `known` is the rung that the caller expects."""
        self._tell(
            AttemptWon(
                stage=self._stage,
                provider=attempt.provider,
                attempt=attempt.number,
                after_s=now - attempt.started,
            )
        )
        if known and known != attempt.provider:
            self._tell(
                RungChosen(
                    stage=self._stage, before=known, after=attempt.provider, cause="failover"
                )
            )

    def exhausted(self, attempts: int) -> None:
        """Tell that nobody is left."""
        self._tell(StageExhausted(stage=self._stage, attempts=attempts))

    def all(self, facts: tuple[HealthFact, ...]) -> None:
        """Tell what became of the rungs."""
        for fact in facts:
            self._tell(fact)
