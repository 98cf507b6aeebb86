from typing import Any

import pytest

from bot.config.environment import Environment
from bot.config.loading import load
from bot.config.printing import changed_keys
from bot.config.settings import Settings

KEYS = {
    "DEEPGRAM_API_KEY": "a",
    "OPENAI_API_KEY": "b",
    "CARTESIA_API_KEY": "c",
    "ELEVENLABS_API_KEY": "d",
}


def settings(**variables: Any) -> Settings:
    return load(variables=Environment(values={**KEYS, **variables})).settings


@pytest.mark.parametrize(
    ("variables", "changed"),
    [
        ({}, ()),
        ({"HOLDLINE__AGENT__GREETING": "Good morning."}, ("agent.greeting",)),
        ({"HOLDLINE__STAGES__LLM__0__MODEL": "another"}, ("stages.llm[0].model",)),
        ({"OPENAI_API_KEY": "another"}, ("stages.llm[0].api_key",)),
    ],
    ids=["nothing", "a text", "a rung", "a secret"],
)
def test_changed_keys_are_named_without_their_values(
    variables: dict[str, str], changed: tuple[str, ...]
) -> None:
    assert changed_keys(settings(), settings(**variables)) == changed
