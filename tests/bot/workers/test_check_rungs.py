"""A rung that no call could use is found at the start, not by a caller."""

from pathlib import Path
from typing import Any

import pytest

from bot.workers.process import open_process
from configuration.settings import Settings
from runtime.exits import UsageError

NOWHERE = "127.0.0.1:9"


def settings_with(folder: Path, change: dict[str, Any]) -> Settings:
    kinds = {"deepgram": "ws", "openai": "http", "cartesia": "ws", "elevenlabs": "ws"}
    ears, mind, first, second = (
        {"kind": kind, "url": f"{scheme}://{NOWHERE}", "api_key": "sk-of-ours"}
        | change.get(kind, {})
        for kind, scheme in kinds.items()
    )
    local = {"kind": "local"}
    stages = {"stt": [ears], "llm": [mind], "tts": [first, second]}
    stages["tts"].append(local | change["local"] if "local" in change else local)
    return Settings.model_validate(
        {
            "stages": stages,
            "logs": {"dir": folder},
            "agent": change.get("agent", {}),
            "agents": change.get("agents", {}),
        }
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deepgram": {"options": {"smart": 1}}}, r"stages\.stt\[0\] \(deepgram.*'smart'.*options"),
        ({"openai": {"options": {"model": "x"}}}, r"stages\.llm\[0\] .*'model'.*options\.model"),
        ({"elevenlabs": {"options": {"stabilty": 1}}}, r"stages\.tts\[1\] .*options\.stabilty"),
        ({"local": {"options": {"pich": 1}}}, r"stages\.tts\[2\] \(local.*'pich'"),
        ({"local": {"voice": "nobody"}}, r"stages\.tts\[2\] .*nobody.*correct voice or language"),
    ],
    ids=str,
)
async def test_a_rung_that_cannot_be_built_prevents_the_start(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        async with open_process(settings_with(tmp_path, change), words=False):
            pass

    assert "\n" not in str(refused.value)
    assert "sk-of-ours" not in str(refused.value)


async def test_each_agents_language_is_tried(tmp_path: Path) -> None:
    change = {"agents": {"lost": {"numbers": ["+15550100"], "name": "Lost", "language": "xx"}}}

    with pytest.raises(UsageError, match="agent Lost"):
        async with open_process(settings_with(tmp_path, change), words=False):
            pass


async def test_a_rung_with_options_of_its_service_opens(tmp_path: Path) -> None:
    options = {"elevenlabs": {"options": {"stability": 0.5}}, "local": {"options": {"pitch": 50}}}

    async with open_process(settings_with(tmp_path, options), words=False) as process:
        assert process.settings.stages.tts[1].options == {"stability": 0.5}
