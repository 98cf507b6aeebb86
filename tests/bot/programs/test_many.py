"""What `holdline serve` runs behind its port, and how the configuration is read anew."""

from pathlib import Path

import pytest

from bot.config.loading import load
from bot.programs.many import ServePlan

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")


def test_a_file_that_is_gone_when_it_is_read_anew_is_not_the_built_in_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for each in KEYS:
        monkeypatch.setenv(each, "k")
    file = Path("holdline.yaml")
    file.write_text("agent: {greeting: This is ours.}", encoding="utf-8")
    folder = tmp_path / "house"
    folder.mkdir()
    plan = ServePlan(None, {}, load(), folder=folder)
    file.rename("holdline.yaml~")  # as some editors do before they write

    said = plan.renew()

    assert said.problems == ("holdline.yaml: there is no such file",)
    assert plan.settings.agent.greeting == "This is ours."
