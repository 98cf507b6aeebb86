"""A process tells its configuration, without secrets."""

from typing import Any

from bot.workers.configuration import configuration_of
from configuration.settings import Settings

CARTESIA = {"name": "cartesia", "kind": "cartesia", "url": "wss://c/x", "api_key": "canary"}
STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [CARTESIA, {"name": "voice", "kind": "local"}],
}


def settings_with(**tree: Any) -> Settings:
    return Settings.model_validate({"stages": STAGES, **tree})


def test_the_event_names_agents_and_ladders_and_no_key() -> None:
    told = configuration_of(settings_with(agents={"shop": {"numbers": ["+15550100"]}}))

    assert told.ladders == ("stt ears", "llm mind", "tts cartesia voice")
    assert "shop" in told.agents
    assert "canary" not in repr(told)


def test_processes_with_the_same_configuration_report_the_same_digest() -> None:
    one, same = (configuration_of(settings_with()) for _ in range(2))
    other = configuration_of(settings_with(latency={"budget_s": 2.0}))

    assert one == same
    assert one.digest != other.digest
