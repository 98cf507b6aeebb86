"""The processes of `holdline serve`, and reloads of the configuration."""

import json
import shutil
from pathlib import Path

import pytest
from loguru import logger

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


@pytest.mark.parametrize(
    "changed",
    [{"port": 8090}, {"store": "redis://127.0.0.1:6379"}, {"machine": "b"}, {"max_calls": 3}],
    ids=str,
)
def test_a_reload_says_what_needs_a_restart(
    changed: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, monkeypatch)
    Path("holdline.yaml").write_text(json.dumps({"server": changed}), encoding="utf-8")
    told: list[str] = []
    sink = logger.add(told.append, format="{message}", level="WARNING")

    said = plan.renew()

    logger.remove(sink)
    assert not said.problems
    keys = [key for key in changed if key != "max_calls"]
    assert told == [f"a change of server.{key} needs a restart\n" for key in keys]
