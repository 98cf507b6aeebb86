"""The drill's report: one self-contained HTML file."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from lab.drill.results import DrillPass, Results, measured
from lab.drill.rows import Row
from lab.drill.table import (
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

WIDTH: Final = 960
LEFT: Final = 110
ROW: Final = 22
LETTER_WIDTH: Final = 5.5  # about a letter's width at this size
COLOURS: Final = {
    "cartesia": "#2563eb",
    "elevenlabs": "#d97706",
    "local": "#16a34a",
}
OTHER_COLOUR: Final = "#7c3aed"
BUDGET_S: Final = 1.5


def waterfall(turn: Mapping[str, Any]) -> str:
    """Return a turn of the results as an SVG element; time runs from left to right."""
    providers = sorted({item["provider"] for item in turn["requests"]})
    lanes = ["caller", "heard", "words", *providers]
    height = ROW * (len(lanes) + 1) + 8
    scale = _Scale(turn["began_s"], turn["ended_s"])
    parts = [
        *_lane_grid(scale, lanes, height),
        _svg_bar(scale, turn["began_s"], 0.0, lane=0, colour="#64748b"),
        *(_svg_bar(scale, a, b, lane=1, colour="#94a3b8") for a, b in turn["speech"]),
        *(_svg_bar(scale, a, b, lane=1, colour=OTHER_COLOUR) for a, b in turn["verdict"]["other"]),
        *_word_bars(scale, turn["verdict"]["words"]),
        *_request_marks(scale, turn["requests"], lanes),
    ]
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(turn["question"], quote=True)}">{inside}</svg>'
    )


class _Scale:
    def __init__(self, from_s: float, until_s: float) -> None:
        self.from_s, self.until_s = from_s, max(until_s, from_s + 1.0)

    def x(self, at_s: float) -> float:
        share = (at_s - self.from_s) / (self.until_s - self.from_s)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - 10)


def _lane_grid(scale: _Scale, lanes: Sequence[str], height: int) -> list[str]:
    """Return the names of the lanes, a line for each second, and the line of the budget."""
    parts = [
        f'<text x="4" y="{_lane_y(lane) + 14}" class="lane">{escape(name)}</text>'
        for lane, name in enumerate(lanes)
    ]
    for second in range(int(scale.from_s), int(scale.until_s) + 1):
        x = scale.x(second)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" class="grid"/>')
        parts.append(f'<text x="{x + 2:.1f}" y="{height - 6}" class="tick">{second} s</text>')
    x = scale.x(BUDGET_S)
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" class="budget"/>')
    return parts


def _word_bars(scale: _Scale, words: Sequence[Sequence[Any]]) -> list[str]:
    """Return a bar for each word heard, with its text where there is room for it."""
    parts: list[str] = []
    for text, provider, from_s, until_s in words:
        colour = COLOURS.get(provider.removesuffix("-b"), OTHER_COLOUR)
        tip = f"<title>{escape(f'{text} ({provider}, {from_s:.2f} s)')}</title>"
        parts.append(_svg_bar(scale, from_s, until_s, lane=2, colour=colour, tip=tip))
        width = scale.x(until_s) - scale.x(from_s)
        if width > LETTER_WIDTH * len(text):
            at = f'x="{scale.x(from_s) + 2:.1f}" y="{_lane_y(2) + 14}"'
            parts.append(f'<text {at} class="word">{escape(text)}</text>')
    return parts


def _request_marks(
    scale: _Scale, requests: Sequence[Mapping[str, Any]], lanes: Sequence[str]
) -> list[str]:
    """Return a mark with a tooltip for each request, in its provider's lane."""
    parts: list[str] = []
    for request in requests:
        x, y = scale.x(request["at_s"]), _lane_y(lanes.index(request["provider"])) + 10
        tip_text = f"{request['provider']}: {request['outcome']}"
        if request["fault"]:
            tip_text += f", {request['fault']}"
        kind = "bad" if request["fault"] else "good"
        tip = f"<title>{escape(tip_text)} at {request['at_s']:.2f} s</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" class="{kind}">{tip}</circle>')
        label = escape(request["outcome"])
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4}" class="tick">{label}</text>')
    return parts


def _svg_bar(
    scale: _Scale, from_s: float, until_s: float, *, lane: int, colour: str, tip: str = ""
) -> str:
    """Return a bar in a lane, as SVG, at least a pixel wide; `tip` is markup inside it."""
    x, width = scale.x(from_s), max(1.0, scale.x(until_s) - scale.x(from_s))
    place = f'x="{x:.1f}" y="{_lane_y(lane) + 2}" width="{width:.1f}" height="{ROW - 6}"'
    return f'<rect {place} fill="{colour}">{tip}</rect>'


def _lane_y(lane: int) -> int:
    """Return the top of a lane, in pixels."""
    return 4 + lane * ROW


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
INTRODUCTION: Final = """
<p>Every figure is measured in the recording of what the caller heard. A word counts as heard if the
samples that a simulated voice sent for it are found there. <em>Extra</em> is the time beyond a
healthy turn of the same question with the same delays; <em>gap</em> is silence inside the reply
beyond the speech's own pauses; <em>any speech</em> includes fillers and clips. The dashed line
is 1.5 s after the caller's last sound. The figures are those of the newest pass that ran a row;
<em>passes met</em> counts all passes. A star marks figures that were measured while other processes
kept the machine busy. The pictures show each row's newest pass, and every pass that missed.</p>
"""


def write_report(rows: Sequence[Row], results: Results, folder: Path) -> Path:
    """Write the report of all passes and return its path."""
    path = folder / FILE
    path.write_text("".join(_page_parts(rows, results)), encoding="utf-8")
    return path


def _page_parts(rows: Sequence[Row], results: Results) -> Iterator[str]:
    """Yield the HTML of the report: the passes, a table of targets, then each row's pictures."""
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><title>Holdline drill</title>'
    yield f"<style>{STYLE}</style></head><body><h1>What callers heard</h1>{INTRODUCTION}"
    side, *others = results.sides
    judged = [(row, passes) for row in rows if (passes := judge_passes(row, side, results))]
    yield from (_pass_facts(drill_pass, results) for drill_pass in results.passes)
    yield "<table><tr><th>fault</th><th>target</th><th>p50</th><th>worst</th><th>verdict</th>"
    heads = "".join(f"<th>{escape(title)}</th>" for item in others for title in titles(item))
    yield f"<th>passes met</th><th>extra requests</th>{heads}</tr>"
    for row, passes in judged:
        yield from _target_rows(row, results, passes)
    yield "</table>"
    for row, passes in judged:
        yield from _row_pictures(row, results, passes)
    yield "</body></html>\n"


def _pass_facts(drill_pass: DrillPass, results: Results) -> str:
    """Return a paragraph about a pass: when, where, and how busy the machine was."""
    others = others_of(results, drill_pass)
    used = f"others used {others[0]:.2f} cores, at most {others[1]:.2f}" if others else ""
    facts = (
        *(
            f"Pass {drill_pass.number} of {drill_pass.began}",
            drill_pass.machine,
            f"commit {drill_pass.commit or 'unknown'}",
        ),
        *(drill_pass.options, used or "what others used was not measured", drill_pass.note),
    )
    return f"<p>{escape('; '.join(item for item in facts if item))}.</p>"


def _target_rows(row: Row, results: Results, passes: Sequence[RowInPass]) -> Iterator[str]:
    """Yield a row of HTML for each target, with the figures of the newest pass."""
    newest = newest_run(passes)
    mark = newest.mark
    judged, *others = results.sides
    found_beside = [beside(row, side, results, len(newest.findings)) for side in others]
    more = extra_requests(row, judged, measured(results.newest(row, judged)))
    for index, finding in enumerate(newest.findings):
        title = f'<a href="#{row.name}">{escape(row.title)}</a>' if index == 0 else ""
        verdict = "" if finding.met is None else "met" if finding.met else "missed"
        reason = f": {escape(finding.target.if_missed)}" if finding.met is False else ""
        counted = count_met(passes) if index == 0 else ""
        asked = "" if index or more is None else f"{more:+.2g}"
        yield f"<tr><td>{title}</td><td>{escape(finding.words)}</td>{_number_cells(finding, mark)}"
        yield f'<td class="{verdict}">{verdict or "not judged"}{reason.removesuffix(": ")}</td>'
        yield f'<td class="n">{counted}</td><td class="n">{asked}</td>'
        cells = (cell for found in found_beside for cell in found[index])
        yield "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"


def _number_cells(finding: TargetFinding, mark: str) -> str:
    values = (finding.p50, finding.worst)
    return "".join(f'<td class="n">{marked(value, mark)}</td>' for value in values)


def _row_pictures(row: Row, results: Results, passes: Sequence[RowInPass]) -> Iterator[str]:
    """Yield the pictures of a row: its newest pass, each that missed, other sides' newest."""
    yield f'<h2 id="{row.name}">{escape(row.title)} <small>{row.name}</small></h2>'
    verdicts = ", ".join(
        f"{drill_pass.within.number} {drill_pass.verdict}" for drill_pass in passes
    )
    yield f"<p>{row.plan}. Passes: {verdicts}.</p>"
    shown = {drill_pass.within.number for drill_pass in passes if not drill_pass.met} | {
        newest_run(passes).within.number
    }
    judged, *others = results.sides
    for entry in results.of(row.name, judged):
        if entry["pass"] in shown:
            yield from _run_parts(entry)
    for side in others:
        newest = results.newest(row, side)
        for entry in newest:
            if (entry["row"], entry["side"]) == (row.name, side):
                yield from _run_parts(entry)


def _run_parts(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the HTML of a run: its error if any, and each turn with its verdict and picture."""
    yield f"<h3>{escape(entry['side'])}, pass {entry['pass']}, run {entry['run']}</h3>"
    if entry.get("error"):
        yield f'<p class="missed">{escape(entry["error"])}</p>'
    for turn in entry["turns"]:
        verdict = turn["verdict"]
        lost = f"; missing: {' '.join(verdict['missing'])}" if verdict["missing"] else ""
        more = f"; too much: {' '.join(verdict['extra'])}" if verdict["extra"] else ""
        whole = "every word once" if verdict["whole"] else "not whole"
        yield f"<p>\u201c{escape(turn['question'])}\u201d: {whole}{escape(lost + more)}</p>"
        yield waterfall(turn)
