"""What the drill has measured so far: one JSON file that only grows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bot.exits import UsageError
from drill import judge as judging
from drill.evidence import Judged
from drill.measured import length_of, speech_of
from drill.rows import HEALTHY, Row
from drill.verdicts import Measured

FILE: Final = "results.json"
FIGURES: Final = "figures.json"
DIGITS: Final = 4  # of a second: more than a telephone's sound can tell


class Results:
    """The runs in a folder, of this pass of the drill and of earlier ones."""

    def __init__(self, folder: Path) -> None:
        """Read what is there.

        Raises:
            UsageError: There is a file of that name that the drill has not written.
        """
        self._path = folder / FILE
        self.entries: list[dict[str, Any]] = []
        if self._path.is_file():
            try:
                self.entries = list(json.loads(self._path.read_text(encoding="utf-8"))["runs"])
            except (ValueError, KeyError, TypeError) as wrong:
                raise UsageError(f"{self._path} holds no results of a drill") from wrong

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a run, and have it on disk before the next one begins."""
        self.entries.append(dict(entry))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".tmp")
        text = json.dumps({"runs": self.entries}, ensure_ascii=False, indent=1)
        written.write_text(text + "\n", encoding="utf-8")
        written.replace(self._path)

    def write_figures(self) -> Path:
        """Write all runs without their turns, a run a line, and return the path.

        It is small enough to be kept, and as `results.json` it lets further passes be added.
        """
        lines = [
            json.dumps({**run, "measures": _rounded(run["measures"]), "turns": []})
            for run in self.entries
        ]
        path = self._path.with_name(FIGURES)
        path.write_text('{"runs": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
        return path

    def passes(self, row: Row, side: str) -> list[list[dict[str, Any]]]:
        """Return the entries of each pass that ran a row on a side, oldest pass first.

        Where a pass did not run the healthy row, which others are compared with, on some side, the
        newest runs of that there are on that side stand in.
        """
        names = dict.fromkeys(e["pass"] for e in self.of(row.name, side))
        return [self._whole([e for e in self.entries if e["pass"] == name]) for name in names]

    def newest(self, row: Row, side: str) -> list[dict[str, Any]]:
        """Return the entries of the newest pass that ran a row on a side; all its rows."""
        passes = self.passes(row, side)
        return passes[-1] if passes else []

    def of(self, row: str, side: str) -> list[dict[str, Any]]:
        """Return every entry of a row on a side, oldest first."""
        return [each for each in self.entries if each["row"] == row and each["side"] == side]

    def _whole(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        measured_sides = {each["side"] for each in entries if each["row"] == HEALTHY}
        for side in dict.fromkeys(each["side"] for each in self.entries):
            healthy = self.of(HEALTHY, side)
            if healthy and side not in measured_sides:
                entries += [each for each in healthy if each["pass"] == healthy[-1]["pass"]]
        return entries


def _rounded(measures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in measures.items()}


def measured(entries: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """Return entries as what verdicts are made of."""
    return [
        Measured(
            row=each["row"],
            side=each["side"],
            run=each["run"],
            measures=each["measures"],
            error=each.get("error", ""),
        )
        for each in entries
    ]


def turn_as_json(each: Judged) -> dict[str, Any]:
    """Return what is kept of a turn; times are seconds from the caller's stop."""
    stop_s = each.turn.stop_s - each.turn.began_s
    verdict = dict(judging.as_json(each.verdict))
    verdict["words"] = [
        [text, provider, at_s - stop_s, end_s - stop_s]
        for text, provider, at_s, end_s in verdict["words"]
    ]
    return {
        "question": each.turn.question,
        "answer": each.turn.answer,
        "began_s": -stop_s,
        "ended_s": length_of(each) - stop_s,
        "speech": speech_of(each),
        "requests": [asdict(asked) for asked in each.requests],
        "verdict": verdict,
    }
