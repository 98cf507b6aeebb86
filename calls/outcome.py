"""The outcome of a call: its turns, latency percentiles, tokens and failures."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from math import ceil
from typing import Final

from calls.cost import Bill, Costs
from calls.events import (
    AnswerHeard,
    BargedIn,
    BudgetMissed,
    CallEnded,
    Event,
    PhaseRefused,
    ProviderFailed,
    TurnParts,
    UsageMeasured,
)
from fallbacks.facts import AttemptFailed, EarlyAnswerDropped, EarlyAnswerTaken, StageExhausted
from fallbacks.failure import Scope

MEASURES: Final = ("prompt_tokens", "completion_tokens", "characters", "audio_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of one latency part, in seconds; nearest rank."""

    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The summary of one call."""

    turns: int
    within_budget: float | None  # share of the measured turns, 0..1; `None` without turns
    v2v: Spread | None
    parts: dict[str, Spread] = field(default_factory=dict[str, Spread])
    barge_ins: int = 0
    early_answers: int = 0  # requested before the turn was decided, and used
    early_dropped: int = 0  # discarded unheard, and billed
    provider_failures: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])  # the same, by provider
    exhausted: int = 0  # requests that ended because a stage had no rung left
    surprises: int = 0  # transitions that the phase table does not have
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    heard_by_stt_s: float = 0.0
    cost: float | None = None  # in the price table's currency; `None` if a price is unknown
    costs: Costs = field(default_factory=Costs)
    length_s: float = 0.0
    reason: str = ""


def failed_provider(event: Event) -> str | None:
    """Return the provider that failed, if the event says so.

    A request that every rung would reject, such as one that is too long, counts against no
    provider.
    """
    match event:
        case ProviderFailed():
            return event.provider
        case AttemptFailed() if event.scope is not Scope.PAYLOAD:
            return event.provider
        case _:
            return None


def spread(values: Sequence[float]) -> Spread:
    """Return the percentiles of at least one value."""
    ordered = sorted(values)
    return Spread(p50_s=_rank(ordered, 0.50), p95_s=_rank(ordered, 0.95))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


class Tally:
    """Adds up one call's events as they come; keeps eight numbers for a turn, and no events."""

    def __init__(self) -> None:
        self._counts: Counter[type[Event]] = Counter()
        self._usage: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._bill = Bill()
        self._v2v_s = array("d")  # eight bytes an answer; a list of floats takes four times that
        self._parts = {field_.name: array("d") for field_ in fields(TurnParts)}
        self._ended: CallEnded | None = None

    def add(self, event: Event) -> None:
        """Count one event."""
        self._counts[type(event)] += 1
        self._bill.add(event)
        if provider := failed_provider(event):
            self._failures[provider] += 1
        match event:
            case AnswerHeard():
                self._v2v_s.append(event.v2v_s)
                for name, values in self._parts.items():
                    values.append(getattr(event.parts, name))
            case UsageMeasured():
                for name in MEASURES:
                    self._usage[name] += getattr(event, name)
            case CallEnded() if self._ended is None:
                self._ended = event
            case _:
                pass

    def outcome(self) -> Outcome:
        """Return the outcome of the events so far."""
        answers = len(self._v2v_s)
        counts, usage, ended = self._counts, self._usage, self._ended
        return Outcome(
            turns=answers,
            within_budget=1 - counts[BudgetMissed] / answers if answers else None,
            v2v=spread(self._v2v_s) if answers else None,
            parts={n: spread(values) for n, values in self._parts.items()} if answers else {},
            barge_ins=counts[BargedIn],
            early_answers=counts[EarlyAnswerTaken],
            early_dropped=counts[EarlyAnswerDropped],
            provider_failures=self._failures.total(),
            failures=dict(self._failures),
            exhausted=counts[StageExhausted],
            surprises=counts[PhaseRefused],
            prompt_tokens=int(usage["prompt_tokens"]),
            completion_tokens=int(usage["completion_tokens"]),
            characters=int(usage["characters"]),
            heard_by_stt_s=usage["audio_s"],
            cost=self._bill.total,
            costs=self._bill.costs,
            length_s=ended.length_s if ended else 0.0,
            reason=ended.reason if ended else "",
        )


def outcome(events: Iterable[Event]) -> Outcome:
    """Return the outcome of the events of one call."""
    tally = Tally()
    for event in events:
        tally.add(event)
    return tally.outcome()
