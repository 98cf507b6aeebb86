"""Reads the price list of providers, from a file or the built-in one."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import Field, ValidationError

from calls.cost import PriceTable, Rate
from configuration.errors import ConfigError, Problem, dotted
from configuration.files import value_of
from configuration.values import Section, Text
from providers.provider import Stage

BUILT_IN: Final = Path(__file__).parent / "defaults" / "prices.yaml"

_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Row(Section):
    stage: Stage
    model: Text
    date: date
    source: Text
    note: str = ""
    prompt_per_million: _Price | None = None
    cached_per_million: _Price | None = None
    completion_per_million: _Price | None = None
    characters_per_million: _Price | None = None
    audio_per_minute: _Price | None = None


class _File(Section):
    currency: Text
    prices: tuple[_Row, ...]


def load_prices(file: Path | None = None) -> PriceTable:
    """Return the prices in `file`, or Holdline's own; blocks.

    Raises:
        ConfigError: The file cannot be read or is not a valid price list.
    """
    path = file or BUILT_IN
    try:
        read = _File.model_validate(value_of(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(where=str(path), text=f"cannot be read: {error}")]) from error
    except ValidationError as error:
        raise ConfigError(
            Problem(where=str(path), text=f"{dotted(item['loc'])}: {item['msg']}", key=item["loc"])
            for item in error.errors()
        ) from error
    _refuse_doubles(read, path)
    return PriceTable(
        currency=read.currency,
        rates={(row.stage, row.model): _rate_from_row(row) for row in read.prices},
    )


def _refuse_doubles(read: _File, path: Path) -> None:
    """Raise `ConfigError`, with a line for each model that has two prices."""
    counted = Counter((row.stage, row.model) for row in read.prices)
    doubles = [f"{stage} {model}" for (stage, model), times in counted.items() if times > 1]
    if doubles:
        raise ConfigError(
            Problem(where=str(path), text=f"prices: {double} is priced twice") for double in doubles
        )


def _rate_from_row(row: _Row) -> Rate:
    return Rate(**row.model_dump(exclude={"note", "date"}), date=row.date.isoformat())
