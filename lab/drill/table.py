"""The drill's table, for a terminal."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from lab.drill.results import DrillPass, Results, measured
from lab.drill.rows import LOST, Row
from lab.drill.servers import is_bot, title_of
from lab.drill.verdicts import TargetFinding, extra_requests, findings, passed

BUSY_CORES: Final = 0.25  # chosen: other load above this is marked
MARK: Final = "*"  # after a figure that was measured under other load


@dataclass(frozen=True, slots=True, kw_only=True)
class RowInPass:
    """One pass's result for a row.

    Attributes:
        within: The pass.
        findings: One for each target.
        runs: How many runs took place.
        met: Whether every target holds and no planned run is missing.
        mark: To print after its figures: `MARK` if other processes kept the machine busy.
    """

    within: DrillPass
    findings: tuple[TargetFinding, ...]
    runs: int
    met: bool
    mark: str = ""

    @property
    def verdict(self) -> str:
        """The verdict as text: met, missed or not run."""
        return "met" if self.met else "missed" if self.runs else "not run"


def judge_passes(row: Row, side: str, results: Results) -> list[RowInPass]:
    """Return the row's result in each pass that was to run it, oldest first."""
    return [
        _judge_row(row, side, results, drill_pass) for drill_pass in results.passes_of(row, side)
    ]


def _judge_row(row: Row, side: str, results: Results, drill_pass: DrillPass) -> RowInPass:
    """Judge a row's runs in one pass, compared with the healthy runs of the same pass if any."""
    entries = results.of_pass(drill_pass)
    runs = measured(entries)
    of_row = [
        entry for entry in entries if (entry["row"], entry["side"], entry["pass"])
        == (row.name, side, drill_pass.number)
    ]  # fmt: skip
    # A missing run counts as a failed run.
    is_complete = len(of_row) >= drill_pass.wanted(row.name, side)
    return RowInPass(
        within=drill_pass,
        findings=findings(row, side, runs),
        runs=len(of_row),
        met=is_complete and passed(row, side, runs),
        mark=MARK if _is_busy(_known_loads(of_row)) else "",
    )


def newest_run(passes: Sequence[RowInPass]) -> RowInPass:
    """Return the row's result in the newest pass that ran it; in the newest pass if none did."""
    return next((drill_pass for drill_pass in reversed(passes) if drill_pass.runs), passes[-1])


def count_met(passes: Sequence[RowInPass]) -> str:
    """Return in how many passes a row was met, as text: "2 of 3"."""
    return f"{sum(drill_pass.met for drill_pass in passes)} of {len(passes)}"


def missed(rows: Sequence[Row], results: Results, side: str) -> list[str]:
    """Return the names of the rows that were not met in their newest pass, or have none."""
    newest = {row.name: judge_passes(row, side, results)[-1:] for row in rows}
    return [name for name, passes in newest.items() if not (passes and passes[0].met)]


def others_of(results: Results, drill_pass: DrillPass) -> tuple[float, float] | None:
    """Return the cores that other processes used in a pass: median, maximum; `None` if unknown."""
    values = _known_loads(
        [entry for entry in results.entries if entry["pass"] == drill_pass.number]
    )
    return (statistics.median(values), max(values)) if values else None


def _known_loads(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    known = (entry.get("others_cores") for entry in entries)
    return [item for item in known if item is not None]


def _is_busy(others: Sequence[float]) -> bool:
    return bool(others) and statistics.median(others) > BUSY_CORES


def table(rows: Sequence[Row], results: Results, *, sides: Sequence[str]) -> Table:
    """Return each row's newest results of the first side, and of the others for comparison."""
    judged, *others = sides
    heard = f" from {title_of(judged)}" if is_bot(judged) else ""
    shown = Table(title=f"What callers heard{heard}", title_justify="left")
    for name in ("fault", "target", "p50", "worst", "verdict", "passes met", "extra requests"):
        shown.add_column(name, overflow="fold")
    for side in others:
        for name in titles(side):
            shown.add_column(name, style="dim", overflow="fold")
    for row in rows:
        _add_row_lines(shown, row, results, sides=sides)
        shown.add_section()
    return shown


def _add_row_lines(shown: Table, row: Row, results: Results, *, sides: Sequence[str]) -> None:
    """Add a line to the table for each target of a row; a single one if no pass was to run it."""
    judged, *others = sides
    passes = judge_passes(row, judged, results)
    if not passes:
        shown.add_row(f"{row.title}\n[dim]{row.name}[/dim]", "", "", "", "not run", "0 of 0", "")
        return
    newest = newest_run(passes)
    mark = newest.mark
    more = extra_requests(row, judged, measured(results.newest(row, judged)))
    found_beside = [beside(row, side, results, len(newest.findings)) for side in others]
    for index, finding in enumerate(newest.findings):
        cells = [
            f"{row.title}\n[dim]{row.name}[/dim]" if index == 0 else "",
            finding.words,
            marked(finding.p50, mark),
            marked(finding.worst, mark),
            verdict(finding),
            count_met(passes) if index == 0 else "",
            "" if index or more is None else f"{more:+.2g}",
        ]
        cells += [cell for found in found_beside for cell in found[index]]
        shown.add_row(*cells)


def titles(side: str) -> tuple[str, str]:
    """Return the heads of the columns of a side that is shown for comparison."""
    return f"{title_of(side)} p50", f"{title_of(side)} worst"


def beside(row: Row, side: str, results: Results, targets: int) -> list[tuple[str, str]]:
    """Return the median and the worst figure of such a side, as text; one pair for each target.

    A missed target is marked if the side is a developer's own bot.
    """
    found = findings(row, side, measured(results.newest(row, side)))
    cells = [
        (number(item.p50), number(item.worst) + " missed" * (is_bot(side) and item.met is False))
        for item in found
    ]
    return [*cells, *([("", "")] * targets)][:targets]


def number(value: float | None) -> str:
    """Return a measure as text; empty if there is none."""
    if value is None:
        return ""
    if value == LOST:
        return "never"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value else "0"


def marked(value: float | None, mark: str) -> str:
    """Return a measure as text, with its pass's mark."""
    return f"{number(value)}{mark}" if value is not None else ""


def verdict(finding: TargetFinding) -> str:
    """Return a verdict with rich's markup, and the known cause of a miss."""
    if finding.met is None:
        return "not judged"
    if finding.met:
        return "[green]met[/green]"
    reason = f": {finding.target.if_missed}" if finding.target.if_missed else ""
    return f"[red]missed[/red]{reason}"
