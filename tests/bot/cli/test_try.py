"""`holdline try` on the command line: from a pipe, at a terminal, and with a bad configuration."""

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest
import yaml

from bot.__main__ import run
from tests.providers.scripted_model import writing

OTHERS = {stage: [{"kind": "local", "name": stage}] for stage in ("stt", "tts")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def write(folder: Path, url: str = "", **agent: object) -> Path:
    rung = {"kind": "openai", "name": "home", **({"url": url} if url else {})}
    path = folder / "shop.yaml"
    tree = {"agent": {"greeting": "The shop.", **agent}, "stages": {"llm": [rung], **OTHERS}}
    path.write_text(yaml.safe_dump(tree))
    return path


async def talk(config: Path, lines: bytes, *, at_terminal: bool) -> tuple[int | None, str, str]:
    """Return the exit code and both outputs of a conversation; Ctrl-D or the pipe's end ends it."""
    ours, theirs = pty.openpty() if at_terminal else os.pipe()
    keyboard, stdin = (ours, theirs) if at_terminal else (theirs, ours)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "try", "--config", str(config),
        stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OPENAI_API_KEY": "KEY"},
    )  # fmt: skip
    os.close(stdin)
    os.write(keyboard, lines)
    if not at_terminal:
        os.close(keyboard)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    if at_terminal:
        os.close(keyboard)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("at_terminal", [False, True])
async def test_a_conversation_ends_with_the_input_and_a_pipe_gets_no_prompt(
    *, tmp_path: Path, at_terminal: bool
) -> None:
    prompt = "you: " if at_terminal else ""
    async with writing("Hello to you.", finish="stop") as url:
        lines = b"Hello\n\x04" if at_terminal else b"Hello"
        code, out, err = await talk(write(tmp_path, url), lines, at_terminal=at_terminal)

    assert (code, err) == (0, "")
    assert out == f"agent: The shop.\n{prompt}agent: Hello to you.\n{prompt}"


async def test_a_model_that_does_not_answer_is_named_and_the_exit_code_is_1(
    tmp_path: Path,
) -> None:
    config = write(tmp_path, "http://127.0.0.1:9/v1")
    code, out, err = await talk(config, b"Hello\n", at_terminal=False)

    assert (code, out) == (1, "agent: The shop.\n")
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "home (127.0.0.1:9) cannot be reached; check its url, and this machine's network and DNS; "
        "it is tested meanwhile",
        "no model has answered; in a call, the outage menu begins",
        "at least one line got no answer",
    ]


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ({"greting": "Hello."}, "agent.greting is unknown"),
        ({"tools": [{"entry_point": "shop:nothing"}]}, "'shop:nothing' cannot be loaded"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(
    agent: dict[str, object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["try", "--simulated", "--config", str(write(tmp_path, **agent))]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
