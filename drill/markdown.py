"""The drill's report for the documentation: the table alone, as Markdown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from drill.results import Results, measured
from drill.rows import Row
from drill.servers import OURS, STOCK
from drill.table import number
from drill.verdicts import extra_requests, findings, passed

FILE: Final = "report.md"
COLUMNS: Final = (
    *("fault", "target", "p50", "worst", "verdict", "extra requests"),
    *("stock p50", "stock worst", "passes"),
)
HOW: Final = (
    "Every figure is taken from the recording at the caller's ear. *Extra* is what is beyond a"
    " healthy turn of the same question with the same delays; *gap* is silence inside the reply"
    " beyond the speech's own pauses; *any speech* counts fillers and clips too. *Stock* is plain"
    " Pipecat with its own failover, under the same faults. *Passes* counts the passes of the"
    " drill in which the row met every target.\n\n"
)


def write(rows: Sequence[Row], results: Results, folder: Path) -> Path:
    """Write the table of the newest runs and return its path."""
    path = folder / FILE
    path.write_text("".join(_page(rows, results)), encoding="utf-8")
    return path


def _page(rows: Sequence[Row], results: Results) -> Iterator[str]:
    yield "# What the caller's ear got\n\n"
    yield HOW
    for began, machine in dict.fromkeys((e["pass"], e["machine"]) for e in results.entries):
        yield f"- Pass of {began} on {machine}\n"
    yield f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}\n"
    for row in rows:
        if results.newest(row, OURS):
            yield from _lines(row, results)


def _lines(row: Row, results: Results) -> Iterator[str]:
    runs = measured(results.newest(row, OURS))
    stock = findings(row, STOCK, measured(results.newest(row, STOCK)))
    more = extra_requests(row, OURS, runs)
    for index, each in enumerate(findings(row, OURS, runs)):
        other = stock[index] if index < len(stock) else None
        cells = [
            f"{row.title} (`{row.name}`)" if index == 0 else "",
            each.told,
            number(each.p50),
            number(each.worst),
            {True: "met", False: "**missed**", None: "not judged"}[each.met],
            "" if index or more is None else f"{more:+.2g}",
            number(other.p50) if other else "",
            number(other.worst) if other else "",
            _passes(row, results) if index == 0 else "",
        ]
        yield f"| {' | '.join(cells)} |\n"


def _passes(row: Row, results: Results) -> str:
    each_pass = [measured(entries) for entries in results.passes(row, OURS)]
    good = sum(passed(row, OURS, runs) for runs in each_pass)
    return f"{good} of {len(each_pass)}"
