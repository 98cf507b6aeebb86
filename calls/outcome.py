"""The outcome of a call: its turns, latency percentiles, tokens and failures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from calls.cost import Costs
from calls.events import BargedIn, BudgetMissed, PhaseRefused
from calls.state import CallState
from calls.timeline import PARTS
from fallbacks.events import EarlyAnswerDropped, EarlyAnswerTaken, StageExhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles of one part of the latency, in seconds (nearest rank)."""

    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The summary of one call."""

    turns: int
    within_budget: float | None  # share of the measured turns, 0 to 1; `None` without turns
    v2v: Spread | None
    parts: dict[str, Spread] = field(default_factory=dict[str, Spread])
    barge_ins: int = 0
    early_answers: int = 0  # requested before the turn was decided, and used
    early_dropped: int = 0  # dropped unheard, and billed
    provider_failures: int = 0
    failures: dict[str, int] = field(default_factory=dict[str, int])  # the same, by provider
    exhausted: int = 0  # requests that failed because a stage had no rung left
    surprises: int = 0  # transitions that are not in the phase table
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    heard_by_stt_s: float = 0.0
    cost: float | None = None  # in the price table's currency; `None` if a price is unknown
    costs: Costs = field(default_factory=Costs)
    length_s: float = 0.0
    reason: str = ""
    verdict: str = ""  # how well the caller was served


def spread(values: Sequence[float]) -> Spread:
    """Return the percentiles of at least one value."""
    ordered = sorted(values)
    return Spread(p50_s=_nearest_rank(ordered, 0.50), p95_s=_nearest_rank(ordered, 0.95))


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    """Return the value at a share, 0 to 1, of values in ascending order; there must be one."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def call_outcome_of(call: CallState) -> Outcome:
    """Return the outcome of a call so far; length and reason are empty until it has ended."""
    answers = len(call.v2v_s)
    counts, ended = call.counts, call.ended
    return Outcome(
        turns=answers,
        within_budget=1 - counts[BudgetMissed] / answers if answers else None,
        v2v=spread(call.v2v_s) if answers else None,
        parts={name: spread(call.parts_s[start :: len(PARTS)]) for start, name in enumerate(PARTS)}
        if answers
        else {},
        barge_ins=counts[BargedIn],
        early_answers=counts[EarlyAnswerTaken],
        early_dropped=counts[EarlyAnswerDropped],
        provider_failures=call.failures.total(),
        failures=dict(call.failures),
        exhausted=counts[StageExhausted],
        surprises=counts[PhaseRefused],
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        characters=call.characters,
        heard_by_stt_s=call.heard_s,
        cost=call.bill.total,
        costs=call.bill.costs,
        length_s=ended.length_s if ended else 0.0,
        reason=ended.reason if ended else "",
        verdict=call.verdict,
    )
