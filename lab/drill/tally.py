"""Counts how often a row met its targets, in every pass that should run it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.drill.results import DrillPass, Results, measured
from lab.drill.rows import Row
from lab.drill.verdicts import TargetFinding, findings, passed

BESIDE_CORES: Final = 0.25  # chosen: other load above this is marked
MARK: Final = "*"  # after a figure that was measured under other load


@dataclass(frozen=True, slots=True, kw_only=True)
class RowInPass:
    """One pass's result for a row.

    Attributes:
        within: The pass.
        findings: Target by target.
        runs: How many there are, of those planned.
        met: Whether every target holds, with all planned runs.
        mark: After its figures: other processes kept the machine busy.
    """

    within: DrillPass
    findings: tuple[TargetFinding, ...]
    runs: int
    met: bool
    mark: str = ""

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return "met" if self.met else "missed" if self.runs else "not run"


def judge_passes(row: Row, side: str, results: Results) -> list[RowInPass]:
    """Return each pass's result for a row, oldest first, if it should run it."""
    return [_judge(row, side, results, one) for one in results.passes_of(row, side)]


def _judge(row: Row, side: str, results: Results, one: DrillPass) -> RowInPass:
    entries = results.of_pass(one)
    runs = measured(entries)
    of_row = [
        entry for entry in entries if (entry["row"], entry["side"], entry["pass"])
        == (row.name, side, one.number)
    ]  # fmt: skip
    whole = len(of_row) >= one.wanted(row.name, side)  # a missing run counts as a failed one
    return RowInPass(
        within=one,
        findings=findings(row, side, runs),
        runs=len(of_row),
        met=whole and passed(row, side, runs),
        mark=MARK if _is_busy(_others(of_row)) else "",
    )


def newest_run(passes: Sequence[RowInPass]) -> RowInPass:
    """Return the newest pass that ran the row; the newest one if none did."""
    return next((drill_pass for drill_pass in reversed(passes) if drill_pass.runs), passes[-1])


def count_met(passes: Sequence[RowInPass]) -> str:
    """Return how often a row was met, as text."""
    return f"{sum(drill_pass.met for drill_pass in passes)} of {len(passes)}"


def missed(rows: Sequence[Row], results: Results, side: str) -> list[str]:
    """Return the names of rows that missed in their newest pass."""
    newest = {row.name: judge_passes(row, side, results)[-1:] for row in rows}
    return [name for name, passes in newest.items() if not (passes and passes[0].met)]


def others_of(results: Results, one: DrillPass) -> tuple[float, float] | None:
    """Return the cores that others used in a pass: the median and the most; `None` if unknown."""
    values = _others([entry for entry in results.entries if entry["pass"] == one.number])
    return (statistics.median(values), max(values)) if values else None


def _others(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    known = (entry.get("others_cores") for entry in entries)
    return [item for item in known if item is not None]


def _is_busy(others: Sequence[float]) -> bool:
    return bool(others) and statistics.median(others) > BESIDE_CORES
