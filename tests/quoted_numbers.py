"""Numbers that a document quotes from the code, each followed by a comment that names its source.

`1.43 s<!-- processors.holding.late_answer_rules.LAST_S -->` quotes a constant,
`1.5 s<!-- latency.budget_s -->` the default of a configuration key. A table's entry, a parameter's
default and a field's default are named like attributes: `bot.health.policies.PACES.llm.gap_s`.
"""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from configuration.settings import Settings

WORDS: Final[Mapping[str, float]] = {
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "twice": 2.0,
    "half": 0.5,
    "a tenth": 0.1,
    "a twentieth": 0.05,
}
UNITS: Final = {"": 1.0, "s": 1.0, "minutes": 60.0, "h": 3600.0, "%": 0.01}
_NUMBER: Final = r"(?:\d+(?:\.\d+)?|" + "|".join(item.replace(" ", r"\s+") for item in WORDS) + ")"
_ROW: Final = rf"(?:\d+(?:\.\d+)?(?:, | … | and then every ))*{_NUMBER}"
QUOTE: Final = re.compile(
    rf"(?<![\w.])(?P<row>{_ROW})\s*(?P<unit>s|minutes|h|%)?`?<!-- (?P<place>[\w.]+) -->",
    re.IGNORECASE,
)
PLACE: Final = re.compile(r"<!--\s+([\w.]+)\s+-->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One number or a row of numbers, and the name of the constant that it quotes."""

    place: str
    numbers: tuple[float, ...]


def quotes(text: str) -> Iterator[Quote]:
    """Yield the quotes in a document's text."""
    for found in QUOTE.finditer(text):
        words = re.findall(_NUMBER, found["row"], re.IGNORECASE)
        unit = UNITS[found["unit"] or ""]
        yield Quote(place=found["place"], numbers=tuple(_value(word) * unit for word in words))


def _value(word: str) -> float:
    known = WORDS.get(" ".join(word.lower().split()))
    return float(word) if known is None else known


def constant(place: str) -> tuple[float, ...]:
    """Return the value of a configuration key, a constant or a default, as a tuple of numbers."""
    parts = place.split(".")
    value: Any
    try:
        value = reduce(_member, parts, Settings)
    except (AttributeError, KeyError):  # `transports` is both a configuration section and a package
        module, rest = _module(parts)
        value = reduce(_member, rest, module)
    return tuple(value) if isinstance(value, tuple) else (float(value),)


def _module(parts: list[str]) -> tuple[Any, list[str]]:
    """Import the longest module path that begins a dotted name; return it and the other parts."""
    for end in range(len(parts) - 1, 0, -1):
        with suppress(ModuleNotFoundError):
            return importlib.import_module(".".join(parts[:end])), parts[end:]
    raise ModuleNotFoundError(".".join(parts))


def _member(value: Any, name: str) -> Any:
    if isinstance(value, type):
        return inspect.signature(value).parameters[name].default
    if isinstance(value, Mapping):
        return value[name]
    return getattr(value, name)
