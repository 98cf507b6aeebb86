"""The spreadsheet's section: off by default, and one line for a missing key."""

from pathlib import Path

import pytest

from bot.config.environment import Environment
from bot.config.errors import ConfigError
from bot.config.loading import load

KEYS = {
    "DEEPGRAM_API_KEY": "a",
    "OPENAI_API_KEY": "b",
    "CARTESIA_API_KEY": "c",
    "ELEVENLABS_API_KEY": "d",
}
ON = {"HOLDLINE__SHEETS__ENABLED": "true", "HOLDLINE__SHEETS__SPREADSHEET_ID": "a-sheet"}
FILE = {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/holdline/account.json"}


def test_it_is_off_and_needs_nothing() -> None:
    assert not load(variables=Environment(values=KEYS)).settings.sheets.enabled


def test_the_file_is_the_one_that_the_variable_names() -> None:
    pytest.importorskip("google.auth")
    settings = load(variables=Environment(values={**KEYS, **ON, **FILE})).settings

    assert settings.sheets.credentials_file == Path("/etc/holdline/account.json")


@pytest.mark.parametrize("path", ["/etc/hold line/account.json", "/home/müller/account.json"])
def test_the_path_of_the_file_may_hold_spaces_and_any_letters(path: str) -> None:
    variables = Environment(values={**KEYS, "GOOGLE_APPLICATION_CREDENTIALS": path})

    assert load(variables=variables).settings.sheets.credentials_file == Path(path)


def test_a_path_that_cannot_be_printed_is_one_line() -> None:
    variables = Environment(values={**KEYS, "GOOGLE_APPLICATION_CREDENTIALS": "/etc/a\nb"})
    with pytest.raises(ConfigError) as wrong:
        load(variables=variables)

    assert [problem.text for problem in wrong.value.problems] == [
        "sheets.credentials_file_env names GOOGLE_APPLICATION_CREDENTIALS, which has "
        "characters that cannot be printed; put it in the environment or .env"
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ON, "sheets.credentials_file_env names GOOGLE_APPLICATION_CREDENTIALS, which is not set"),
        ({**ON, **FILE, "HOLDLINE__SHEETS__SPREADSHEET_ID": ""}, "it needs spreadsheet_id"),
    ],
    ids=["no file", "no spreadsheet"],
)
def test_a_missing_key_is_one_line_with_the_cure(given: dict[str, str], said: str) -> None:
    pytest.importorskip("google.auth")
    with pytest.raises(ConfigError) as wrong:
        load(variables=Environment(values={**KEYS, **given}))

    (problem,) = wrong.value.problems
    assert said in problem.line
