"""The list of providers; importing it imports none of them.

`kind: pipecat` stands for any of Pipecat's services. `data/services.yaml` describes those that we
have read; any other one gets the careful facts of `RungFacts`.
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
SOCKET: Final = ("wss", "ws")
HTTP: Final = ("https", "http")
_SUFFIX: Final = re.compile(r"(?<=.)(Http|Realtime|Sync|Responses)*(STT|LLM|TTS)?Service$")
_CAREFUL: Final = RungFacts(shares=True, schemes=SOCKET + HTTP)

_ADAPTERS: Final[tuple[tuple[Stage, str], ...]] = (
    ("stt", "recogniser"), ("llm", "model"), ("tts", "voice"),
)  # fmt: skip

PROVIDERS: Final[tuple[Provider, ...]] = (
    Provider(
        stage="stt",
        kind="deepgram",
        module=f"{_PACKAGE}.deepgram",
        title="Deepgram",
        requests=f"{_PACKAGE}.deepgram_requests",
        url="wss://api.deepgram.com",
        key_env="DEEPGRAM_API_KEY",
        facts=RungFacts(
            finalises=True, interim=True, asks_cheaply=True, schemes=SOCKET, symptoms="deepgram"
        ),
    ),
    Provider(
        stage="stt",
        kind="soniox",
        module=f"{_PACKAGE}.adapter.recogniser",
        requests=f"{_PACKAGE}.adapter.recogniser_requests",
        title="Soniox",
        url="wss://stt-rt.soniox.com/transcribe-websocket",
        key_env="SONIOX_API_KEY",
        service="pipecat.services.soniox.stt:SonioxSTTService",
        facts=RungFacts(finalises=True, interim=True, schemes=SOCKET),
    ),
    Provider(
        stage="stt",
        kind="assemblyai",
        module=f"{_PACKAGE}.adapter.recogniser",
        requests=f"{_PACKAGE}.adapter.recogniser_requests",
        title="AssemblyAI",
        url="wss://streaming.assemblyai.com/v3/ws",
        key_env="ASSEMBLYAI_API_KEY",
        service="pipecat.services.assemblyai.stt:AssemblyAISTTService",
        facts=RungFacts(finalises=True, interim=True, schemes=SOCKET),
    ),
    Provider(
        stage="stt",
        kind="local",
        module=f"{_PACKAGE}.local_stt",
        title="The local recogniser",
        facts=RungFacts(finalises=True, interim=True, is_local=True),
    ),
    Provider(
        stage="llm",
        kind="openai",
        module=f"{_PACKAGE}.openai",
        title="OpenAI",
        url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        facts=RungFacts(
            says_why=True, asks_cheaply=True, shares=True, schemes=HTTP, symptoms="openai"
        ),
    ),
    Provider(
        stage="llm",
        kind="anthropic",
        module=f"{_PACKAGE}.adapter.model",
        service="pipecat.services.anthropic.llm:AnthropicLLMService",
        title="Anthropic",
        url="https://api.anthropic.com",
        key_env="ANTHROPIC_API_KEY",
        facts=RungFacts(says_why=True, shares=True, schemes=HTTP, symptoms="anthropic"),
    ),
    Provider(
        stage="llm",
        kind="gemini",
        module=f"{_PACKAGE}.adapter.model",
        service="pipecat.services.google.llm:GoogleLLMService",
        title="Google",
        url="https://generativelanguage.googleapis.com",
        key_env="GOOGLE_API_KEY",
        facts=RungFacts(says_why=True, shares=True, schemes=HTTP, symptoms="gemini"),
    ),
    Provider(
        stage="tts",
        kind="cartesia",
        module=f"{_PACKAGE}.cartesia",
        title="Cartesia",
        url="wss://api.cartesia.ai/tts/websocket",
        key_env="CARTESIA_API_KEY",
        facts=RungFacts(
            word_times=True,
            cancels=True,
            asks_cheaply=True,
            schemes=SOCKET,
            clause=ClauseRule(words=3),  # reasons: in its module
            symptoms="cartesia",
        ),
    ),
    Provider(
        stage="tts",
        kind="elevenlabs",
        module=f"{_PACKAGE}.elevenlabs",
        title="ElevenLabs",
        url="wss://api.elevenlabs.io",
        key_env="ELEVENLABS_API_KEY",
        facts=RungFacts(
            word_times=True,
            cancels=True,
            asks_cheaply=True,
            schemes=SOCKET,
            clause=ClauseRule(words=4),  # reasons: in its module
            symptoms="elevenlabs",
        ),
    ),
    Provider(
        stage="tts",
        kind="aura",
        module=f"{_PACKAGE}.adapter.voice",
        service="pipecat.services.deepgram.tts:DeepgramTTSService",
        title="Deepgram",
        url="wss://api.deepgram.com",
        key_env="DEEPGRAM_API_KEY",
        facts=RungFacts(schemes=SOCKET, symptoms="deepgram"),
    ),
    Provider(
        stage="tts",
        kind="openai",
        module=f"{_PACKAGE}.adapter.voice",
        service="pipecat.services.openai.tts:OpenAITTSService",
        title="OpenAI",
        url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        facts=RungFacts(
            cancels=True, shares=True, schemes=HTTP, rates_hz=(24000,), symptoms="openai"
        ),
    ),
    Provider(
        stage="tts",
        kind="local",
        module=f"{_PACKAGE}.local_tts",
        title="The local voice",
        facts=RungFacts(word_times=True, cancels=True, is_local=True),
    ),
    *(
        Provider(
            stage=stage,
            kind=ADAPTED,
            module=f"{_PACKAGE}.adapter.{module}",
            requests=f"{_PACKAGE}.adapter.recogniser_requests" if stage == "stt" else "",
            title="Pipecat",
            facts=_CAREFUL,
        )
        for stage, module in _ADAPTERS
    ),
)


@cache
def end_reasons() -> Mapping[str, str]:
    """Return OpenAI's `finish_reason` for each vendor's word for why an answer ended."""
    table = yaml.safe_load((DATA / "stop_reasons.yaml").read_text("utf-8"))
    return {word: reason for reason, words in table.items() for word in words}


@cache
def _services() -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of the table of Pipecat's services, by `module:Class`."""
    table = yaml.safe_load((DATA / "services.yaml").read_text("utf-8"))
    return {f"pipecat.services.{place}": row for place, row in table.items()}


def known_services(stage: Stage) -> tuple[str, ...]:
    """Return the services of a stage that the table describes."""
    return tuple(name for name, row in _services().items() if row["stage"] == stage)


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
            return _adapted(item, service) if kind == ADAPTED and service else item
    raise KeyError((stage, kind))


@cache
def _adapted(item: Provider, service: str) -> Provider:
    """Return the entry of a Pipecat service; an unknown one is named for its class."""
    row = {name: _as_tuple(value) for name, value in _services().get(service, {}).items()}
    facts = {field.name: row[field.name] for field in fields(RungFacts) if field.name in row}
    return replace(
        item,
        service=service,
        title=row.get("title") or _SUFFIX.sub("", service.partition(":")[2]),
        url=row.get("url", ""),
        key_env=row.get("key_env"),
        facts=replace(item.facts, **facts),
    )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
