"""Creates the calls of a process, each with an id, its agent, its events and their prices."""

import secrets
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import Field, ValidationError

from bot.call.call import Call
from bot.call.shared import Shared
from bot.config.errors import ConfigError, Problem, dotted
from bot.config.files import value_of
from bot.config.values import Section, Text
from calls.cost import CostMeter, PriceTable, Rate
from calls.entry import Numbering, Tell
from calls.events import Event
from operations.telemetry.emitter import Emitter
from processors.answerer.answerer_rules import AnsweringPlan
from providers.provider import Stage
from transports.leg import Leg

BUILT_IN: Final = Path(__file__).parents[1] / "defaults" / "prices.yaml"

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
    """Return the prices in `file`, or Holdline's own.

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
            Problem(where=str(path), text=f"{dotted(text['loc'])}: {text['msg']}", key=text["loc"])
            for text in error.errors()
        ) from error
    _refuse_doubles(read, path)
    return PriceTable(
        currency=read.currency, rates={(row.stage, row.model): _rate(row) for row in read.prices}
    )


def _refuse_doubles(read: _File, path: Path) -> None:
    counted = Counter((row.stage, row.model) for row in read.prices)
    doubles = [f"{stage} {model}" for (stage, model), times in counted.items() if times > 1]
    if doubles:
        raise ConfigError(
            Problem(where=str(path), text=f"prices: {double} is priced twice") for double in doubles
        )


def _rate(row: _Row) -> Rate:
    return Rate(**row.model_dump(exclude={"note", "date"}), date=row.date.isoformat())


def with_prices(tell: Tell, table: PriceTable) -> Tell:
    """Return a `tell` for one call that adds the cost of what was used and passes events on."""
    meter = CostMeter(table)

    def tell_priced(event: Event) -> None:
        for item in meter.handle(event):
            tell(item)

    return tell_priced


UNKNOWN: Final = 100  # entries a lost process may have made after it saved its state (chosen)


class CallMaker:
    """Creates the calls of a process, each with an id, its agent and its own events."""

    def __init__(self, shared: Shared, emitter: Emitter, prices: PriceTable) -> None:
        self._shared = shared
        self._emitter = emitter
        self._prices = prices

    def __call__(self, leg: Leg, answering: AnsweringPlan | None = None) -> Call:
        """Return a call on a leg that has not begun, with the agent of the called number.

        Args:
            leg: The telephone at the other end.
            answering: For a call that we placed: what to say to a machine that picks up; `None`
                without detection.
        """
        before = leg.before
        call_id = (before and before.call_id) or secrets.token_hex(6)
        numbers = Numbering(before.entries + UNKNOWN if before and before.call_id else 0)
        told = self._shared.briefs.agent(leg.facts.dial_id)
        agent = told or self._shared.settings.agent_for(leg.facts.called)
        return Call(
            self._shared,
            leg,
            call_id=call_id,
            agent=agent,
            tell=with_prices(self._emitter.tell_for(call_id, numbers), self._prices),
            numbers=numbers,
            answering=answering or agent.answering,
        )
