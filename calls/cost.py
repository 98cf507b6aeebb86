"""The cost of measured usage, from a price table; `None` if a price is unknown.

`CostMeter` prices each usage event once, between the call and its listeners, so every record has
the price that was known during the call. `Bill` adds up the prices.
"""

import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from calls.events import CallEnded, Event, TurnCosted, TurnDecided, UsageMeasured

_VERSION: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""The snapshot in a model's name: for `gpt-4.1-mini`, OpenAI reports `…-2025-04-14`."""

# The latest turns, whose cost may still change: usage arrives within seconds (chosen).
KEPT_TURNS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The prices of one model, in the table's currency; `None` for units it is not sold by."""

    stage: str
    model: str
    date: str  # ISO 8601, if the source gives one
    source: str
    prompt_per_million: float | None = None  # tokens
    cached_per_million: float | None = None  # tokens from the provider's cache
    completion_per_million: float | None = None  # tokens
    characters_per_million: float | None = None
    audio_per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """All known prices."""

    currency: str
    rates: Mapping[tuple[str, str], Rate]  # by stage and model


def cost(usage: UsageMeasured, table: PriceTable) -> float | None:
    """Return the cost of usage in the table's currency; `None` if a price is missing.

    Only units that were used need a price. Prompt tokens include the cached ones, as OpenAI's
    `usage` counts them.
    """
    rate = _find_rate(usage, table)
    if rate is None:
        return None
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    parts = (
        _part_cost(usage.prompt_tokens - cached, rate.prompt_per_million, 1e6),
        _part_cost(cached, rate.cached_per_million, 1e6),
        _part_cost(usage.completion_tokens, rate.completion_per_million, 1e6),
        _part_cost(usage.characters, rate.characters_per_million, 1e6),
        _part_cost(usage.audio_s, rate.audio_per_minute, 60.0),
    )
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _find_rate(usage: UsageMeasured, table: PriceTable) -> Rate | None:
    """Return the rate of a model, else that of its name without a snapshot's date, or `None`."""
    exact = table.rates.get((usage.stage, usage.model))
    return exact or table.rates.get((usage.stage, _VERSION.sub("", usage.model)))


def _part_cost(amount: float, price: float | None, unit: float) -> float | None:
    """Return the cost of an amount at a price per `unit`.

    `None` if it has no price, 0 for nothing.
    """
    if amount == 0:
        return 0.0
    return None if price is None else amount * price / unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The cost of a call, in parts; a sum is `None` if a price in it is unknown."""

    currency: str = ""
    turns: dict[int, float | None] = field(default_factory=dict[int, float | None])  # 0: greeting
    stages: dict[str, float | None] = field(default_factory=dict[str, float | None])
    providers: dict[str, float | None] = field(default_factory=dict[str, float | None])
    behind: float | None = 0.0  # the cost of model requests after the end of the call
    unpriced: tuple[str, ...] = ()  # stages and models without a known price
    estimated: bool = False  # whether a part is our own estimate


class Bill:
    """Adds up priced usage; keeps eight bytes per turn, and no events."""

    def __init__(self) -> None:
        """Begin without usage: the total is 0, and the currency unknown."""
        self.currency = ""
        self._turns = array("d")  # NaN if unknown, whatever is added
        self._after_call = 0.0  # the cost of usage after the call, which belongs to no turn
        self._stages: dict[str, float] = {}
        self._providers: dict[str, float] = {}
        self._unpriced: dict[str, None] = {}  # in order of first use
        self._estimated = False

    def add(self, event: Event) -> None:
        """Add usage, or take the currency from `TurnCosted`; ignore other events.

        `TurnCosted` adds no cost: it has the sum of usage that is added on its own.
        """
        match event:
            case UsageMeasured():
                self._add_to_sums(event, math.nan if event.cost is None else event.cost)
            case TurnCosted():
                self.currency = event.currency
            case _:
                pass

    @property
    def total(self) -> float | None:
        """The cost of everything; `None` if a price is unknown."""
        return _none_if_nan(math.fsum((*self._turns, self._after_call)))

    @property
    def costs(self) -> Costs:
        """The cost in parts."""
        return Costs(
            currency=self.currency,
            turns={turn: _none_if_nan(cost) for turn, cost in enumerate(self._turns)},
            stages={stage: _none_if_nan(cost) for stage, cost in self._stages.items()},
            providers={provider: _none_if_nan(cost) for provider, cost in self._providers.items()},
            behind=_none_if_nan(self._after_call),
            unpriced=tuple(self._unpriced),
            estimated=self._estimated,
        )

    def turn_cost(self, turn: int) -> float | None:
        """Return the cost of a turn; `None` if a price is unknown, 0 without any usage."""
        return _none_if_nan(self._turns[turn]) if turn < len(self._turns) else 0.0

    def _add_to_sums(self, usage: UsageMeasured, cost: float) -> None:
        """Add usage to each sum it belongs to; a `cost` of NaN makes these sums unknown."""
        if usage.behind_call:
            self._after_call += cost
        else:
            missing = usage.turn + 1 - len(self._turns)
            self._turns.extend([0.0] * missing)
            self._turns[usage.turn] += cost
        self._stages[usage.stage] = self._stages.get(usage.stage, 0.0) + cost
        self._providers[usage.provider] = self._providers.get(usage.provider, 0.0) + cost
        self._estimated = self._estimated or usage.estimated
        if math.isnan(cost):
            self._unpriced[unpriced(usage)] = None


def _none_if_nan(cost: float) -> float | None:
    return None if math.isnan(cost) else cost


def unpriced(usage: UsageMeasured) -> str:
    """Return the name of usage whose price is missing in the table: stage and model."""
    return f"{usage.stage} {usage.model or f'of {usage.provider}'}"


class CostMeter:
    """Prices one call's usage as it is measured, and publishes the cost of each turn.

    A turn's cost is published when the next turn is decided, or when the call ends. Later usage is
    added, and the turn's cost is published again, but only for the latest `KEPT_TURNS` turns.
    """

    def __init__(self, table: PriceTable) -> None:
        self._table = table
        self._turns: dict[int, TurnCosted] = {}  # the cost of the latest turns so far
        self._current = 0  # the latest decided turn; the costs of earlier ones were published

    def handle(self, event: Event) -> tuple[Event, ...]:
        """Return the events to publish in place of `event`, which is one of them, priced.

        The costs of the turns that are over come before `TurnDecided` and `CallEnded`.
        """
        match event:
            case UsageMeasured():
                return self._price_usage(event)
            case TurnDecided():
                return (*self._close_turns(event.turn), event)
            case CallEnded():
                return (*self._close_turns(max((self._current, *self._turns)) + 1), event)
            case _:
                return (event,)

    def _price_usage(self, usage: UsageMeasured) -> tuple[Event, ...]:
        """Return usage with its cost; after it, the new cost of its turn if that was published."""
        usage = replace(usage, cost=cost(usage, self._table))
        so_far = self._turns.get(usage.turn) or TurnCosted(
            turn=usage.turn, cost=0.0, currency=self._table.currency
        )
        self._turns[usage.turn] = total = _add_usage(so_far, usage)
        return (usage, total) if usage.turn < self._current else (usage,)

    def _close_turns(self, turn: int) -> tuple[TurnCosted, ...]:
        """Return the unpublished costs of turns before `turn`, and forget old turns."""
        due = [costed for costed in self._turns.values() if self._current <= costed.turn < turn]
        self._turns = {n: costed for n, costed in self._turns.items() if n >= turn - KEPT_TURNS}
        self._current = turn
        return tuple(sorted(due, key=lambda costed: costed.turn))


def _add_usage(turn: TurnCosted, usage: UsageMeasured) -> TurnCosted:
    """Return the cost of a turn with this usage added; `None` as its sum if a price is unknown."""
    unknown = [unpriced(usage)] if usage.cost is None else []
    return replace(
        turn,
        cost=None if turn.cost is None or usage.cost is None else turn.cost + usage.cost,
        unpriced=tuple(dict.fromkeys([*turn.unpriced, *unknown])),
        estimated=turn.estimated or usage.estimated,
    )
