"""The processes of `holdline serve`, and reloads of the configuration."""

import shutil
from pathlib import Path

import pytest

from bot.workers.plan import ServePlan
from configuration.loading import load

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")


def plan_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServePlan:
    monkeypatch.chdir(tmp_path)
    for key in KEYS:
        monkeypatch.setenv(key, "k")
    Path("holdline.yaml").write_text("agent: {greeting: This is ours.}", encoding="utf-8")
    folder = tmp_path / "house"
    folder.mkdir()
    return ServePlan(None, {}, load(), folder=folder)


def test_a_reload_without_the_file_does_not_fall_back_to_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, monkeypatch)
    Path("holdline.yaml").rename("holdline.yaml~")  # as some editors do before they write

    said = plan.renew()

    assert said.problems == ("holdline.yaml: there is no such file",)
    assert plan.settings.agent.greeting == "This is ours."


def test_a_worker_finds_its_configuration_after_temporary_files_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "house")

    order = plan.parameters(2)

    assert load(Path(str(order.config))).settings.agent.greeting == "This is ours."
