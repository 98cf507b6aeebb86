"""What a call came to: its turns, its parts' percentiles, its tokens, its failures."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from math import ceil

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
    provider_failures: int = 0
    surprises: int = 0  # edges that the phase table does not have
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    heard_by_stt_s: float = 0.0
    cost: float | None = None  # in the price table's currency; None when a price is unknown
    length_s: float = 0.0
    reason: str = ""


def spread(values: Sequence[float]) -> Spread:
    """Return the percentiles of at least one value."""
    ordered = sorted(values)
    return Spread(p50_s=_rank(ordered, 0.50), p95_s=_rank(ordered, 0.95))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def outcome(events: Iterable[Event], *, cost: float | None = None) -> Outcome:
    """Return what the facts of one call add up to."""
    told: dict[type[Event], list[Event]] = defaultdict(list)
    for event in events:
        told[type(event)].append(event)
    answers = [each for each in told[AnswerHeard] if isinstance(each, AnswerHeard)]
    usage = _usage(each for each in told[UsageMeasured] if isinstance(each, UsageMeasured))
    ended = next((each for each in told[CallEnded] if isinstance(each, CallEnded)), None)
    return Outcome(
        turns=len(answers),
        within_budget=1 - len(told[BudgetMissed]) / len(answers) if answers else None,
        v2v=spread([each.v2v_s for each in answers]) if answers else None,
        parts=_parts(answers),
        barge_ins=len(told[BargedIn]),
        provider_failures=len(told[ProviderFailed]),
        surprises=len(told[PhaseRefused]),
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]),
        characters=int(usage["characters"]),
        heard_by_stt_s=usage["audio_s"],
        cost=cost,
        length_s=ended.length_s if ended else 0.0,
        reason=ended.reason if ended else "",
    )


def _parts(answers: Sequence[AnswerHeard]) -> dict[str, Spread]:
    if not answers:
        return {}
    names = [each.name for each in fields(TurnParts)]
    return {name: spread([getattr(each.parts, name) for each in answers]) for name in names}


def _usage(measured: Iterable[UsageMeasured]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in measured:
        for name in ("prompt_tokens", "completion_tokens", "characters", "audio_s"):
            total[name] += getattr(each, name)
    return total
