"""The books of one piece of work: whose permit each attempt has, and what its end says of its rung.

Every attempt has a permit, every end of one hands it back to the roster, and both are facts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fallbacks.attempts import (
    Abandon,
    Admitted,
    Cancel,
    Done,
    Exhausted,
    Failed,
    Refused,
    Start,
    Suspect,
    Win,
)
from fallbacks.breaker import Permit
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    Fact,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import failed
from fallbacks.health import Health
from fallbacks.roster import Roster


@dataclass(frozen=True, slots=True)
class _Entry:
    """An attempt under way."""

    number: int
    provider: str
    permit: Permit
    started: float  # monotonic; of one that waited, when it was truly begun


class Books:
    """Enters what happens to the attempts; every method returns the facts to be told."""

    def __init__(
        self, stage: str, roster: Roster, *, expected: str | None, chance: Callable[[], float]
    ) -> None:
        """Open the books.

        Args:
            stage: Whose ladder it is.
            roster: Remembers who can be trusted.
            expected: The rung that the caller expects to hear; None: the first one asked.
            chance: 0 to 1; spreads rests that nobody named.
        """
        self._stage = stage
        self._roster = roster
        self._expected = expected
        self._chance = chance
        self._entries: dict[int, _Entry] = {}

    def provider(self, attempt: int) -> str | None:
        """Return whose attempt it is, while it is under way."""
        entry = self._entries.get(attempt)
        return entry.provider if entry else None

    def enter_start(self, start: Start, now: float) -> tuple[Fact, ...] | None:
        """Enter a new attempt; None: its rung may not be asked after all."""
        permit = self._health(start.provider).permit(now)
        if permit is None:
            return None
        ahead = next(iter(self._entries.values()), None)
        self._entries[start.attempt] = _Entry(start.attempt, start.provider, permit, now)
        self._expected = self._expected or start.provider
        started = AttemptStarted(
            stage=self._stage,
            provider=start.provider,
            attempt=start.attempt,
            extra=start.extra,
            left_s=start.until.left_s(now),
        )
        if not start.hedge or ahead is None:
            return (started,)
        hedged = HedgeStarted(
            stage=self._stage,
            provider=start.provider,
            attempt=start.attempt,
            behind=ahead.provider,
            after_s=now - ahead.started,
        )
        return (started, hedged)

    def enter_admission(self, event: Admitted, now: float) -> tuple[Fact, ...]:
        """Count an attempt's time from now: it could not begin before."""
        entry = self._entries[event.attempt]
        self._entries[event.attempt] = replace(entry, started=now)
        return (self._limit_reached(entry, asked=True, now=now),) if event.waited else ()

    def enter_refusal(self, event: Refused, now: float) -> tuple[Fact, ...]:
        """Close an attempt that found no place."""
        entry = self._entries.pop(event.attempt)
        self._health(entry.provider).breaker.take_back(entry.permit)
        dropped = AttemptDropped(
            stage=self._stage, provider=entry.provider, attempt=entry.number, because="limit"
        )
        return (self._limit_reached(entry, asked=False, now=now), dropped)

    def enter_failure(self, event: Failed, now: float) -> tuple[Fact, ...]:
        """Close an attempt that failed for certain."""
        entry = self._entries.pop(event.attempt)
        told = AttemptFailed.of(
            event.failure,
            after_s=now - entry.started,
            attempt=entry.number,
            heard_words=event.heard_words,
        )
        health_facts = self._roster.failed(
            entry.permit, event.failure, now=now, request=event.request, chance=self._chance()
        )
        return (told, *health_facts)

    def enter_suspicion(self, suspect: Suspect, now: float) -> tuple[Fact, ...]:
        """Let other calls know that a rung is late."""
        return self._health(suspect.provider).suspicion.begin(suspect.kind, now)

    def enter_outcome(
        self, action: Win | Done | Cancel | Abandon | Exhausted, now: float
    ) -> tuple[Fact, ...]:
        """Enter what the failover made of an attempt, or of the work."""
        match action:
            case Win():
                return self._enter_win(action, now)
            case Done():
                entry = self._entries.pop(action.attempt)
                place = (self._stage, entry.provider)
                return self._roster.succeeded(place, entry.permit, now=now)
            case Cancel():
                entry = self._entries.pop(action.attempt)
                self._health(entry.provider).breaker.take_back(entry.permit)
                return (
                    AttemptDropped(
                        stage=self._stage,
                        provider=entry.provider,
                        attempt=entry.number,
                        because=action.because,
                    ),
                )
            case Abandon():
                late = failed(action.kind, self._stage, provider=action.provider)
                return self.enter_failure(Failed(attempt=action.attempt, failure=late), now)
            case Exhausted():
                return (StageExhausted(stage=self._stage, attempts=action.attempts),)

    def _enter_win(self, win: Win, now: float) -> tuple[Fact, ...]:
        entry, before = self._entries[win.attempt], self._expected
        after_s = now - entry.started
        self._health(entry.provider).latency.took(after_s)
        self._expected = entry.provider
        won = AttemptWon(
            stage=self._stage, provider=entry.provider, attempt=entry.number, after_s=after_s
        )
        if before is None or before == entry.provider:
            return (won,)
        chosen = RungChosen(
            stage=self._stage, before=before, after=entry.provider, cause="failover"
        )
        return (won, chosen)

    def _limit_reached(self, entry: _Entry, *, asked: bool, now: float) -> LimitReached:
        return LimitReached(
            stage=self._stage,
            provider=entry.provider,
            attempt=entry.number,
            waited_s=now - entry.started,
            asked=asked,
        )

    def _health(self, provider: str) -> Health:
        return self._roster.health(self._stage, provider)
