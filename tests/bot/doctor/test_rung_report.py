"""`holdline providers check` prints what it found and what follows, and exits accordingly."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import run
from bot.doctor.rung_report import Report
from bot.doctor.trial import CheckLine
from configuration.agent import AgentSettings
from configuration.rungs import rung_of
from configuration.settings import Settings
from providers.provider import Stage
from runtime.exits import BAD_USAGE, DONE, FAILED

VOICE = "tests.bot.doctor.test_rung_check:Speaking"
AURA = "pipecat.services.deepgram.tts:DeepgramTTSService"
CONFIG = """\
stages:
  stt: [{kind: local}]
  llm: [{name: mind, kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: MIND_KEY}]
  tts:
    - {kind: local, name: plain}
    - name: mine
      kind: pipecat  # our own
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIND_KEY", raising=False)
    path = tmp_path / "holdline.yaml"
    path.write_text(CONFIG + f'      service: "{VOICE}"\n')
    return path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check", "min"], 'there is no provider "min"; did you mean "mine"? (local, mind,'),
        (["check"], 'takes nothing, "reset NAME" or "check NAME", not "check"'),
        (["chekc", "mine"], 'not "chekc mine"'),
        (["check", "mind"], "MIND_KEY is not set, which holds the key of mind"),
        (["check", "plain", "--write"], "--write is for a rung of kind: pipecat; plain is local"),
        (["reset", "mine", "--write"], '--write is for "providers check NAME"'),
        (["--write"], '--write is for "providers check NAME"'),
    ],
)
def test_a_wrong_command_is_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["providers", *words]) == BAD_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_rung_that_is_as_promised_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "check", "plain"]) == DONE

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "promise every word once, within 1.5 s"
    assert any("interrupted: yes, as Holdline's table says (silent at once)" in it for it in lines)


def test_a_rung_that_does_not_answer_exits_with_1_and_prints_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIND_KEY", "a-key-nobody-may-see")

    assert run(["providers", "check", "mind"]) == FAILED
    told = capsys.readouterr()
    assert "problem a word: mind (127.0.0.1:9) cannot be reached" in told.out
    assert "a-key-nobody-may-see" not in told.out + told.err


@pytest.mark.slow
def test_measured_facts_are_written_and_agree_the_next_time(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + "      facts: {word_times: true}\n")

    assert run(["providers", "check", "mine", "--write"]) == FAILED
    assert "facts: {word_times: false, cancels: true}" in config.read_text()
    assert "# our own" in config.read_text()
    assert f"{config.name}:9: facts of mine" in capsys.readouterr().out
    assert run(["providers", "check", "mine"]) == DONE
    assert "as the configuration says" in capsys.readouterr().out


@pytest.mark.slow
def test_a_service_that_blocks_the_process_is_ended_with_it() -> None:
    code = (
        "import asyncio, time\n"
        "from bot.doctor.rung_report import ending\n"
        "with ending(0.3, 7, 'it blocks'):\n"
        "    asyncio.run(asyncio.to_thread(time.sleep, 600))\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (7, "it blocks")


def report(stage: Stage, **rung: Any) -> Report:
    """Return the report of a rung with these settings."""
    local = {"stt": [{"kind": "local"}], "llm": [{"kind": "openai"}], "tts": [{"kind": "local"}]}
    settings = getattr(Settings.model_validate({"stages": {**local, stage: [rung]}}).stages, stage)
    spec = rung_of(settings[0], stage, agent=AgentSettings(), sample_rate_hz=8000)
    return Report(settings[0], spec)


OWN = {"kind": "pipecat", "service": "own:Voice"}


@pytest.mark.parametrize(
    ("rung", "value", "ok", "said", "kept"),
    [
        (OWN, True, True, "yes, but not as the careful value says", {"cancels": True}),
        (OWN, False, True, "no, as the careful value says", {}),
        ({**OWN, "facts": {"cancels": True}}, True, True, "yes, as the configuration says", {}),
        (
            {**OWN, "facts": {"cancels": True}},
            False,
            False,
            "no, but not as the configuration says",
            {"cancels": False},
        ),
        # The table was read in the sources, so it may be more careful than what happened now.
        ({"kind": "aura"}, True, True, "yes, but not as Holdline's table says", {}),
        ({**OWN, "service": AURA}, True, True, "yes, but not as Holdline's table says", {}),
        (
            {"kind": "cartesia"},
            False,
            False,
            "no, but not as Holdline's table says",
            {"cancels": False},
        ),
    ],
)
def test_a_measured_fact_is_compared_with_the_one_in_use(
    rung: dict[str, Any], *, value: bool, ok: bool, said: str, kept: dict[str, bool],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    it = report("tts", **rung)
    it.tell(CheckLine("silent", "so", fact="cancels", value=value))
    it.conclude()

    out = capsys.readouterr().out
    assert f"silent: {said} (so)" in out
    assert (it.ok, it.measured) == (ok, kept)
    assert ("or use --write" in out) == (bool(kept) and rung["kind"] == "pipecat")
    if kept.get("cancels") is False:
        assert "promise less than every word once, within 1.5 s: it is reconnected" in out


def test_a_fact_that_could_not_be_measured_changes_nothing() -> None:
    it = report("stt", kind="pipecat", service="own:Ears")
    it.tell(CheckLine("finishes on request", "unclear", fact="finalises"))

    assert (it.ok, it.measured) == (True, {})


def test_a_problem_is_named_in_the_promise(capsys: pytest.CaptureFixture[str]) -> None:
    it = report("tts", kind="cartesia")
    it.tell(CheckLine("sound", "none", ok=False))
    it.conclude()

    assert "within 1.5 s, once the problems above are solved" in capsys.readouterr().out
