"""Storage: unusable addresses and folders are reported at the start."""

import importlib.util
import sys
from pathlib import Path

import pytest

from bot.__main__ import run
from configuration.database_urls import storage_trouble
from configuration.environment import Environment
from configuration.errors import ConfigError
from configuration.folders import check_folders
from configuration.loading import load

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
ENVIRONMENT = Environment(values=dict.fromkeys(KEYS, "k"))
RECORDING = Path(__file__).parents[1] / "fixtures" / "callers" / "01_hours.wav"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.setenv(name, "k")


def written(text: str) -> None:
    Path("holdline.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///x.db", "write sqlite+aiosqlite:///x.db"),
        ("postgresql://u@h/x", "write postgresql+asyncpg://u@h/x"),
        ("postgres://u@h/x", "write postgresql+asyncpg://u@h/x"),
        (
            "mysql+asyncmy://h/x",
            "mysql+asyncmy is not available; "
            "use sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER@HOST/NAME",
        ),
        ("nowhere", "it must be sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER@HOST/NAME"),
        ("sqlite+aiosqlite://x.db", "a file path follows three slashes: sqlite+aiosqlite:///x.db"),
        ("postgresql+asyncpg:///x", "it must be like postgresql+asyncpg://USER@HOST/NAME"),
        ("postgresql+asyncpg://h:many/x", "it must be like postgresql+asyncpg://USER@HOST/NAME"),
    ],
)
def test_an_invalid_address_is_reported_with_its_cure(
    url: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(f'storage: {{url: "{url}"}}')

    assert run(["serve", "--port", "0"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f'holdline.yaml:1: storage.url is "{url}"; {text}'


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:///holdline.db",
        "sqlite+aiosqlite:////var/lib/holdline.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "postgresql+asyncpg://user@db.example.com:5432/holdline",
    ],
)
def test_a_usable_address_has_no_problem(url: str) -> None:
    assert storage_trouble(url) is None


def test_a_missing_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "pip" or None)

    text = storage_trouble("postgresql+asyncpg://h/x")

    assert text == (
        "it needs asyncpg, which is not installed;"
        f' install it with {sys.executable} -m pip install "holdline[postgres]"'
    )


def test_a_password_in_an_address_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    url = "mysql://me:hunter2@h/x"
    with pytest.raises(ConfigError) as caught:
        load(variables=Environment(values=ENVIRONMENT.values | {"HOLDLINE__STORAGE__URL": url}))

    assert "hunter2" not in str(caught.value)
    assert "mysql is not available" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("logs: {dir: taken/logs}", 'logs.dir is "taken/logs"; it cannot be written'),
        ('logs: {dir: "a\\0b"}', 'logs.dir is "a\\u0000b"; it cannot be written'),
        ("logs: {dir: taken}", 'logs.dir is "taken"; it cannot be written'),
        ("hold: {clips_dir: taken/c}", 'hold.clips_dir is "taken/c"; it cannot be written'),
        (
            'storage: {url: "sqlite+aiosqlite:///taken/x.db"}',
            'storage.url is "sqlite+aiosqlite:///taken/x.db"; it cannot be written',
        ),
    ],
)
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["mic"]])
def test_a_folder_that_cannot_be_written_is_reported_at_the_start(
    command: list[str], text: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").write_text("a file, no folder", encoding="utf-8")
    written(text)

    assert run(command) == 2

    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"holdline.yaml:1: {line} (")
    assert told.endswith("); choose another place")


@pytest.mark.parametrize(
    "command",
    [["replay", str(RECORDING)], ["drill", "--only", "healthy"]],
    ids=["replay", "drill"],
)
def test_an_output_folder_that_cannot_be_written_is_reported_before_any_call(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").write_text("a file, no folder", encoding="utf-8")

    assert run([*command, "--out", "taken/out"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        'holdline: --out is "taken/out"; it cannot be written (Not a directory); '
        "choose another folder"
    )


def test_a_demo_that_cannot_write_its_logs_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    Path("logs").write_text("a file, no folder", encoding="utf-8")

    assert run(["demo", "--port", "0"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        'holdline: the demo cannot write to "logs" (it is not a folder); start it in another folder'
    )


def test_missing_folders_are_created() -> None:
    written("logs: {dir: deep/logs}\nhold: {clips_dir: deep/clips}")

    check_folders(load(variables=ENVIRONMENT))

    assert sorted(path.name for path in Path("deep").iterdir()) == ["clips", "logs"]
    assert list(Path("deep/logs").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (
            "server: {token: x}",
            "server.token is a secret; put it in the environment or .env as HOLDLINE_TOKEN",
        ),
        (
            "alerts: {email: {password: x}}",
            "alerts.email.password is a secret; "
            "put it in the environment or .env as EMAIL_PASSWORD",
        ),
        (
            "transports: {twilio: {auth_token: x}}",
            "transports.twilio.auth_token is a secret; "
            "put it in the environment or .env and name it in auth_token_env",
        ),
        (
            "stages: {llm: [{kind: openai, api_key: x}]}",
            "stages.llm[0].api_key is a secret; "
            "put it in the environment or .env and name it in api_key_env",
        ),
        ("server: {password: x}", "server.password is a secret; put it in the environment or .env"),
    ],
)
def test_the_cure_of_a_secret_names_an_existing_variable(text: str, cure: str) -> None:
    written(text)

    with pytest.raises(ConfigError) as caught:
        load(variables=ENVIRONMENT)

    assert caught.value.problems[0].line == f"holdline.yaml:1: {cure}"
