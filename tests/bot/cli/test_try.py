"""`holdline try` on the command line: from a pipe, at a terminal, and with a bad configuration."""

import asyncio
import os
import pty
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import yaml

from bot.__main__ import run
from lab.cli import try_
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


async def talk(config: Path, lines: bytes) -> tuple[int | None, str, str]:
    """Return the exit code and both outputs of a conversation at a terminal."""
    keyboard, stdin = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "try", "--config", str(config),
        stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OPENAI_API_KEY": "KEY"},
    )  # fmt: skip
    os.close(stdin)
    os.write(keyboard, lines)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    os.close(keyboard)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, bytes], Awaitable[int]]]:
    """Return a function that runs the command in this process, with these lines as its input."""
    stdin, keyboard = os.pipe()
    monkeypatch.setattr(try_, "STDIN", stdin)
    monkeypatch.setenv("OPENAI_API_KEY", "KEY")

    def send(config: Path, lines: bytes) -> Awaitable[int]:
        os.write(keyboard, lines)
        os.close(keyboard)
        return asyncio.to_thread(run, ["try", "--config", str(config)])

    yield send
    os.close(stdin)


@pytest.mark.slow
async def test_a_conversation_at_a_terminal_ends_with_the_input(tmp_path: Path) -> None:
    async with writing("Hello to you.", finish="stop") as url:
        code, out, err = await talk(write(tmp_path, url), b"Hello\n\x04")

    assert (code, err) == (0, "")
    assert out == "agent: The shop.\nyou: agent: Hello to you.\nyou: "


async def test_a_conversation_ends_with_its_pipe_which_gets_no_prompt(
    tmp_path: Path,
    pipe: Callable[[Path, bytes], Awaitable[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with writing("Hello to you.", finish="stop") as url:
        code = await pipe(write(tmp_path, url), b"Hello")

    assert code == 0
    assert capsys.readouterr() == ("agent: The shop.\nagent: Hello to you.\n", "")


async def test_a_model_that_does_not_answer_is_named_and_the_exit_code_is_1(
    tmp_path: Path,
    pipe: Callable[[Path, bytes], Awaitable[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = await pipe(write(tmp_path, "http://127.0.0.1:9/v1"), b"Hello\n")

    out, err = capsys.readouterr()
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
