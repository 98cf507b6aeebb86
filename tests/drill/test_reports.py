"""Results that are kept, and the pages made of them."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bot.exits import UsageError
from drill import markdown, report
from drill.results import FILE, Results
from drill.rows import EVERY_WORD, HEALTHY, NEVER_SILENT, Row
from drill.runner import Job, run_all
from drill.servers import OURS, STOCK
from drill.table import missed, table

ROW = Row(name="tts-cut", title="TTS <cut>", targets=(EVERY_WORD, NEVER_SILENT))
TURN = {
    "question": "How much is a haircut?",
    "answer": "A haircut costs forty euros.",
    "began_s": -1.2,
    "ended_s": 5.0,
    "speech": [[1.0, 3.0]],
    "requests": [
        {"provider": "cartesia", "at_s": 0.6, "outcome": "cut after 2 words", "fault": "cut"},
        {"provider": "elevenlabs", "at_s": 0.9, "outcome": "done", "fault": None},
    ],
    "verdict": {
        "whole": False,
        "missing": ["forty"],
        "extra": [],
        "other": [[2.0, 2.2]],
        "words": [["haircut", "cartesia", 1.0, 1.5], ["euros.", "elevenlabs", 2.4, 3.0]],
    },
}


def entry(began: str, *, side: str = OURS, lost: float = 0.0, run: int = 1) -> dict[str, Any]:
    return {
        "pass": began,
        "machine": "a machine",
        "row": ROW.name,
        "side": side,
        "run": run,
        "measures": {"lost_turns": lost, "first_speech_s": 1.0},
        "turns": [TURN],
    }


def test_a_pass_without_a_healthy_row_on_some_side_is_compared_with_the_newest_there_is(
    tmp_path: Path,
) -> None:
    kept = Results(tmp_path)
    healthy = {"row": HEALTHY, "measures": {"first_word_s": 0.9}}
    kept.add(entry("monday") | healthy)
    kept.add(entry("monday", side=STOCK) | healthy)
    kept.add(entry("tuesday") | healthy)
    kept.add(entry("tuesday"))

    found = [(each["pass"], each["side"], each["row"]) for each in kept.newest(ROW, OURS)]

    assert found == [
        ("tuesday", OURS, HEALTHY),
        ("tuesday", OURS, ROW.name),
        ("monday", STOCK, HEALTHY),
    ]


async def test_stock_pipecat_is_measured_once_for_each_row(
    results: Results, tmp_path: Path
) -> None:
    row = replace(ROW, runs=1)
    told: list[Any] = []
    job = Job(rows=[row], sides=[STOCK], folder=tmp_path, jobs=1, tell=told.append)

    await run_all(job, results)

    assert told == []


@pytest.fixture
def results(tmp_path: Path) -> Results:
    kept = Results(tmp_path)
    kept.add(entry("monday"))
    kept.add(entry("tuesday", lost=1.0))
    kept.add(entry("tuesday", side=STOCK, lost=1.0))
    return kept


def test_runs_are_appended_to_what_earlier_passes_left(results: Results, tmp_path: Path) -> None:
    again = Results(tmp_path)
    again.add(entry("wednesday"))

    assert [each["pass"] for each in Results(tmp_path).entries] == [
        "monday",
        "tuesday",
        "tuesday",
        "wednesday",
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"walks": 1}', "[1"])
def test_a_file_of_somebody_else_is_not_written_over(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(UsageError, match=r"results\.json"):
        Results(tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_the_newest_pass_of_a_row_decides(results: Results) -> None:
    assert missed([ROW], results) == ["tts-cut"]

    results.add(entry("wednesday"))
    assert missed([ROW], results) == []


def test_a_row_that_was_never_run_counts_as_missed(tmp_path: Path) -> None:
    assert missed([ROW], Results(tmp_path)) == ["tts-cut"]


def test_the_table_shows_target_figures_verdict_and_the_stock_pipeline(results: Results) -> None:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(table([ROW], results, sides=(OURS, STOCK)))
    shown = captured.get()

    assert "turns not whole" in shown
    assert "missed" in shown
    assert "met" in shown
    assert "stock worst" in shown


def test_the_html_report_needs_nothing_from_anywhere(results: Results, tmp_path: Path) -> None:
    page = report.write([ROW], results, tmp_path).read_text()

    assert not re.findall(r"(?:https?:)?//|@import|<script|src=", page)
    assert "TTS &lt;cut&gt;" in page
    assert page.count("<svg") == 2  # the newest pass: one run of each side
    assert "haircut (cartesia, 1.00 s)" in page
    assert "cartesia: cut after 2 words, cut" in page
    assert "missing: forty" in page


def test_the_markdown_report_counts_the_passes(results: Results, tmp_path: Path) -> None:
    page = markdown.write([ROW], results, tmp_path).read_text()

    assert "- Pass of monday on a machine" in page
    assert "| 1 of 2 |" in page
    assert "**missed**" in page


def test_what_is_on_disk_is_whole_json_after_each_run(results: Results, tmp_path: Path) -> None:
    kept = json.loads((tmp_path / FILE).read_text())

    assert len(kept["runs"]) == 3
    assert not list(tmp_path.glob("*.tmp"))


def test_the_figures_alone_let_further_passes_be_added(results: Results, tmp_path: Path) -> None:
    figures = results.write_figures()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / FILE).write_bytes(figures.read_bytes())
    again = Results(elsewhere)

    assert [each["measures"] for each in again.entries] == [
        each["measures"] for each in results.entries
    ]
    assert all(each["turns"] == [] for each in again.entries)
    assert missed([ROW], again) == missed([ROW], results)
    report.write([ROW], again, elsewhere)
    assert markdown.write([ROW], again, elsewhere).is_file()
