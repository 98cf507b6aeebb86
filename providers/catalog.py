"""The list of providers; importing it imports none of them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from fallbacks.ladder import ClauseRule
from providers.provider import Provider, Stage

_PACKAGE: Final = __name__.rpartition(".")[0]

PROVIDERS: Final[tuple[Provider, ...]] = (
    Provider(
        stage="stt",
        kind="deepgram",
        module=f"{_PACKAGE}.deepgram",
        title="Deepgram",
        requests=f"{_PACKAGE}.deepgram_requests",
        url="wss://api.deepgram.com",
        schemes=("wss", "ws"),
        key_env="DEEPGRAM_API_KEY",
    ),
    Provider(
        stage="stt",
        kind="local",
        module=f"{_PACKAGE}.local_stt",
        title="The local recogniser",
    ),
    Provider(
        stage="llm",
        kind="openai",
        module=f"{_PACKAGE}.openai",
        title="OpenAI",
        url="https://api.openai.com/v1",
        schemes=("https", "http"),
        key_env="OPENAI_API_KEY",
        shares=True,
    ),
    Provider(
        stage="tts",
        kind="cartesia",
        module=f"{_PACKAGE}.cartesia",
        title="Cartesia",
        url="wss://api.cartesia.ai/tts/websocket",
        schemes=("wss", "ws"),
        key_env="CARTESIA_API_KEY",
        clause=ClauseRule(words=3),  # reasons: in its module
        word_times=True,
    ),
    Provider(
        stage="tts",
        kind="elevenlabs",
        module=f"{_PACKAGE}.elevenlabs",
        title="ElevenLabs",
        url="wss://api.elevenlabs.io",
        schemes=("wss", "ws"),
        key_env="ELEVENLABS_API_KEY",
        clause=ClauseRule(words=4),  # reasons: in its module
        word_times=True,
    ),
    Provider(
        stage="tts",
        kind="local",
        module=f"{_PACKAGE}.local_tts",
        title="The local voice",
        word_times=True,
    ),
)


@cache
def openai_servers() -> Mapping[str, str]:
    """Return addresses of servers that `kind: openai` can use, by name."""
    file = Path(__file__).with_name("data") / "openai_servers.yaml"
    return yaml.safe_load(file.read_text("utf-8"))


def kinds(stage: Stage) -> tuple[str, ...]:
    """Return the kinds that a rung of this stage may have."""
    return tuple(item.kind for item in PROVIDERS if item.stage == stage)


def provider(stage: Stage, kind: str) -> Provider:
    """Return the provider of that kind.

    Raises:
        KeyError: The stage has no such kind; `kinds` lists those it has.
    """
    for item in PROVIDERS:
        if (item.stage, item.kind) == (stage, kind):
            return item
    raise KeyError((stage, kind))
