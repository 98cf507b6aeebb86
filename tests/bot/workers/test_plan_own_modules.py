"""An owner's module is found next to the configuration that names it, wherever a command runs."""

import ast
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from bot.__main__ import run
from bot.workers.plan import ServePlan
from configuration.loading import load
from operations.telemetry import logs

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "own_tool.py"
LOCAL = """
server: {port: 0}
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: KEY}]
  tts: [{name: voice, kind: local}]
"""
OWNED = ("own_tool", "strange", "colorsys", "loud")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a configuration without tools; commands run elsewhere."""
    for name in ("etc", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("KEY", "k")
    file = tmp_path / "etc" / "holdline.yaml"
    file.write_text(LOCAL, encoding="utf-8")
    for name in OWNED:
        sys.modules.pop(name, None)
    yield file
    for name in OWNED:
        sys.modules.pop(name, None)


def add_tool(config: Path, lines: str) -> None:
    config.write_text(f"{LOCAL}\n{lines}\n", encoding="utf-8")


def doctor(config: Path, told: pytest.CaptureFixture[str]) -> str:
    run(["doctor", "--config", str(config)])
    return told.readouterr().out


def test_the_examples_two_lines_are_enough_with_the_module_next_to_them(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(EXAMPLE, config.parent)
    said = ast.get_docstring(ast.parse(EXAMPLE.read_text(encoding="utf-8"))) or ""
    lines = [line for line in said.splitlines() if line.startswith("    ")]
    assert len(lines) == 2
    add_tool(config, textwrap.dedent("\n".join(lines)))

    assert "ok      tool own_tool:opening_hours: loads" in doctor(config, capsys)


def test_a_module_in_the_working_directory_is_not_used(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("strange.py").write_text("def use(): ...\n", encoding="utf-8")
    add_tool(config, 'agent: {tools: [{entry_point: "strange:use"}]}')

    assert "problem tool strange:use: cannot be loaded: ModuleNotFoundError" in doctor(
        config, capsys
    )


def test_an_owners_module_does_not_replace_another(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "colorsys.py").write_text("raise SystemExit('not ours')\n", encoding="utf-8")
    add_tool(config, 'agent: {tools: [{entry_point: "colorsys:rgb_to_hls"}]}')

    assert "ok      tool colorsys:rgb_to_hls: loads" in doctor(config, capsys)


def test_workers_find_an_owners_module_also_when_a_reload_adds_the_tool(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "house").mkdir()
    plan = ServePlan(config, {}, load(config), folder=tmp_path / "house")
    before = list(sys.path)
    add_tool(config, 'agents: {night: {tools: [{entry_point: "own_tool:opening_hours"}]}}')

    plan.renew()

    assert str(config.parent) not in before  # no configuration asked for it
    assert sys.path[-1] == str(config.parent)  # which each new worker is given


def test_an_owners_folder_is_searched_once(config: Path) -> None:
    add_tool(config, 'agent: {tools: [{entry_point: "own_tool:opening_hours"}]}')

    for _ in range(2):
        load(config)

    assert sys.path.count(str(config.parent)) == 1


@pytest.mark.parametrize(("name", "problems"), [("OwnVoice", 0), ("Missing", 1)])
def test_a_reload_keeps_the_log_if_the_module_of_a_service_removes_its_outputs(
    config: Path, tmp_path: Path, name: str, problems: int
) -> None:
    (tmp_path / "house").mkdir()
    plan = ServePlan(config, {}, load(config), folder=tmp_path / "house")
    logs.set_up(level="INFO", folder=tmp_path / "logs")
    lines = "from loguru import logger", "from tests.providers.adapter.own_services import OwnVoice"
    (config.parent / "loud.py").write_text("\n".join([*lines, "logger.remove()"]), "utf-8")
    rung = f"kind: pipecat, service: 'loud:{name}', api_key_env: KEY"
    config.write_text(LOCAL.replace("name: voice, kind: local", rung), "utf-8")

    assert len(plan.renew().problems) == problems
    logger.info("renewed")
    logs.flush()
    logger.remove()

    log = (tmp_path / "logs" / logs.FILE).read_text("utf-8")
    assert ("renewed" in log, log.count("is not reloaded")) == (True, problems)
