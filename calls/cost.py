"""What measured use costs, by a table of prices; what the table does not know costs None."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calls.events import UsageMeasured

_VERSION: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""The snapshot in a model's name: asked for `gpt-4.1-mini`, OpenAI names `…-2025-04-14`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The price of one model, in the table's currency; None where nothing is sold by that unit."""

    stage: str
    model: str
    date: str  # ISO 8601, when the source said so
    source: str
    prompt_per_million: float | None = None  # tokens
    cached_per_million: float | None = None  # tokens that the provider had in its cache
    completion_per_million: float | None = None  # tokens
    characters_per_million: float | None = None
    audio_per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Every price that is known."""

    currency: str
    rates: Mapping[tuple[str, str], Rate]  # by stage and model

    def price(self, usage: UsageMeasured) -> float | None:
        """Return what this use costs; None when it is not known."""
        return cost(usage, self)


def cost(usage: UsageMeasured, table: PriceTable) -> float | None:
    """Return what a measured use costs in the table's currency, or None: never a guess.

    Prompt tokens include the cached ones, as OpenAI's `usage` counts them.
    """
    rate = _rate(usage, table)
    if rate is None:
        return None
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    parts = (
        _part(usage.prompt_tokens - cached, rate.prompt_per_million, 1e6),
        _part(cached, rate.cached_per_million, 1e6),
        _part(usage.completion_tokens, rate.completion_per_million, 1e6),
        _part(usage.characters, rate.characters_per_million, 1e6),
        _part(usage.audio_s, rate.audio_per_minute, 60.0),
    )
    known = [each for each in parts if each is not None]
    return sum(known) if len(known) == len(parts) else None


def _rate(usage: UsageMeasured, table: PriceTable) -> Rate | None:
    exact = table.rates.get((usage.stage, usage.model))
    return exact or table.rates.get((usage.stage, _VERSION.sub("", usage.model)))


def _part(amount: float, price: float | None, unit: float) -> float | None:
    if amount == 0:
        return 0.0
    return None if price is None else amount * price / unit
