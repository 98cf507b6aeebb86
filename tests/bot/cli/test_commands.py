"""The command line: exit codes, and one line for each problem."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bot.__main__ import app, run
from bot.programs.guard import INTERRUPTED, guard
from lab.drill.matrix import FULL
from lab.drill.scenarios import SCENARIOS
from lab.drill.selection import MATRICES
from runtime.exits import BAD_USAGE, DONE, FAILED, CommandError, UsageError, install_command

ROOT = Path(__file__).parents[3]
KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
LOCAL = """
server: {port: 0}
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: OPENAI_API_KEY}]
  tts: [{name: voice, kind: local}]
"""
UNREACHABLE = """
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: OPENAI_API_KEY}]
  tts:
    - {name: voice, kind: local}
    - {kind: cartesia, url: "ws://127.0.0.1:9/tts/websocket", api_key_env: CARTESIA_API_KEY}
    - {kind: elevenlabs, url: "ws://127.0.0.1:9", api_key_env: ELEVENLABS_API_KEY}
resilience: {retry: {attempts: 0}}
"""


def every_help(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words before `--help` of the program and of each command, at any depth."""
    yield words
    for name, each in getattr(command, "commands", {}).items():
        yield from every_help(each, *words, name)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (None, DONE),
        (DONE, DONE),
        (FAILED, FAILED),
        (BAD_USAGE, BAD_USAGE),
        (INTERRUPTED, INTERRUPTED),
        (-9, FAILED),  # a child process that a signal ended
        (137, FAILED),  # the same, as a shell says it
        (256, FAILED),  # which a system cuts to 0
    ],
)
def test_a_command_exits_with_one_of_our_codes(told: int | None, code: int) -> None:
    assert guard(lambda: told) == code


def test_every_error_of_a_group_is_a_line_and_the_first_gives_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        several = ExceptionGroup("", [UsageError("one"), ExceptionGroup("", [CommandError("two")])])
        raise several

    assert guard(fail) == UsageError.code
    assert capsys.readouterr().err.splitlines() == ["holdline: one", "holdline: two"]


@pytest.mark.parametrize("code", [0, 3, None])
def test_code_that_exits_in_a_command_is_named(
    code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise SystemExit(code)

    assert guard(fail) == FAILED
    assert f"SystemExit: {code} at {__file__}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["mic", "try"])
def test_code_that_exits_in_a_task_ends_no_call(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = list[bool]()

    async def talk(*_: object) -> None:
        exiting = asyncio.create_task(exits())
        await asyncio.sleep(0.01)
        went_on.append(exiting.exception() is not None)

    async def exits() -> None:
        raise SystemExit(3)

    monkeypatch.setattr("bot.programs.mic.talk", talk)
    monkeypatch.setattr("lab.cli.try_._hold_conversation", talk)
    monkeypatch.setenv("OPENAI_API_KEY", "KEY")
    config = tmp_path / "it.yaml"
    config.write_text(LOCAL)

    assert run([command, "--config", str(config)]) == DONE
    assert went_on == [True]


@pytest.mark.parametrize(
    ("required", "error", "code", "told"),
    [
        ("absent>=1; extra == 'server'", ModuleNotFoundError("", name="twilio"), 2, "twilio"),
        ('absent[x]<2,>=1; extra == "server"', ImportError("Missing module"), 2, "absent"),
        ("absent>=1; extra == 'redis'", ModuleNotFoundError("gone"), 1, "failed: Module"),
        ("typer>=0.15; extra == 'server'", ModuleNotFoundError("gone"), 1, "failed: Module"),
        ("absent>=1; extra == 'server'", ValueError("wrong"), 1, "failed: ValueError"),
    ],
)
def test_a_missing_import_names_the_extra_only_if_its_packages_are_missing(
    required: str, error: Exception, code: int, told: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("bot.programs.guard.requires", lambda _: [required])

    def fail() -> None:
        raise error

    assert guard(fail) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    pip, once = install_command("holdline[server]"), 'pipx run --spec "holdline[server]" holdline'
    assert (pip in line and once in line) == (code == BAD_USAGE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["doctr"], "Did you mean 'doctor'?"),
        (["serve", "--prot", "1"], "No such option"),
        (["replay"], "AUDIO"),
        (["serve", "--config", "gone.yaml"], "gone.yaml: there is no such file"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(arguments)

    told = capsys.readouterr()
    assert code == 2
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def help_of(*words: str, told: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*words, "--help"]) == 0
    return told.readouterr().out


def test_no_help_is_cut_or_names_a_type_for_a_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in every_help(get_command(app)):
        shown = help_of(*words, told=capsys, monkeypatch=monkeypatch)

        assert not re.search(r"[a-z]\.\.\.\n|<int|<float", shown), shown
        assert all(len(line) <= 80 for line in shown.splitlines()), words


def test_the_drills_help_lists_the_names_that_it_accepts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = help_of("drill", told=capsys, monkeypatch=monkeypatch)

    listed = {line.split()[0] for line in shown.splitlines() if line.startswith("  ")}
    assert {*MATRICES, *(row.name for row in FULL), *SCENARIOS} <= listed
    assert "stock-pipecat" in shown


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--version"], ["--version", "serve"]):
        assert run(words) == 0
        assert capsys.readouterr().out == f"holdline {version('holdline')}\n"


def test_pipecat_prints_nothing_between_our_lines() -> None:
    Path("holdline.yaml").write_text(UNREACHABLE, encoding="utf-8")
    environment = os.environ | dict.fromkeys(KEYS, "k") | {"PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "bot", "doctor", "--online"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == ""
    assert "cartesia" in done.stdout


def test_windows_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.platform = 'win32'; import bot.__main__"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == BAD_USAGE
    assert done.stderr == (
        "holdline: Windows is not supported; install it in WSL 2, which is Linux\n"
    )


def test_importing_a_call_prints_no_banner() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import bot.workers.process, loguru;"
         "from operations.telemetry import logs;"
         "logs.set_up(level='WARNING', folder=None);"
         "exec(compile('loguru.logger.warning(1)', 'x', 'exec'), {'__name__': 'pipecat.x',"
         " 'loguru': loguru})"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip

    (line,) = done.stderr.splitlines()  # its warnings are heard again once the log is set up
    assert "WARNING" in line


def test_an_unknown_flag_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "k")

    assert run(["serve", "--host", "192.0.2.1", "--port", "70000"]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith('flag --host: server.host is "192.0.2.1"')
    assert lines[1] == "flag --port: server.port is 70000; it must be at most 65535"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve", "--port", "abc"], '--port is "abc"; it must be a whole number'),
        (["drill", "--jobs", "99"], '--jobs is "99"; it must be at most 8'),
        (["demo", "--port", "-1"], '--port is "-1"; it must be at least 0'),
        (["lab", "--speed", "fast"], '--speed is "fast"; it must be a number'),
    ],
)
def test_an_invalid_value_of_a_flag_is_named_with_the_flag(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2

    assert capsys.readouterr().err == f"holdline: {line}\n"


SLOW_TO_IMPORT = {"pipecat", "onnxruntime", "sqlalchemy", "fastapi", "aiohttp", "openai"}  # seconds


def test_a_broken_configuration_is_reported_at_once_without_a_traceback() -> None:
    Path("holdline.yaml").write_text("agnet: {}\nlatency: {budget_s: -1}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in KEYS}
    environment |= {"PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bot", "serve"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )

    lines = done.stderr.splitlines()
    told = [line for line in lines if not line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines if line not in told}
    assert "configuration.settings" in imported
    assert not imported & SLOW_TO_IMPORT
    assert done.returncode == 2
    assert told[0] == "holdline.yaml:1: agnet is unknown; did you mean agent?"
    assert len(told) == 2 + len(KEYS)
    assert "Traceback" not in done.stderr


def test_the_merged_configuration_is_printed_and_nothing_is_served(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("holdline.yaml").write_text(LOCAL, encoding="utf-8")
    Path(".env").write_text("OPENAI_API_KEY=s3cret\n", encoding="utf-8")

    assert run(["serve", "--print-config", "--port", "81"]) == 0

    told = capsys.readouterr().out
    assert "# api_key: ********  (.env OPENAI_API_KEY)" in told
    assert "port: 81 " in told
    assert "s3cret" not in told


def test_the_merged_configuration_is_printed_without_any_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["serve", "--print-config"]) == 0

    told = capsys.readouterr()
    assert "# api_key: not set (OPENAI_API_KEY)" in told.out
    assert told.err == ""


def test_the_doctor_ends_with_1_and_a_line_for_each_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("holdline.yaml").write_text(LOCAL, encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    code = run(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [line for line in lines if line.startswith("problem")] == [
        "problem stages.llm openai: 127.0.0.1:9 does not answer: Connection refused; "
        "callers will get the keypad menu"
    ]
    assert "ok      stages.tts voice: runs in this process" in lines
