"""Stored results, and the pages made of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.drill import markdown, report
from lab.drill.results import FILE, Results
from lab.drill.rows import EVERY_WORD, HEALTHY, NEVER_SILENT, Row, extra
from lab.drill.runner import Job, run_all
from lab.drill.servers import OURS, STOCK
from lab.drill.table import count_met, judge_passes, missed, newest_run
from runtime.exits import UsageError

ROW = Row(name="tts-cut", title="TTS <cut>", targets=(EVERY_WORD, NEVER_SILENT))
ONE_RUN = {ROW.name: 1}
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


def entry(
    number: int, *, row: str = ROW.name, side: str = OURS, lost: float = 0.0, run: int = 1
) -> dict[str, Any]:
    return {
        "pass": number,
        "row": row,
        "side": side,
        "run": run,
        "measures": {"lost_turns": lost, "first_speech_s": 1.0},
        "turns": [TURN],
    }


def begin(kept: Results, began: str, *, note: str = "", rows: Mapping[str, int] = ONE_RUN) -> int:
    return kept.begin(
        began=began,
        commit="0123456789",
        options="--matrix full --jobs 2",
        machine="a machine",
        planned={OURS: rows, STOCK: rows},
        note=note,
    ).number


@pytest.fixture
def results(tmp_path: Path) -> Results:
    kept = Results(tmp_path)
    kept.add(entry(begin(kept, "monday")))
    tuesday = begin(kept, "tuesday")
    kept.add(entry(tuesday, lost=1.0))
    kept.add(entry(tuesday, side=STOCK, lost=1.0))
    return kept


def test_a_pass_is_stored_before_its_first_run(tmp_path: Path) -> None:
    begin(Results(tmp_path), "monday")

    (begun,) = Results(tmp_path).passes
    assert (begun.number, begun.began, begun.commit) == (1, "monday", "0123456789")
    assert begun.options == "--matrix full --jobs 2"


@pytest.mark.parametrize("later", [("wednesday",), ()], ids=["in the middle", "the last"])
def test_a_file_without_one_of_its_passes_is_refused(
    results: Results, tmp_path: Path, later: tuple[str, ...]
) -> None:
    for began in later:
        begin(results, began)
    kept = json.loads((tmp_path / FILE).read_text())
    kept["passes"] = [item for item in kept["passes"] if item["number"] != 2]
    (tmp_path / FILE).write_text(json.dumps(kept))

    with pytest.raises(UsageError, match="pass 2"):
        Results(tmp_path)


def test_a_row_is_counted_in_every_pass_that_should_run_it(results: Results) -> None:
    begin(results, "wednesday")  # was stopped before its first run

    passes = judge_passes(ROW, OURS, results)

    assert [drill_pass.verdict for drill_pass in passes] == ["met", "missed", "not run"]
    assert count_met(passes) == "1 of 3"


def test_the_figures_of_a_row_are_those_of_the_newest_pass_that_ran_it(results: Results) -> None:
    begin(results, "wednesday")  # was stopped before its first run
    first, second, _ = judge_passes(ROW, OURS, results)

    assert newest_run([first, second]) is second
    assert newest_run(judge_passes(ROW, OURS, results)).within.began == "tuesday"
    assert "| turns not whole ≤ 0 | 1 | 1 | **missed** |" in markdown.render([ROW], results)
    assert missed([ROW], results, OURS) == [ROW.name]


def test_a_pass_with_missing_runs_of_a_row_has_not_met_it(tmp_path: Path) -> None:
    kept = Results(tmp_path)
    number = begin(kept, "monday", rows={ROW.name: 2})
    kept.add(entry(number))
    (half,) = judge_passes(ROW, OURS, kept)
    kept.add(entry(number, run=2))
    (whole,) = judge_passes(ROW, OURS, kept)

    assert not half.met
    assert whole.met


def test_a_later_healthy_row_does_not_change_an_earlier_passs_verdict(tmp_path: Path) -> None:
    kept = Results(tmp_path)
    late = replace(ROW, targets=(extra(0.3),))
    kept.add(entry(begin(kept, "monday"), row=HEALTHY) | {"measures": {"first_word_s": 0.9}})
    kept.add(entry(begin(kept, "tuesday")) | {"measures": {"first_word_s": 1.4}})
    before = judge_passes(late, OURS, kept)[-1].findings[0].worst
    kept.add(entry(begin(kept, "wednesday"), row=HEALTHY) | {"measures": {"first_word_s": 1.3}})

    assert before == pytest.approx(0.5)
    assert judge_passes(late, OURS, kept)[1].findings[0].worst == before


def test_figures_measured_under_other_load_are_marked_row_by_row(tmp_path: Path) -> None:
    kept = Results(tmp_path)
    other = replace(ROW, name="another")
    number = begin(kept, "monday", rows={ROW.name: 1, other.name: 1})
    kept.add(entry(number) | {"others_cores": 1.5})
    kept.add(entry(number, row=other.name) | {"others_cores": 0.1})
    page = markdown.render([ROW, other], kept)

    assert "0.80 cores, at most 1.50" in page
    assert f"| `{ROW.name}` | 1 | 1 | met | 0*, 1* |" in page
    assert f"| `{other.name}` | 1 | 1 | met | 0, 1 |" in page


def test_a_missed_target_stays_in_the_table_with_its_reason(tmp_path: Path) -> None:
    kept = Results(tmp_path)
    kept.add(entry(begin(kept, "monday"), lost=1.0))
    row = replace(ROW, targets=(replace(EVERY_WORD, if_missed="it was the dog"),))

    assert "**missed**: it was the dog" in markdown.render([row], kept)
    assert "missed: it was the dog" in report.write_report([row], kept, tmp_path).read_text()


def test_the_reports_have_every_pass_with_its_code_machine_and_options(
    results: Results, tmp_path: Path
) -> None:
    begin(results, "wednesday", note="a note")
    pages = [
        markdown.render([ROW], results),
        report.write_report([ROW], results, tmp_path).read_text(),
    ]

    for page in pages:
        for told in ("monday", "tuesday", "wednesday", "a machine", "0123456789", "a note"):
            assert told in page
        assert page.count("--matrix full --jobs 2") == 3
        assert "1 of 3" in page
    assert "|  | 2 | 1 | **missed** | **1**, 1 |" in pages[0]
    assert "|  | 3 | 0 of 1 | **not run** |" in pages[0]
    assert f"| 0 of 1; missed: `{ROW.name}` |" in pages[0]
    assert f"| 0 of 1; not run: `{ROW.name}` (a note) |" in pages[0]
    assert "monday" in pages[1]


def test_a_row_that_left_the_matrix_is_still_named(results: Results) -> None:
    assert f"{ROW.name}." in markdown.render([replace(ROW, name="another")], results)


def test_a_side_without_a_healthy_row_in_a_pass_is_compared_with_the_last_one(
    tmp_path: Path,
) -> None:
    kept = Results(tmp_path)
    monday = begin(kept, "monday", rows={HEALTHY: 1})
    kept.add(entry(monday, row=HEALTHY))
    kept.add(entry(monday, row=HEALTHY, side=STOCK))
    tuesday = begin(kept, "tuesday")
    kept.add(entry(tuesday, row=HEALTHY))
    kept.add(entry(tuesday))

    found = [(item["pass"], item["side"], item["row"]) for item in kept.newest(ROW, OURS)]

    assert found == [
        (tuesday, OURS, HEALTHY),
        (tuesday, OURS, ROW.name),
        (monday, STOCK, HEALTHY),
    ]


async def test_stock_pipecat_is_measured_once_for_each_row(
    results: Results, tmp_path: Path
) -> None:
    row = replace(ROW, runs=1)
    told: list[Any] = []
    job = Job(rows=[row], sides=[STOCK], folder=tmp_path, jobs=1, options="", emit=told.append)

    await run_all(job, results)

    assert told == []


def test_runs_are_appended_to_earlier_passes(results: Results, tmp_path: Path) -> None:
    again = Results(tmp_path)
    again.add(entry(begin(again, "wednesday")))

    assert [item["pass"] for item in Results(tmp_path).entries] == [1, 2, 2, 3]
    assert [drill_pass.number for drill_pass in Results(tmp_path).passes] == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "[]", '{"walks": 1}', "[1"])
def test_a_foreign_file_is_not_overwritten(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(UsageError, match=r"results\.json"):
        Results(tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_the_newest_pass_of_a_row_decides(results: Results) -> None:
    assert missed([ROW], results, OURS) == ["tts-cut"]

    results.add(entry(begin(results, "wednesday")))
    assert missed([ROW], results, OURS) == []


def test_a_row_that_was_never_run_counts_as_missed(tmp_path: Path) -> None:
    assert missed([ROW], Results(tmp_path), OURS) == ["tts-cut"]


def test_the_html_report_loads_nothing(results: Results, tmp_path: Path) -> None:
    page = report.write_report([ROW], results, tmp_path).read_text()

    assert not re.findall(r"(?:https?:)?//|@import|<script|src=", page)
    assert "TTS &lt;cut&gt;" in page
    assert page.count("<svg") == 2  # the newest pass, which missed: one run of each side
    assert "haircut (cartesia, 1.00 s)" in page
    assert "cartesia: cut after 2 words, cut" in page
    assert "missing: forty" in page


def test_further_passes_can_be_added_to_the_figures_alone(results: Results, tmp_path: Path) -> None:
    figures = results.write_figures()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / FILE).write_bytes(figures.read_bytes())
    again = Results(elsewhere)

    assert again.passes == results.passes
    assert [item["measures"] for item in again.entries] == [
        item["measures"] for item in results.entries
    ]
    assert all(item["turns"] == [] for item in again.entries)
    assert missed([ROW], again, OURS) == missed([ROW], results, OURS)
    report.write_report([ROW], again, elsewhere)
    assert markdown.write_markdown([ROW], again, elsewhere).is_file()
