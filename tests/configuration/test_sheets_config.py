"""The spreadsheet's section: off by default, and one line for a missing key."""

from pathlib import Path

import pytest

from tests.configuration.reading import read, refused

ON = {"HOLDLINE__SHEETS__ENABLED": "true", "HOLDLINE__SHEETS__SPREADSHEET_ID": "a-sheet"}
FILE = {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/holdline/account.json"}


def test_the_mirror_is_off_by_default_and_needs_no_keys() -> None:
    assert not read().settings.sheets.enabled


def test_the_account_file_is_the_one_that_the_variable_names() -> None:
    pytest.importorskip("google.auth")
    settings = read(**ON, **FILE).settings

    assert settings.sheets.credentials_file == Path("/etc/holdline/account.json")


@pytest.mark.parametrize("path", ["/etc/hold line/account.json", "/home/müller/account.json"])
def test_the_path_of_the_file_may_hold_spaces_and_any_letters(path: str) -> None:
    assert read(GOOGLE_APPLICATION_CREDENTIALS=path).settings.sheets.credentials_file == Path(path)


def test_a_path_that_cannot_be_printed_is_one_line() -> None:
    assert refused(GOOGLE_APPLICATION_CREDENTIALS="/etc/a\nb") == [
        "built-in default: sheets.credentials_file_env names GOOGLE_APPLICATION_CREDENTIALS, "
        "which has characters that cannot be printed; put it in the environment or .env"
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

    (line,) = refused(**given)

    assert said in line
