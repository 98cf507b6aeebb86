"""`holdline init` writes a configuration that works, and overwrites nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import app
from configuration.loading import load


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPGRAM", "OPENAI", "ANTHROPIC", "GOOGLE", "CARTESIA", "ELEVENLABS"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)


def run(*answers: str, options: Sequence[str] = ()) -> str:
    said = CliRunner().invoke(app, ["init", *options], input="\n".join([*answers, ""]))
    assert said.exit_code == 0, said.output
    return said.output


def test_answers_become_a_file_of_twelve_lines_that_loads() -> None:
    output = run("deepgram", "openai", "elevenlabs", "dg-secret", "oa-secret", "el-secret")

    settings = load().settings
    names = [rung.name for _, rung in settings.stages.rungs()]
    assert names == ["deepgram", "openai", "elevenlabs", "local-tts"]
    assert len(Path("holdline.yaml").read_text(encoding="utf-8").splitlines()) == 12
    assert "secret" not in Path("holdline.yaml").read_text(encoding="utf-8") + output
    assert Path(".env").read_text(encoding="utf-8").splitlines() == [
        "DEEPGRAM_API_KEY=dg-secret",
        "OPENAI_API_KEY=oa-secret",
        "ELEVENLABS_API_KEY=el-secret",
    ]
    assert Path(".env").stat().st_mode & 0o777 == 0o600


def test_an_unknown_vendor_is_asked_for_again_and_known_keys_are_kept() -> None:
    Path(".env").write_text("OPENAI_API_KEY=mine", encoding="utf-8")

    output = run("whisper", "local", "openai", "cartesia", "")

    assert '"whisper" is not one of deepgram, soniox, assemblyai, local' in output
    assert Path(".env").read_text(encoding="utf-8") == "OPENAI_API_KEY=mine"
    assert load().warnings  # the voice without a key is left out, the local one stays
    assert [rung.name for rung in load().settings.stages.tts] == ["openai-tts", "local-tts"]


@pytest.mark.parametrize(
    ("options", "file", "option"),
    [
        ([], "holdline.yaml", ""),
        (["--config", "./holdline.yaml"], "holdline.yaml", ""),
        (["--config", "my lab.yaml"], "my lab.yaml", " --config 'my lab.yaml'"),
    ],
)
def test_the_next_commands_name_the_file_that_was_written(
    options: list[str], file: str, option: str
) -> None:
    output = run("local", "openai", "local", "oa-secret", options=options)

    assert f"Next: holdline doctor --online{option}, then holdline serve{option}\n" in output
    assert load(Path(file)).settings.stages.tts[0].name == "local-tts"


@pytest.mark.parametrize(
    ("known", "voice", "ladder"),
    [
        ("", "cartesia", ["cartesia", "local-tts"]),
        ("ELEVENLABS_API_KEY=e\n", "cartesia", ["cartesia", "elevenlabs", "local-tts"]),
        ("CARTESIA_API_KEY=c\n", "elevenlabs", ["elevenlabs", "cartesia", "local-tts"]),
        ("CARTESIA_API_KEY=c\n", "local", ["local-tts"]),
    ],
)
def test_another_vendor_whose_key_is_set_is_a_standby(
    known: str, voice: str, ladder: list[str]
) -> None:
    Path(".env").write_text(known, encoding="utf-8")

    run("local", "openai", voice, "oa-secret", "key")

    assert [rung.name for rung in load().settings.stages.tts] == ladder


def test_a_file_that_exists_is_not_overwritten() -> None:
    Path("holdline.yaml").write_text("server: {port: 9}\n", encoding="utf-8")

    said = CliRunner().invoke(app, ["init"])

    assert "exists; edit it" in str(said.exception)
    assert Path("holdline.yaml").read_text(encoding="utf-8") == "server: {port: 9}\n"
