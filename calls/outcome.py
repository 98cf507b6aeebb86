"""What a call came to: its turns, its parts' percentiles, its tokens, its failures."""

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
    """Percentiles of one part of the answers, in seconds; nearest rank."""

    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The summary of one call."""

    turns: int
    within_budget: float | None  # share of the measured turns, 0..1; None without turns
    v2v: Spread | None
    parts: dict[str, Spread] = field(default_factory=dict[str, Spread])
    barge_ins: int = 0
    early_answers: int = 0  # that were asked for before the turn was decided, and taken
    early_dropped: int = 0  # that nobody heard, and that are billed
    provider_failures: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])  # the same, by provider
    exhausted: int = 0  # pieces of work for which a stage had no rung left
    surprises: int = 0  # edges that the phase table does not have
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    heard_by_stt_s: float = 0.0
    cost: float | None = None  # in the price table's currency; None when a price is unknown
    costs: Costs = field(default_factory=Costs)
    length_s: float = 0.0
    reason: str = ""


def failed_provider(event: Event) -> str | None:
    """Return who failed, if a fact says that a provider did.

    A request that would have been wrong at any rung, such as one that is too long, is nobody's
    failure.
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
    """Adds one call's facts up as they come; it keeps eight numbers of a turn, and no fact."""

    def __init__(self) -> None:
        self._counts: Counter[type[Event]] = Counter()
        self._usage: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._bill = Bill()
        self._v2v_s = array("d")  # eight bytes an answer; a list of floats takes four times that
        self._parts = {field_.name: array("d") for field_ in fields(TurnParts)}
        self._ended: CallEnded | None = None

    def add(self, event: Event) -> None:
        """Count one fact."""
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
        """Return what the facts so far add up to."""
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
    """Return what the facts of one call add up to."""
    tally = Tally()
    for event in events:
        tally.add(event)
    return tally.outcome()
