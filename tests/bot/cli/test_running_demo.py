"""Commands in a folder where a demo runs: without a configuration they find it, on any port."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.__main__ import run
from configuration.running_demo import FILE, FOLDER, announced, demo_addresses, running_demo
from operations.database.database import Database
from operations.record.callbacks import Callback, Callbacks

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
NUMBER = "+15551230101"
PORT, DEFAULT_ADDRESS = 9, "http://127.0.0.1:10"  # nothing listens there
STORAGE = "sqlite+aiosqlite:///logs/demo.db"
FOUND = f"using the demo at http://127.0.0.1:{PORT}"


async def _ask_for_callback() -> None:
    async with Database(STORAGE) as database:
        at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        wanted = Callback(call_id="c1", number=NUMBER, reason="a new contract", asked_at=at)
        await Callbacks(database).add(wanted)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("configuration.running_demo.DEFAULT_ADDRESS", DEFAULT_ADDRESS)
    for name in (*KEYS, "HOLDLINE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def demo() -> Iterator[None]:
    with announced(FOLDER, PORT, storage=STORAGE, logs=FOLDER):
        asyncio.run(_ask_for_callback())
        yield


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["inbox"], 0, "a new contract"),
        (["inbox", "done", "c1"], 0, "the callback of call c1 is done"),
        (["dnc", "list"], 0, ""),
        (["dnc", "add", NUMBER], 0, ""),
        (["export", "calls"], 0, "calls.csv: 0 calls"),
        (["evidence", "--since", "1h", "--out", "."], 0, "0 calls"),
        (["forget", NUMBER], 0, "callbacks: 1"),
        (["campaign", "status"], 2, "there is no such campaign"),
        (["providers"], 1, f"no server answers at http://127.0.0.1:{PORT}"),
        (["dial", NUMBER], 1, f"no server answers at http://127.0.0.1:{PORT}"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("demo")
def test_a_command_without_a_configuration_is_about_the_demo(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code

    told = capsys.readouterr()
    assert said in told.out + told.err
    assert FOUND in told.err
    assert not Path("holdline.db").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"HOLDLINE__STORAGE__URL": "sqlite+aiosqlite:///own.db"},
        {"HOLDLINE__SERVER__PORT": "8090"},
        {"HOLDLINE_TOKEN": "a token of more than sixteen characters"},
        dict.fromkeys(KEYS, "key"),
    ],
    ids=lambda variables: next(iter(variables)),
)
@pytest.mark.usefixtures("demo")
def test_a_configuration_in_the_environment_wins(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert run(["inbox"]) == 2

    assert "there is no such database" in capsys.readouterr().err


@pytest.mark.parametrize("option", [[], ["--config", "holdline.yaml"]])
@pytest.mark.usefixtures("demo")
def test_a_file_wins(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("holdline.yaml").write_text("agent: {language: de}\n", encoding="utf-8")

    assert run(["inbox", *option]) == 2

    assert "there is no such database" in capsys.readouterr().err


@pytest.mark.usefixtures("demo")
def test_one_key_among_several_is_no_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-another-program")

    assert run(["inbox"]) == 0

    assert FOUND in capsys.readouterr().err


def test_a_demo_is_found_while_it_runs() -> None:
    before = running_demo()
    with announced(FOLDER, PORT, storage=STORAGE, logs=FOLDER):
        during = running_demo()
        with announced(FOLDER, PORT + 1, storage=STORAGE, logs=FOLDER):
            second = running_demo()
        third = demo_addresses()

    assert (before, running_demo()) == (None, None)
    assert during == second
    assert during is not None
    assert (during["server.port"], during["storage.url"]) == (PORT, STORAGE)
    assert third == (f"http://127.0.0.1:{PORT}", DEFAULT_ADDRESS)
    assert demo_addresses() == (DEFAULT_ADDRESS,)
    assert not (FOLDER / FILE).exists()


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        (json.dumps({"server.port": 9, "storage.url": STORAGE, "logs.dir": "logs"}), False),
        ("", True),
        ("{", True),
        ("[]", True),
        ("{}", True),
        ('{"server.port": 9}', True),
        ("9" * 10_000, True),
    ],
    ids=["killed", "empty", "cut", "list", "no key", "one key", "long"],
)
def test_any_other_file_is_no_demo(text: str, *, locked: bool) -> None:
    if locked:
        with announced(FOLDER, PORT, storage=STORAGE, logs=FOLDER):
            (FOLDER / FILE).write_text(text, encoding="utf-8")
            assert running_demo() is None
    else:
        FOLDER.mkdir()
        (FOLDER / FILE).write_text(text, encoding="utf-8")
        assert running_demo() is None
