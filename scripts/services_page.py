"""Writes the tables of `docs/services.md` from the catalogue and the tables of providers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lab.simulators.openai.like import oddities
from providers.adapter.service_class import extra_of
from providers.catalog import ADAPTED, DATA, PROVIDERS, known_services, provider
from providers.facts import RungFacts
from providers.openai_servers import OpenAIServer, openai_servers
from providers.provider import Provider, Stage

PAGE: Final = Path(__file__).parents[1] / "docs" / "services.md"
BEGIN: Final = "<!-- services: written by scripts/services_page.py -->\n"
END: Final = "<!-- services: end -->\n"
STAGES: Final[Mapping[Stage, str]] = {"stt": "Recognisers", "llm": "Models", "tts": "Voices"}
PREFIX: Final = "pipecat.services."
HEAD: Final = (
    "| `kind` or `service` | vendor | gives | promises | extra | key | tried |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
SERVERS: Final = (
    "| server | `url` | usual variable | differs from OpenAI's requests | tried |\n"
    "| --- | --- | --- | --- | --- |\n"
)
GIVES: Final = {
    "finalises": "finishes on request",
    "interim": "results while the caller speaks",
    "says_why": "says why an answer ended",
    "word_times": "word times",
    "cancels": "falls silent on request",
    "is_local": "runs on this machine",
}


LEAST: Final[Mapping[Stage, str]] = {
    "stt": "words at the end of an utterance",
    "llm": "text",
    "tts": "sound",
}


def tables() -> str:
    """Return a table for each stage, and that of the servers with OpenAI's protocol."""
    parts = [f"## {title}\n\n{HEAD}{''.join(_rows(stage))}" for stage, title in STAGES.items()]
    servers = "".join(_server(name, row) for name, row in openai_servers().items() if row.title)
    return "\n".join([*parts, f"## Models with OpenAI's protocol\n\n{SERVERS}{servers}"])


def _rows(stage: Stage) -> Iterator[str]:
    """Yield the providers of a stage: those with a kind of their own, then Pipecat's services."""
    own = [item for item in PROVIDERS if item.stage == stage and item.kind != ADAPTED]
    table: Mapping[str, Any] = yaml.safe_load((DATA / "services.yaml").read_text("utf-8"))
    for item in own:
        yield _row(f"`{item.kind}`", item, tried=True)
    for service in known_services(stage):
        item, name = provider(stage, ADAPTED, service), service.removeprefix(PREFIX)
        tried = table[name].get("tried", False) or service in [other.service for other in own]
        yield _row(f"`{name}`", item, tried=tried)


def _row(name: str, item: Provider, *, tried: bool) -> str:
    extra = extra_of(item.service.partition(":")[0]) if item.service else ""
    cells = (
        name,
        item.title,
        ", ".join(_given(item.facts)) or LEAST[item.stage],
        promise(item.stage, item.facts),
        f"`{extra}`" if extra else "",
        f"`{item.key_env}`" if item.key_env else "",
        "itself" if item.kind == "local" else "simulator" if tried else "read only",
    )
    return f"| {' | '.join(cells)} |\n"


def _given(facts: RungFacts) -> Iterator[str]:
    for name, words in GIVES.items():
        if getattr(facts, name):
            yield words
    if facts.rates_hz:
        yield " or ".join(map(str, facts.rates_hz)) + " Hz only"


def promise(stage: Stage, facts: RungFacts) -> str:
    """Return what callers can rely on when a rung with these facts fails or is interrupted."""
    if stage == "stt":
        late = "" if facts.finalises else ", an answer within 2.5 s"
        blind = "" if facts.interim else "; silence is noticed only after the utterance"
        return f"every word{late or ', an answer within 1.5 s'}{blind}"
    if stage == "llm":
        return f"every word once{'' if facts.says_why else ', if it ever says why an answer ended'}"
    times = "" if facts.word_times else ", aligned with the sound (in doubt a word twice)"
    silent = "" if facts.cancels else "; a new connection after each interruption"
    return f"every word once{times}{silent}"


def _server(name: str, server: OpenAIServer) -> str:
    differs = [
        *(f"`{old}` is `{new}`" for old, new in server.renamed.items() if new),
        *(f"no `{old}`" for old, new in server.renamed.items() if not new),
        *(["ids of tool calls with nine characters"] if server.strict else []),
        *([f"adds `{server.body}`"] if server.body else []),
        *([server.note] if server.note else []),
    ]
    cells = (
        server.title,
        f"`{server.url}`",
        f"`{server.key_env}`" if server.key_env else "",
        ", ".join(differs).replace("., ", ". "),
        "simulator" if name in oddities() else "no",
    )
    return f"| {' | '.join(cells)} |\n"


def renew(text: str) -> str:
    """Return the page with the current tables."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
