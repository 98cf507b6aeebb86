"""The drill's report: one HTML file that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from drill.results import Results, measured
from drill.rows import Row
from drill.servers import OURS, STOCK
from drill.table import number
from drill.verdicts import Finding, extra_requests, findings, passed
from drill.waterfall import waterfall

FILE: Final = "report.html"
STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.met { color: #16a34a; } .missed { color: #dc2626; font-weight: 600; }
svg { width: 100%; height: auto; background: #8881; border-radius: 4px; margin: .3rem 0 1rem; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg text.word { fill: #fff; font-size: 10px; } svg text.tick { opacity: .7; }
svg line.grid { stroke: #8884; } svg line.budget { stroke: #dc2626; stroke-dasharray: 4 3; }
svg circle.good { fill: #16a34a; } svg circle.bad { fill: #dc2626; }
"""
HOW: Final = """
<p>Every figure is taken from the recording at the caller's ear. A word counts as heard when the
very samples that a simulated voice sent are found there. <em>Extra</em> is what is beyond a
healthy turn of the same question with the same delays; <em>gap</em> is silence inside the reply
beyond the speech's own pauses; <em>any speech</em> counts fillers and clips too. The dashed line
is 1.5 s after the caller's last sound.</p>
"""


def write(rows: Sequence[Row], results: Results, folder: Path) -> Path:
    """Write the report of the newest runs and return its path."""
    path = folder / FILE
    path.write_text("".join(_page(rows, results)), encoding="utf-8")
    return path


def _page(rows: Sequence[Row], results: Results) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><title>Holdline drill</title>'
    yield f"<style>{STYLE}</style></head><body><h1>What the caller's ear got</h1>{HOW}"
    run = [row for row in rows if results.newest(row, OURS)]
    yield from _machines(results)
    yield "<table><tr><th>fault</th><th>target</th><th>p50</th><th>worst</th><th>verdict</th>"
    yield "<th>extra requests</th><th>stock p50</th><th>stock worst</th></tr>"
    for row in run:
        yield from _lines(row, results)
    yield "</table>"
    for row in run:
        yield from _pictures(row, results)
    yield "</body></html>\n"


def _machines(results: Results) -> Iterator[str]:
    seen = dict.fromkeys((each["pass"], each["machine"]) for each in results.entries)
    for began, machine in seen:
        yield f"<p>Pass of {escape(began)} on {escape(machine)}.</p>"


def _lines(row: Row, results: Results) -> Iterator[str]:
    runs = measured(results.newest(row, OURS))
    stock = findings(row, STOCK, measured(results.newest(row, STOCK)))
    more = extra_requests(row, OURS, runs)
    for index, each in enumerate(findings(row, OURS, runs)):
        title = f'<a href="#{row.name}">{escape(row.title)}</a>' if index == 0 else ""
        verdict = "" if each.met is None else "met" if each.met else "missed"
        asked = "" if index or more is None else f"{more:+.2g}"
        yield f"<tr><td>{title}</td><td>{escape(each.told)}</td>{_numbers(each)}"
        yield f'<td class="{verdict}">{verdict or "not judged"}</td><td class="n">{asked}</td>'
        yield f"{_numbers(stock[index] if index < len(stock) else None)}</tr>"


def _numbers(finding: Finding | None) -> str:
    values = (finding.p50, finding.worst) if finding else (None, None)
    return "".join(f'<td class="n">{number(value)}</td>' for value in values)


def _pictures(row: Row, results: Results) -> Iterator[str]:
    good = passed(row, OURS, measured(results.newest(row, OURS)))
    yield f'<h2 id="{row.name}">{escape(row.title)} <small>{row.name}</small></h2>'
    yield f"<p>{row.plan}; {'passed' if good else 'missed'}.</p>"
    for side in (OURS, STOCK):
        for entry in results.newest(row, side):
            if entry["row"] == row.name and entry["side"] == side:
                yield from _run(entry)


def _run(entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3>{escape(entry['side'])}, run {entry['run']}</h3>"
    if entry.get("error"):
        yield f'<p class="missed">{escape(entry["error"])}</p>'
    for turn in entry["turns"]:
        verdict = turn["verdict"]
        lost = f"; missing: {' '.join(verdict['missing'])}" if verdict["missing"] else ""
        more = f"; too much: {' '.join(verdict['extra'])}" if verdict["extra"] else ""
        whole = "every word once" if verdict["whole"] else "not whole"
        yield f"<p>\u201c{escape(turn['question'])}\u201d: {whole}{escape(lost + more)}</p>"
        yield waterfall(turn)
