"""`holdline db upgrade` names its database, because another folder has another one."""

from pathlib import Path

import pytest

from bot.__main__ import run
from operations.database.schema import known_versions

NEWEST = known_versions()[-1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDLINE__STORAGE__URL", raising=False)


def test_a_new_and_an_existing_database_are_reported_with_their_whole_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [run(["db", "upgrade"]) for _ in range(2)] == [0, 0]

    created, found = capsys.readouterr().out.splitlines()
    assert created == f"{tmp_path}/holdline.db did not exist and was created at {NEWEST}"
    assert found == f"{tmp_path}/holdline.db was at {NEWEST}"


def test_a_database_that_cannot_be_upgraded_is_reported_with_its_whole_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("holdline.db").write_text("these are words, not a database\n" * 40, encoding="utf-8")

    assert run(["db", "upgrade"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"holdline: {tmp_path}/holdline.db cannot be upgraded: ")


def test_a_server_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "postgresql+asyncpg://holdline:s3cret@127.0.0.1:1/calls"
    monkeypatch.setenv("HOLDLINE__STORAGE__URL", away)

    assert run(["db", "upgrade"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert "holdline:********@127.0.0.1:1/calls cannot be upgraded" in line
    assert "s3cret" not in line
