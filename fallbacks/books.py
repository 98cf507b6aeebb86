"""The attempts of one request in progress: their permits, and what each end means for its rung.

Every attempt has a permit. Every end of an attempt returns the permit to the health table and
produces an event.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final, Literal

from fallbacks.attempts import (
    Abandon,
    Action,
    Admitted,
    AttemptEvent,
    Cancel,
    CancelReason,
    Done,
    Exhausted,
    Failed,
    Lapsed,
    Owed,
    Refused,
    Start,
    Suspect,
    Win,
    WorkEvent,
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
from fallbacks.failure import Kind, failed
from fallbacks.health import Health
from fallbacks.lag import Lag
from fallbacks.roster import HealthTable

LIMITS: Final = frozenset({Kind.TIMEOUT, Kind.STALLED})  # the kinds of a library's own time-out


@dataclass(frozen=True, slots=True)
class _Entry:
    """An attempt in progress."""

    number: int
    provider: str
    permit: Permit
    started: float  # monotonic; for one that waited, when it really began
    stalled_s: float  # our own stalls until then


class AttemptRecords:
    """Records events and actions of attempts; every method returns the events to publish.

    Attributes:
        hears: Whether a rung already hears the caller: it needs no permission to continue.
    """

    def __init__(
        self,
        stage: str,
        roster: HealthTable,
        *,
        expected: str | None,
        chance: Callable[[], float],
        lag: Lag | None = None,
        call: Hashable = None,
    ) -> None:
        """Start without attempts.

        Args:
            stage: The stage of the ladder.
            roster: The health of all rungs.
            expected: The rung that the caller expects to hear; `None` for the first one asked.
            chance: 0 to 1; spreads rests that the provider did not specify.
            lag: Our own stalls, which are no rung's time; `None` if there are none.
            call: The call of this work: the requests of one call are evidence only once.
        """
        self._stage = stage
        self._roster = roster
        self._expected = expected
        self._chance = chance
        self._lag = lag or Lag()
        self._call = call
        self.hears: Callable[[str], bool] = lambda _: False
        self._entries: dict[int, _Entry] = {}

    def enter_event(
        self, event: WorkEvent, now: float, *, patience_s: float = 0.0
    ) -> tuple[AttemptEvent, tuple[Fact, ...]] | None:
        """Record an event; return it as the failover needs it, and the events to publish.

        Args:
            event: What happened.
            now: Monotonic, in seconds.
            patience_s: What even a late rung may take; a shorter time-out counts as our stall.

        Returns:
            `None` if the attempt is over.
        """
        entry = self._entries.get(event.attempt)
        if entry is None:
            return None
        match event:
            case Failed() if self._lapsed(entry, event, now, patience_s=patience_s):
                told, facts = Lapsed(attempt=event.attempt), self._drop(entry, "lag")
            case Lapsed():
                told, facts = event, self._drop(entry, "length")
            case Failed():
                told, facts = event, self._enter_failure(entry, event, now)
            case Admitted():
                told = Owed(attempt=event.attempt)
                facts = self._enter_admission(entry, event, now)
            case Refused():
                full = failed(Kind.RATE_LIMITED, self._stage, provider=entry.provider)
                told = Failed(attempt=event.attempt, failure=full)
                reached = _limit_reached(self._stage, entry, asked=False, now=now)
                facts = (reached, *self._drop(entry, "limit"))
            case _:
                told, facts = event, ()
        return told, facts

    def enter_action(self, action: Action, now: float) -> tuple[Fact, ...] | None:
        """Record the failover's decision; `None` if the rung may not be asked after all."""
        match action:
            case Start():
                return self._enter_start(action, now)
            case Suspect():
                return self._health(action.provider).suspicion.begin(action.kind, now)
            case Win():
                return self._enter_win(action, now)
            case Exhausted():
                return (StageExhausted(stage=self._stage, attempts=action.attempts),)
            case _:
                return self._enter_end(action, self._entries[action.attempt], now)

    def _enter_start(self, start: Start, now: float) -> tuple[Fact, ...] | None:
        health = self._health(start.provider)
        permit = health.permit(now)
        if permit is None:
            hears = self.hears(start.provider)
            permit = health.permit(now, hears=hears, last_resort=not hears)
        if permit is None:
            return None
        ahead = next(iter(self._entries.values()), None)
        self._entries[start.attempt] = _Entry(
            start.attempt, start.provider, permit, now, self._lag.stalled_s(now)
        )
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
            after_s=self._took_s(ahead, now),
        )
        return (started, hedged)

    def _enter_admission(self, entry: _Entry, event: Admitted, now: float) -> tuple[Fact, ...]:
        """Restart an attempt's time: it could not begin before now."""
        self._entries[event.attempt] = replace(
            entry, started=now, stalled_s=self._lag.stalled_s(now)
        )
        reached = _limit_reached(self._stage, entry, asked=True, now=now)
        return (reached,) if event.waited else ()

    def _enter_failure(self, entry: _Entry, event: Failed, now: float) -> tuple[Fact, ...]:
        del self._entries[entry.number]
        told = AttemptFailed.of(
            event.failure,
            after_s=self._took_s(entry, now),
            attempt=entry.number,
            heard_words=event.heard_words,
        )
        health_facts = self._roster.failed(
            entry.permit, event.failure, now=now, call=self._call, chance=self._chance()
        )
        return (told, *health_facts)

    def _enter_end(
        self, action: Done | Cancel | Abandon, entry: _Entry, now: float
    ) -> tuple[Fact, ...]:
        match action:
            case Abandon():
                late = failed(action.kind, self._stage, provider=entry.provider)
                return self._enter_failure(entry, Failed(attempt=entry.number, failure=late), now)
            case Done():
                del self._entries[entry.number]
                place = (self._stage, entry.provider)
                return self._roster.succeeded(place, entry.permit, now=now)
            case Cancel():
                return self._drop(entry, action.because)

    def _enter_win(self, win: Win, now: float) -> tuple[Fact, ...]:
        entry, before = self._entries[win.attempt], self._expected
        after_s = self._took_s(entry, now)
        if self._lag.stalled_s(now) == entry.stalled_s:  # else its arrival time is unknown
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

    def _took_s(self, entry: _Entry, now: float) -> float:
        """Return how much of the attempt's time was the provider's."""
        return now - entry.started - (self._lag.stalled_s(now) - entry.stalled_s)

    def _lapsed(self, entry: _Entry, event: Failed, now: float, *, patience_s: float) -> bool:
        """Return whether a library's time-out ran out because we stalled."""
        if event.patient or event.failure.kind not in LIMITS:
            return False
        stalled = self._lag.stalled_s(now) > entry.stalled_s
        return stalled and self._took_s(entry, now) < patience_s

    def _drop(
        self, entry: _Entry, because: CancelReason | Literal["limit", "lag", "length"]
    ) -> tuple[Fact, ...]:
        """Remove an attempt without blaming its rung."""
        del self._entries[entry.number]
        self._health(entry.provider).breaker.take_back(entry.permit)
        dropped = AttemptDropped(
            stage=self._stage, provider=entry.provider, attempt=entry.number, because=because
        )
        return (dropped,)

    def _health(self, provider: str) -> Health:
        return self._roster.health(self._stage, provider)


def _limit_reached(stage: str, entry: _Entry, *, asked: bool, now: float) -> LimitReached:
    return LimitReached(
        stage=stage,
        provider=entry.provider,
        attempt=entry.number,
        waited_s=now - entry.started,
        asked=asked,
    )
