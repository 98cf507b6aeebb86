"""The drill's report for the documentation: every pass, as tables in Markdown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lab.drill.results import DrillPass, Results, measured
from lab.drill.rows import Row
from lab.drill.table import (
    MARK,
    RowInPass,
    beside,
    count_met,
    judge_passes,
    marked,
    newest_run,
    others_of,
    titles,
)
from lab.drill.verdicts import TargetFinding, extra_requests

FILE: Final = "report.md"
COLUMNS: Final = (*("fault", "target", "p50", "worst", "verdict", "extra requests"),)
PASS_COLUMNS: Final = ("pass", "started", "commit", "options", "machine", "others used", "rows met")
RUN_COLUMNS: Final = (
    "fault",
    "pass",
    "runs",
    "verdict",
    "worst of each target, in the order above",
)
INTRODUCTION: Final = (
    "Every figure is measured in the recording of what the caller heard. *Extra* is the time"
    " beyond a healthy turn of the same question with the same delays; *gap* is silence inside the"
    " reply beyond the speech's own pauses; *any speech* includes fillers and clips. *Stock* is"
    " plain Pipecat with its own failover, under the same faults. The figures are those of the"
    " newest pass that ran a row; *passes met* says in how many of the passes that should have run"
    " it all of today's targets were met. "
    f"`{MARK}` marks figures that were measured while other processes kept the machine busy."
    " `scripts/drill_report.py` writes this page from [drill-results.json](drill-results.json),"
    " which has every pass.\n\n"
)


def write_markdown(rows: Sequence[Row], results: Results, folder: Path) -> Path:
    """Write the report and return its path."""
    path = folder / FILE
    path.write_text(render(rows, results), encoding="utf-8")
    return path


def render(rows: Sequence[Row], results: Results) -> str:
    """Return the report: all passes, the newest figures of each row, and each row in each pass."""
    side = results.sides[0]
    judged = {row.name: judge_passes(row, side, results) for row in rows}
    return "".join(_page_parts([row for row in rows if judged[row.name]], results, judged))


def _page_parts(
    rows: Sequence[Row], results: Results, judged: dict[str, list[RowInPass]]
) -> Iterator[str]:
    """Yield the parts of the page, for each row and pass."""
    yield "# What callers heard\n\n"
    yield INTRODUCTION
    beside_it = [title for side in results.sides[1:] for title in titles(side)]
    yield _table_head([*COLUMNS, *beside_it, "passes met"])
    for row in rows:
        yield from _target_lines(row, results, judged[row.name])
    yield "\n## The passes\n\n"
    yield _table_head(PASS_COLUMNS)
    for drill_pass in results.passes:
        yield _table_line(_pass_cells(drill_pass, results, judged))
    yield "\n## Every row in every pass\n\n"
    yield _table_head(RUN_COLUMNS)
    for row in rows:
        for index, row_in_pass in enumerate(judged[row.name]):
            yield _table_line(
                [f"`{row.name}`" if index == 0 else "", *_row_cells(row_in_pass, row)]
            )
    known = {row.name for row in rows}
    if gone := sorted(
        {
            name
            for drill_pass in results.passes
            for name in drill_pass.planned.get(results.sides[0], ())
        }
        - known
    ):
        yield f"\nNo longer in the matrix, although passes ran them: {', '.join(gone)}.\n"


def _target_lines(row: Row, results: Results, passes: Sequence[RowInPass]) -> Iterator[str]:
    """Yield a line for each target of a row, with the figures of the newest pass that ran it."""
    newest = newest_run(passes)
    mark = newest.mark
    judged, *others = results.sides
    found_beside = [beside(row, side, results, len(newest.findings)) for side in others]
    more = extra_requests(row, judged, measured(results.newest(row, judged)))
    for index, finding in enumerate(newest.findings):
        yield _table_line(
            [
                f"{row.title} (`{row.name}`)" if index == 0 else "",
                finding.words,
                marked(finding.p50, mark),
                marked(finding.worst, mark),
                _verdict_text(finding),
                "" if index or more is None else f"{more:+.2g}",
                *(cell for found in found_beside for cell in found[index]),
                count_met(passes) if index == 0 else "",
            ]
        )


def _verdict_text(finding: TargetFinding) -> str:
    if finding.met is None:
        return "not judged"
    if finding.met:
        return "met"
    reason = finding.target.if_missed
    return f"**missed**: {reason}" if reason else "**missed**"


def _pass_cells(
    drill_pass: DrillPass, results: Results, judged: dict[str, list[RowInPass]]
) -> list[str]:
    """Return the cells of a pass: its facts, and how many of its rows were met."""
    in_pass = {
        name: row_in_pass
        for name, passes in judged.items()
        for row_in_pass in passes
        if row_in_pass.within.number == drill_pass.number
    }
    parts = [f"{sum(row_in_pass.met for row_in_pass in in_pass.values())} of {len(in_pass)}"]
    for verdict in ("missed", "not run"):
        names = [
            f"`{name}`" for name, row_in_pass in in_pass.items() if row_in_pass.verdict == verdict
        ]
        if names:
            parts.append(f"{verdict}: {', '.join(names)}")
    return [
        str(drill_pass.number),
        drill_pass.began,
        drill_pass.commit or "unknown",
        f"`{drill_pass.options}`" if drill_pass.options else "unknown",
        drill_pass.machine,
        _others_load(drill_pass, results),
        "; ".join(parts) + (f" ({drill_pass.note})" if drill_pass.note else ""),
    ]


def _others_load(drill_pass: DrillPass, results: Results) -> str:
    """Return how much of the processor other programs used during a pass, if measured."""
    others = others_of(results, drill_pass)
    if others is None:
        return "not measured"
    return f"{others[0]:.2f} cores, at most {others[1]:.2f}"


def _row_cells(row_in_pass: RowInPass, row: Row) -> list[str]:
    """Return the cells of a row in one pass: number, runs, verdict, worst figures."""
    wanted = row_in_pass.within.wanted(row.name, next(iter(row_in_pass.within.planned)))
    mark = row_in_pass.mark
    worst = [marked(finding.worst, mark) or "-" for finding in row_in_pass.findings]
    bold = [
        f"**{value}**" if finding.met is False else value
        for finding, value in zip(row_in_pass.findings, worst, strict=True)
    ]
    verdict = "met" if row_in_pass.met else f"**{row_in_pass.verdict}**"
    runs = (
        str(row_in_pass.runs) if row_in_pass.runs >= wanted else f"{row_in_pass.runs} of {wanted}"
    )
    return [str(row_in_pass.within.number), runs, verdict, ", ".join(bold)]


def _table_head(columns: Sequence[str]) -> str:
    return f"{_table_line(columns)}|{' --- |' * len(columns)}\n"


def _table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
