"""Rows of the record in a file, on a real SQLite and a real PostgreSQL."""

import csv
import json
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bot.__main__ import run
from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    CallEnded,
    CallRecorded,
    CallStarted,
    Event,
    TurnDecided,
    TurnParts,
)
from fallbacks.events import AttemptFailed
from fallbacks.failure import Kind, Scope
from operations.database.database import Database
from operations.database.tables import CALLS
from operations.record.exporting import cell, export, since_of
from operations.record.fold_rules import RecordFold
from operations.record.writer import RecordWriter

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PARTS = TurnParts(
    vad_s=0.2, transcript_s=0.1, decision_s=0.0, llm_s=0.3, tts_s=0.1, transport_s=0.0
)
EVENTS: tuple[Event, ...] = (
    CallStarted(transport="twilio", agent='=HYPERLINK("http://x")', caller="+15550101"),
    TurnDecided(turn=1, at_s=1.0),
    AnswerHeard(turn=1, at_s=2.0, v2v_s=0.7, parts=PARTS),
    AttemptFailed(
        stage="tts",
        provider="a",
        kind=Kind.NETWORK,
        scope=Scope.CONFIGURATION,
        after_s=0.4,
        reason='@SUM(1), "quoted"\nsecond line',
    ),
    CallEnded(reason="caller_hung_up", length_s=12.5),
)


async def keep(url: str, count: int, events: Sequence[Event] = EVENTS) -> None:
    folded = RecordFold(holder="one", messages="")
    for minutes in range(count):
        at = (NOW - timedelta(minutes=minutes)).isoformat()
        for number, event in enumerate(events, start=1):
            folded.add(Entry(call_id=f"c{minutes:04}", number=number, at=at, event=event))
    writer = RecordWriter(Database(url), holder="one")
    await writer.write(folded.take(), number=1, now=NOW)
    await writer.database.close()


class TestExport:
    async def test_a_spreadsheet_evaluates_no_cell_of_it(self, url: str, tmp_path: Path) -> None:
        await keep(url, 2)
        out = tmp_path / "out.csv"

        assert await export(url, "calls", since=NOW, form="csv", out=out) == 1
        (call,) = rows(out)
        assert (call["id"], call["caller"], call["agent"][:2]) == ("c0000", "'+15550101", "'=")
        assert (call["started_at"], call["length_s"], call["cost"]) == (
            "2026-03-01T12:30:00+00:00",
            "12.5",
            "0.0",
        )
        await export(url, "failures", since=NOW, form="csv", out=out)
        (failure,) = rows(out)
        assert failure["reason"] == "'" + EVENTS[3].reason  # type: ignore[union-attr]

    async def test_a_program_reads_each_line_as_it_was_stored(
        self, url: str, tmp_path: Path
    ) -> None:
        await keep(url, 1)
        out = tmp_path / "out.jsonl"

        assert await export(url, "turns", since=NOW, form="jsonl", out=out) == 1

        (turn,) = map(json.loads, lines(out))
        assert (turn["turn"], turn["v2v_s"], turn["parts"]["llm_s"]) == (1, 0.7, 0.3)
        assert (turn["verdict"], turn["why"]) == ("", "")  # it was not judged

    async def test_many_rows_are_exported_the_oldest_first(self, url: str, tmp_path: Path) -> None:
        await keep(url, 700)
        out = tmp_path / "out.csv"

        count = await export(url, "calls", since=NOW - timedelta(days=1), form="csv", out=out)

        ids = [row["id"] for row in rows(out)]
        assert count == len(ids) == 700
        assert ids == sorted(ids, reverse=True)

    async def test_a_call_has_the_files_of_all_its_parts(self, url: str, tmp_path: Path) -> None:
        parts = ("r/c0000.wav", "r/c0000-20.wav", "r/c0000-107.wav")
        events = [EVENTS[0], *(CallRecorded(path=path) for path in parts), EVENTS[-1]]
        await keep(url, 2, events)
        out = tmp_path / "out.csv"
        await export(url, "calls", since=NOW, form="csv", out=out)

        (call,) = rows(out)
        assert (call["recording"], json.loads(call["recordings"])) == (parts[-1], [*parts])
        async with Database(url) as database, database.transaction() as connection:
            await connection.execute(update(CALLS).values(recording=""))  # as after `keep_days`
        await export(url, "calls", since=NOW, form="csv", out=out)
        assert json.loads(rows(out)[0]["recordings"]) == []

    async def test_a_moment_in_another_zone_is_the_same_moment(
        self, url: str, tmp_path: Path
    ) -> None:
        await keep(url, 3)
        since = since_of("2026-03-01T14:29:00+02:00", now=NOW)
        assert since is not None

        assert await export(url, "calls", since=since, form="csv", out=tmp_path / "out.csv") == 2


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


FORMULAS = ["=1+1", "+1", "-1+2", "@x", "\tx", "\rx", "\nx", "  =1", "＝1", "＋1"]  # noqa: RUF001


@pytest.mark.parametrize("value", FORMULAS)
def test_a_text_that_begins_like_a_formula_is_quoted(value: str) -> None:
    assert cell(value) == f"'{value}"


@pytest.mark.parametrize("value", [-1.5, 0, None, "a=b", "", True])
def test_other_texts_are_unchanged(value: Any) -> None:
    assert cell(value) == value


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T10:00:00+02:00", datetime(2026, 2, 1, 8, tzinfo=UTC)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+02:00", None),
        ("", None),
        ("-1d", None),
        ("999999d", None),
    ],
)
def test_since_takes_a_duration_or_a_date(text: str, since: datetime | None) -> None:
    assert since_of(text, now=NOW) == since


def test_the_command_writes_a_file_that_only_its_owner_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "holdline.yaml", tmp_path / "calls.csv"
    config.write_text(f'storage: {{url: "sqlite+aiosqlite:///{tmp_path}/h.db"}}', encoding="utf-8")
    assert run(["db", "upgrade", "--config", str(config)]) == 0

    assert run(["export", "calls", "--out", str(out), "--config", str(config)]) == 0

    assert "0 calls" in capsys.readouterr().out
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(lines(out)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ["callers"],
        ["calls", "--since", "soon"],
        ["calls", "--format", "parquet"],
        ["calls", "--out", "."],
        ["calls", "--out", "/proc"],
    ],
    ids=lambda wrong: wrong[-1],
)
def test_an_invalid_option_is_one_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", *wrong]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert f'"{wrong[-1]}"' in line


def test_a_missing_database_is_one_line_and_none_is_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "holdline.yaml", tmp_path / "calls.csv"
    config.write_text(f'storage: {{url: "sqlite+aiosqlite:///{tmp_path}/h.db"}}', encoding="utf-8")

    assert run(["export", "calls", "--out", str(out), "--config", str(config)]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no such database" in line
    assert list(tmp_path.iterdir()) == [config]


def test_an_unwritable_output_is_reported_before_the_database_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file, no folder", encoding="utf-8")

    assert run(["export", "calls", "--out", "taken/calls.csv"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        'holdline: --out is "taken/calls.csv"; it cannot be written (it is not a folder); '
        "choose another file"
    )


def test_the_folder_of_its_file_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["db", "upgrade"]) == 0
    capsys.readouterr()

    assert run(["export", "calls", "--out", "deep/calls.csv"]) == 0

    assert capsys.readouterr().out == "deep/calls.csv: 0 calls\n"
