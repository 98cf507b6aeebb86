"""`holdline drill` on the command line: options that it refuses before the start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import run
from lab.drill import demonstration
from lab.drill.bench import Say
from lab.drill.demonstration import Demonstration
from lab.drill.drill import Wanted, drill
from lab.drill.results import DrillPass, Results
from lab.drill.runner import Job
from lab.drill.scenarios import Proof, Proofs
from lab.drill.selection import SMOKE
from lab.drill.servers import OURS

GOOD = {"lost_turns": 0.0, "first_speech_s": 1.0, "gap_s": 0.0, "misheard": 0.0}
TIMES = {"first_word_s": 0.9, "standby_requests": 0.0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--matrix", "fool"], "full, smoke"),
        (["--only", "tts-cut-rest"], "tts-cut-reset"),
        (["--baseline", "nothing"], "stock-pipecat"),
        (["--bot", "mybot"], "--bot a file that ends in .py"),
        (["--bot", "bot.py", "--baseline", "stock-pipecat"], "cannot be combined"),
        (["--scenario", "breker"], 'did you mean "breaker"?'),
        (
            ["--scenario", "breaker", "--only", "llm-401"],
            "cannot be combined with --matrix, --only",
        ),
        (["--scenario", "breaker", "--matrix", "smoke"], "cannot be combined with --matrix"),
    ],
)
def test_a_wrong_option_is_one_line_with_the_valid_ones(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["drill", *options, "--out", str(tmp_path / "out")])

    line = capsys.readouterr().err
    assert code == 2
    assert told in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_scenario_whose_folder_cannot_be_written_is_not_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.touch()

    assert run(["drill", "--scenario", "breaker", "--out", str(taken)]) == 2

    told = capsys.readouterr()
    assert (told.out, "--out is " in told.err) == ("", True)


async def _prove(say: Say) -> Proofs:
    say(1.0, "the lab breaks it")
    return [Proof(holds=False, text="it goes on")]


def test_a_scenarios_report_is_written_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Demonstration(title="it breaks", play=_prove)
    monkeypatch.setattr(demonstration, "DEMONSTRATIONS", {"breaker": shown})

    assert run(["drill", "--scenario", "breaker", "--out", str(tmp_path / "out")]) == 1

    written = (tmp_path / "out" / "breaker.txt").read_text(encoding="utf-8")
    assert written == capsys.readouterr().out
    assert written.splitlines()[0] == "breaker: it breaks"
    assert written.splitlines()[-1] == "NOT PROVED: it goes on"


def test_a_foreign_results_file_stops_the_drill_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text("{}")

    assert run(["drill", "--out", str(tmp_path)]) == 2
    assert "results.json" in capsys.readouterr().err


class Play:
    """Plays nothing; each row has the given results, pass by pass."""

    def __init__(self, row: str, *lost: float) -> None:
        self._row = row
        self._lost = list(lost)
        self.played: list[list[str]] = []

    async def __call__(self, job: Job, results: Results) -> DrillPass:
        lost = self._lost.pop(0)
        self.played.append([row.name for row in job.rows])
        begun = results.begin(
            began="now",
            commit="",
            options=job.options,
            machine="a machine",
            planned={OURS: {row.name: 1 for row in job.rows}},
        )
        for row in job.rows:
            measures = {**GOOD, **TIMES, "lost_turns": lost if row.name == self._row else 0.0}
            entry: dict[str, Any] = {"pass": begun.number, "row": row.name, "side": OURS, "run": 1}
            results.add({**entry, "measures": measures, "turns": []})
        return begun


def smoke(folder: Path) -> Wanted:
    return Wanted(matrix="smoke", only=(), baseline=None, jobs=1, folder=folder)


def test_a_missed_smoke_row_is_repeated_and_both_results_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Play("llm-5xx", 1.0, 0.0)

    code = asyncio.run(drill(smoke(tmp_path), play=play))

    told = capsys.readouterr().out
    assert code == 0
    assert play.played == [list(SMOKE), ["llm-5xx"]]
    assert told.count("What callers heard") == 2
    assert "llm-5xx: pass 1 missed, pass 2 met; met in 1 of 2 passes" in told
    assert "missed" in (tmp_path / "report.md").read_text()


def test_a_smoke_row_that_misses_twice_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = asyncio.run(drill(smoke(tmp_path), play=Play("llm-5xx", 1.0, 1.0)))

    assert code == 1
    assert "pass 1 missed, pass 2 missed" in capsys.readouterr().out
