"""The drill's table, for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from lab.drill.results import Results, measured
from lab.drill.rows import LOST, Row
from lab.drill.servers import OURS, STOCK
from lab.drill.tally import count_met, judge_passes, newest_run
from lab.drill.verdicts import TargetFinding, extra_requests, findings


def table(rows: Sequence[Row], results: Results, *, sides: Sequence[str]) -> Table:
    """Return each row's newest results, with stock Pipecat next to ours."""
    shown = Table(title="What the caller's ear got", title_justify="left")
    for name in ("fault", "target", "p50", "worst", "verdict", "passes met", "extra requests"):
        shown.add_column(name, overflow="fold")
    if STOCK in sides:
        for name in ("stock p50", "stock worst"):
            shown.add_column(name, style="dim")
    for row in rows:
        _add(shown, row, results, sides=sides)
        shown.add_section()
    return shown


def _add(shown: Table, row: Row, results: Results, *, sides: Sequence[str]) -> None:
    passes = judge_passes(row, OURS, results)
    if not passes:
        shown.add_row(f"{row.title}\n[dim]{row.name}[/dim]", "", "", "", "not run", "0 of 0", "")
        return
    newest = newest_run(passes)
    mark = newest.mark
    more = extra_requests(row, OURS, measured(results.newest(row, OURS)))
    stock = _stock(row, results) if STOCK in sides else ()
    for index, finding in enumerate(newest.findings):
        cells = [
            f"{row.title}\n[dim]{row.name}[/dim]" if index == 0 else "",
            finding.told,
            marked(finding.p50, mark),
            marked(finding.worst, mark),
            verdict(finding),
            count_met(passes) if index == 0 else "",
            "" if index or more is None else f"{more:+.2g}",
        ]
        if STOCK in sides:
            other = stock[index] if index < len(stock) else None
            cells += [number(other.p50), number(other.worst)] if other else ["", ""]
        shown.add_row(*cells)


def _stock(row: Row, results: Results) -> tuple[TargetFinding, ...]:
    return findings(row, STOCK, measured(results.newest(row, STOCK)))


def number(value: float | None) -> str:
    """Return a measure as text."""
    if value is None:
        return ""
    if value == LOST:
        return "never"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value else "0"


def marked(value: float | None, mark: str) -> str:
    """Return a measure with its pass's mark."""
    return f"{number(value)}{mark}" if value is not None else ""


def verdict(finding: TargetFinding) -> str:
    """Return a verdict as text."""
    if finding.met is None:
        return "not judged"
    if finding.met:
        return "[green]met[/green]"
    reason = f": {finding.target.if_missed}" if finding.target.if_missed else ""
    return f"[red]missed[/red]{reason}"
