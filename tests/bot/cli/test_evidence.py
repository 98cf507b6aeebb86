"""`holdline evidence`: two files, and one line for each problem."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from bot.__main__ import run
from operations.database.database import Database
from operations.database.tables import CALLBACKS
from tests.operations.postmortem.rows import fill

CONFIG = "storage: {{url: 'sqlite+aiosqlite:///{}'}}\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holdline.yaml").write_text(CONFIG.format(tmp_path / "holdline.db"))


def test_a_page_and_its_figures_as_json_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(f"sqlite+aiosqlite:///{tmp_path}/holdline.db"))

    assert run(["evidence", "--since", "1h", "--out", "found"]) == 0

    told = json.loads((tmp_path / "found" / "evidence.json").read_text())
    page = tmp_path / "found" / "evidence.html"
    assert told["counts"]["calls"] == 0  # the inserted rows are older
    assert page.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert sorted(path.name for path in page.parent.iterdir()) == ["evidence.html", "evidence.json"]
    assert capsys.readouterr().out == (
        "found/evidence.html: 0 calls: 0 served, 0 degraded, 0 hurt, 0 lost; "
        "failures: 0; alerts: 0\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--since", "soon", "--out", "o"], 2, '--since is "soon"; give a length of time'),
        (
            ["--since", "1h", "--out", "holdline.yaml"],
            2,
            "written (it is not a folder)",
        ),
        (["--since", "1h", "--out", "o"], 2, "there is no such database"),
        (["--out", "o"], 2, "Missing option '--since'"),
        (["--since", "1h"], 2, "Missing option '--out'"),
    ],
    ids=["no length of time", "no folder", "no database", "since missing", "out missing"],
)
def test_a_problem_is_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evidence", *arguments]) == code

    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_database_of_an_older_version_is_named_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def make_old() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db", tables=[CALLBACKS])
        await database.engine()
        await database.close()

    asyncio.run(make_old())

    assert run(["evidence", "--since", "1h", "--out", "o"]) == 1
    assert "holdline db upgrade" in capsys.readouterr().err
