"""Variables come from the process, then from `.env`."""

from pathlib import Path

import pytest

from configuration.environment import Environment, read_environment, use_one_thread_for_arrays
from configuration.errors import ConfigError


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(
        "# keys\nHOLDLINE_TEST_A='from file'\nexport HOLDLINE_TEST_B=file\nHOLDLINE_TEST_C=\n",
        encoding="utf-8",
    )
    return path


def test_the_file_supplies_variables_that_the_process_lacks(dotenv: Path) -> None:
    found = read_environment(dotenv)

    assert found.get("HOLDLINE_TEST_A") == "from file"
    assert found.where("HOLDLINE_TEST_A") == ".env HOLDLINE_TEST_A"


def test_the_process_wins_over_the_file(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDLINE_TEST_B", "process")

    found = read_environment(dotenv)

    assert found.get("HOLDLINE_TEST_B") == "process"
    assert found.where("HOLDLINE_TEST_B") == "environment HOLDLINE_TEST_B"


def test_an_empty_variable_is_not_set_and_hides_the_file(
    dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDLINE_TEST_B", "")

    found = read_environment(dotenv)

    assert found.get("HOLDLINE_TEST_B") is None
    assert found.get("HOLDLINE_TEST_C") is None


def test_a_dollar_in_a_password_is_a_dollar(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HOLDLINE_TEST_P=a$HOME${HOME}b\n", encoding="utf-8")

    assert read_environment(tmp_path / ".env").get("HOLDLINE_TEST_P") == "a$HOME${HOME}b"


def test_a_missing_file_is_fine(tmp_path: Path) -> None:
    assert read_environment(tmp_path / ".env").get("HOLDLINE_TEST_A") is None


@pytest.mark.parametrize("line", ["s3cret", "=s3cret", "A='s3cret"])
def test_an_invalid_line_is_reported_without_its_content(line: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{line}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"\.env:2: is not NAME=value") as caught:
        read_environment(tmp_path / ".env")

    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")

    with pytest.raises(ConfigError, match=r"\.env: cannot be read"):
        read_environment(tmp_path / ".env")


def test_values_are_not_shown_when_an_environment_is_printed() -> None:
    assert "s3cret" not in repr(Environment(values={"A": "s3cret"}))


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("2", "2")], ids=["unset", "chosen"])
def test_numpy_uses_one_thread_unless_configured(
    before: str | None, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", before or "")  # restored after the test
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")

    use_one_thread_for_arrays()

    assert read_environment(tmp_path / ".env").get("OPENBLAS_NUM_THREADS") == after
