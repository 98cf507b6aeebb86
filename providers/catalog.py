"""The list of providers; importing it imports none of them.

`data/kinds.yaml` lists those with a kind of their own. `kind: pipecat` stands for any of Pipecat's
services. `data/services.yaml` describes those that we have read; any other one gets the careful
facts of `RungFacts`.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from fallbacks.ladder import ClauseRule
from providers.facts import RungFacts
from providers.provider import Provider, Stage

_PACKAGE: Final = __name__.rpartition(".")[0]
ADAPTED: Final = "pipecat"  # the kind of a rung that the adapter builds from any Pipecat service
DATA: Final = Path(__file__).with_name("data")
_SUFFIX: Final = re.compile(r"(?<=.)(Http|Realtime|Sync|Responses)*(STT|LLM|TTS)?Service$")


def _read_table(name: str) -> Any:
    return yaml.safe_load((DATA / f"{name}.yaml").read_text("utf-8"))


def _facts_in_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a row of a table states, by name."""
    facts = {field.name: row[field.name] for field in fields(RungFacts) if field.name in row}
    facts |= {name: tuple(stated) for name, stated in facts.items() if isinstance(stated, list)}
    return facts | ({"clause": ClauseRule(words=row["clause"])} if "clause" in row else {})


def _provider_from_row(row: Mapping[str, Any]) -> Provider:
    """Return the provider that a row of `kinds.yaml` describes."""
    facts = _facts_in_row(row)
    own: dict[str, Any] = {name: value for name, value in row.items() if name not in facts}
    own |= {name: f"{_PACKAGE}.{own[name]}" for name in ("module", "requests") if name in own}
    return Provider(**own, facts=RungFacts(**facts))


PROVIDERS: Final = tuple(map(_provider_from_row, _read_table("kinds")))


@cache
def end_reasons() -> Mapping[str, str]:
    """Return OpenAI's `finish_reason` for each vendor's word for why an answer ended."""
    return {word: reason for reason, words in _read_table("stop_reasons").items() for word in words}


@cache
def _services_by_place() -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of the table of Pipecat's services, by `module:Class`."""
    return {f"pipecat.services.{place}": row for place, row in _read_table("services").items()}


def known_services(stage: Stage) -> tuple[str, ...]:
    """Return the services of a stage that the table describes."""
    return tuple(name for name, row in _services_by_place().items() if row["stage"] == stage)


def kinds(stage: Stage) -> tuple[str, ...]:
    """Return the kinds that a rung of this stage may have."""
    return tuple(item.kind for item in PROVIDERS if item.stage == stage)


def provider(stage: Stage, kind: str, service: str = "") -> Provider:
    """Return the provider of that kind, and of that service if the kind is `pipecat`.

    Raises:
        KeyError: The stage has no such kind; `kinds` lists those it has.
    """
    for item in PROVIDERS:
        if (item.stage, item.kind) == (stage, kind):
            return _entry_of_service(item, service) if kind == ADAPTED and service else item
    raise KeyError((stage, kind))


@cache
def _entry_of_service(item: Provider, service: str) -> Provider:
    """Return the entry of a Pipecat service; an unknown one is named for its class."""
    row = _services_by_place().get(service, {})
    return replace(
        item,
        service=service,
        title=row.get("title") or _SUFFIX.sub("", service.partition(":")[2]),
        url=row.get("url", ""),
        key_env=row.get("key_env"),
        facts=replace(item.facts, **_facts_in_row(row)),
    )
