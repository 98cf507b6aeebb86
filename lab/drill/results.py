"""The drill's measurements so far: one JSON file that only grows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.drill import judge as judging
from lab.drill.evidence import JudgedTurn
from lab.drill.measured import length_of, speech_of
from lab.drill.rows import HEALTHY, Row
from lab.drill.servers import OURS, STOCK, is_bot
from lab.drill.verdicts import Measured
from runtime.exits import UsageError

FILE: Final = "results.json"
FIGURES: Final = "figures.json"
DIGITS: Final = 4  # of a second: more than a telephone's sound can resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillPass:
    """One pass of the drill, recorded at its start, however it ends.

    Attributes:
        number: From 1; refers to its runs. A gap in the numbers is a pass that a person removed.
        began: The date.
        commit: Of the code; empty if unknown.
        options: Of the command line.
        machine: A short description.
        planned: How many runs each row should have, by side and row.
        note: A remark.
    """

    number: int
    began: str
    commit: str
    options: str
    machine: str
    planned: Mapping[str, Mapping[str, int]]
    note: str = field(default="")

    def wanted(self, row: str, side: str) -> int:
        """Return how many runs a row should have on a side."""
        return self.planned.get(side, {}).get(row, 0)


class Results:
    """All passes recorded in a folder and their runs, including those of earlier drills."""

    def __init__(self, folder: Path, *, file: str = FILE) -> None:
        """Read the existing results.

        Raises:
            UsageError: The file is not one of the drill's, or lacks a pass.
        """
        self._path = folder / file
        self.passes: list[DrillPass] = []
        self.entries: list[dict[str, Any]] = []
        if self._path.is_file():
            try:
                kept = json.loads(self._path.read_text(encoding="utf-8"))
                self.passes = [DrillPass(**item) for item in kept["passes"]]
                self.entries = list(kept["runs"])
            except (ValueError, KeyError, TypeError) as wrong:
                raise UsageError(
                    f"{self._path} does not have the results of a drill with its passes;"
                    " choose another --out, or move it away"
                ) from wrong
            self._check_passes()

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides of the report: the one that the newest pass judges, and those to compare."""
        judged = next(iter(self.passes[-1].planned), OURS) if self.passes else OURS
        if not is_bot(judged):
            return (judged, STOCK)
        measured_sides = dict.fromkeys(entry["side"] for entry in self.entries)
        return (judged, *(side for side in measured_sides if is_bot(side) and side != judged))

    def begin(self, **known: Any) -> DrillPass:
        """Record a pass before its first run, and return it; `known` are its other fields."""
        begun = DrillPass(number=len(self.passes) + 1, **known)
        self.passes.append(begun)
        self._write_file()
        return begun

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a run, and write all results to the file before the next one begins."""
        self.entries.append(dict(entry))
        self._write_file()

    def write_figures(self) -> Path:
        """Write everything except the turns, one line for each pass or run; return the path.

        The file is small enough to commit. Renamed to `results.json`, it accepts further passes.
        """
        runs = [
            json.dumps({**run, "measures": _rounded_measures(run["measures"]), "turns": []})
            for run in self.entries
        ]
        passes = [json.dumps(asdict(drill_pass), ensure_ascii=False) for drill_pass in self.passes]
        path = self._path.with_name(FIGURES)
        path.write_text(
            '{"passes": [\n'
            + ",\n".join(passes)
            + '\n],\n"runs": [\n'
            + ",\n".join(runs)
            + "\n]}\n",
            encoding="utf-8",
        )
        return path

    def passes_of(self, row: Row, side: str) -> list[DrillPass]:
        """Return every pass that should run a row on a side, oldest first."""
        return [drill_pass for drill_pass in self.passes if drill_pass.wanted(row.name, side)]

    def of_pass(self, drill_pass: DrillPass) -> list[dict[str, Any]]:
        """Return the runs of a pass, with those of the healthy row, which others are compared with.

        If the pass has no healthy run of some side, those of the last earlier pass that has some
        are added, or else of the first later one.
        """
        entries = [entry for entry in self.entries if entry["pass"] == drill_pass.number]
        measured_sides = {entry["side"] for entry in entries if entry["row"] == HEALTHY}
        for side in dict.fromkeys(entry["side"] for entry in self.entries):
            if side not in measured_sides:
                entries += self._healthy_for(drill_pass, side)
        return entries

    def newest(self, row: Row, side: str) -> list[dict[str, Any]]:
        """Return all runs of the newest pass that ran this row on this side, of all rows."""
        runs = self.of(row.name, side)
        return self.of_pass(self.passes[runs[-1]["pass"] - 1]) if runs else []

    def of(self, row: str, side: str) -> list[dict[str, Any]]:
        """Return every run of a row on a side, oldest first."""
        return [entry for entry in self.entries if entry["row"] == row and entry["side"] == side]

    def _healthy_for(self, drill_pass: DrillPass, side: str) -> list[dict[str, Any]]:
        """Return the healthy runs of the last earlier pass that has some, or the first later."""
        healthy = self.of(HEALTHY, side)
        numbers = {entry["pass"] for entry in healthy}
        earlier = {number for number in numbers if number < drill_pass.number}
        nearest = max(earlier) if earlier else min(numbers, default=0)
        return [entry for entry in healthy if entry["pass"] == nearest]

    def _check_passes(self) -> None:
        """Raise `UsageError` if a pass is missing, or a run belongs to none."""
        numbers = [drill_pass.number for drill_pass in self.passes]
        expected = list(range(1, len(numbers) + 1))
        if numbers != expected:
            missing = next((n for n in expected if n not in numbers), len(numbers))
            raise UsageError(
                f"{self._path} lacks pass {missing}; a report needs every pass that was begun"
            )
        if strays := {entry["pass"] for entry in self.entries} - set(numbers):
            raise UsageError(f"{self._path} has runs of pass {min(strays)}, which it does not list")

    def _write_file(self) -> None:
        """Write all passes and runs; the old file stays until the new one is complete."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new_file = self._path.with_suffix(".tmp")  # complete before it replaces the old one
        kept = {"passes": [asdict(drill_pass) for drill_pass in self.passes], "runs": self.entries}
        text = json.dumps(kept, ensure_ascii=False, indent=1)
        new_file.write_text(text + "\n", encoding="utf-8")
        new_file.replace(self._path)


def _rounded_measures(measures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in measures.items()}


def measured(entries: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """Return entries as values for verdicts."""
    return [
        Measured(
            row=entry["row"],
            side=entry["side"],
            run=entry["run"],
            measures=entry["measures"],
            error=entry.get("error", ""),
        )
        for entry in entries
    ]


def turn_as_json(judged: JudgedTurn) -> dict[str, Any]:
    """Return the stored part of a turn; times are seconds from the caller's stop."""
    stop_s = judged.turn.stop_s - judged.turn.began_s
    verdict = dict(judging.verdict_as_json(judged.verdict))
    verdict["words"] = [
        [text, provider, at_s - stop_s, end_s - stop_s]
        for text, provider, at_s, end_s in verdict["words"]
    ]
    return {
        "question": judged.turn.question,
        "answer": judged.turn.answer,
        "began_s": -stop_s,
        "ended_s": length_of(judged) - stop_s,
        "speech": speech_of(judged),
        "requests": [asdict(asked) for asked in judged.requests],
        "verdict": verdict,
    }
