"""The report as one page: no script, no external resources, printable."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

from calls.sentences import ENDS, STAGES, WHYS, cure_of, phrase, sentence
from operations.moments import for_people

WIDTH: Final = 960  # of a chart, in SVG units; the page scales it
LEFT: Final = 150  # the left margin, for names
RIGHT: Final = 12  # the right margin
ROW: Final = 22  # the height of a rung's line
ANSWERS_BASE: Final = 220  # of the chart of answers: the position of 0 s
MAX_DOTS: Final = 3_000  # of turns; if there are more, only the slowest of each interval are drawn
TICKS: Final = 6
ANCHORS: Final = {0: "start", TICKS: "end"}  # so that the outer texts stay within the chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time of a chart, from its left end to its right end."""

    since: datetime
    until: datetime

    def x(self, at: datetime) -> float:
        """Return the position of a moment; moments outside are put at the nearer end."""
        share = (at - self.since) / (self.until - self.since)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)


def latency_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return a dot for each answer, with the budget, and a cross for each turn without one.

    If there are more than `MAX_DOTS`, only the slowest answers and the first such turns are drawn.
    """
    inside = [item for item in story["turns"] if _moment(item["at"]) >= span.since]
    turns = _slowest_turns([item for item in inside if item["v2v_s"] is not None], span)
    silent = [item for item in inside if item["v2v_s"] is None and item["turn"]][:MAX_DOTS]
    top = max([2 * story["budget_s"], *(turn["v2v_s"] for turn in turns)])

    def y(wait_s: float) -> float:
        return round(ANSWERS_BASE - wait_s / top * (ANSWERS_BASE - 20), 1)

    parts = [
        _outage_bands(story, span, ANSWERS_BASE),
        _budget_lines(y, budget_s=story["budget_s"], top=top),
        *(_answer_dot(turn, span, y, budget_s=story["budget_s"]) for turn in turns),
        *(_missing_answer_cross(item, span) for item in silent),
        _time_axis(span, ANSWERS_BASE),
    ]
    late = sum(turn["v2v_s"] > story["budget_s"] for turn in turns)
    description = f"{len(turns)} answers, {late} of them late; {len(silent)} turns without one"
    return _svg_chart("How soon each answer was heard", description, ANSWERS_BASE + 40, parts)


def _answer_dot(
    turn: Mapping[str, Any], span: Span, y: Callable[[float], float], *, budget_s: float
) -> str:
    kind = "good" if turn["v2v_s"] <= budget_s else "bad"
    return (
        f'<circle cx="{span.x(_moment(turn["at"]))}" cy="{y(turn["v2v_s"])}" r="3" class="{kind}">'
        f"<title>{_turn_title(turn)}: {turn['v2v_s']:.2f} s</title></circle>"
    )


def _missing_answer_cross(turn: Mapping[str, Any], span: Span) -> str:
    """Return a cross, with a tooltip, where a turn got no answer that was heard."""
    return (
        f'<path d="M{span.x(_moment(turn["at"])) - 4} 8l8 8m-8 0l8 -8" class="none">'
        f"<title>{_turn_title(turn)}: no answer was heard</title></path>"
    )


def _turn_title(turn: Mapping[str, Any]) -> str:
    return f"{_clock_time(turn['at'])}, call {escape(turn['call'])}, turn {turn['turn']}"


def _budget_lines(y: Callable[[float], float], *, budget_s: float, top: float) -> str:
    """Return the line of the allowed wait, and the labels of the chart's vertical axis."""
    line = y(budget_s)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{line}" y2="{line}" class="budget"/>'
        f'<text x="{LEFT - 8}" y="{line + 4}" class="name">{budget_s:g} s allowed</text>'
        f'<text x="{LEFT - 8}" y="{y(top) + 4}" class="name">{top:.1f} s</text>'
        f'<text x="{LEFT - 8}" y="{ANSWERS_BASE}" class="name">0 s</text>'
    )


def breaker_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return a line for each rung whose breaker changed: closed, half-open, open."""
    rungs = story["breakers"]
    base = ROW * max(1, len(rungs)) + 10
    parts: list[str] = []
    for index, rung in enumerate(rungs):
        top = ROW * index + 8
        parts.append(_row_name(f"{rung['stage']} {rung['provider']}", top + 12))
        parts += _state_bars(rung["states"], span, top)
    description = "; ".join(f"{rung['stage']} {rung['provider']}" for rung in rungs) or "none moved"
    parts = [_outage_bands(story, span, base), *parts, _time_axis(span, base)]
    return _svg_chart("Breakers, the worst of all processes", description, base + 40, parts)


def failure_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return each failure, of the first `MAX_DOTS`, as a mark on its rung's line."""
    rungs = list(dict.fromkeys((item["stage"], item["provider"]) for item in story["failures"]))
    base = ROW * max(1, len(rungs)) + 10
    names = [_row_name(f"{stage} {name}", ROW * at + 20) for at, (stage, name) in enumerate(rungs)]
    marks = [
        f'<rect x="{span.x(_moment(item["at"])) - 1}" width="2" height="{ROW - 8}" '
        f'y="{ROW * rungs.index((item["stage"], item["provider"])) + 8}" '
        f'class="{"permanent" if item["permanent"] else "bad"}"><title>{_clock_time(item["at"])}: '
        f"{escape(item['says'])}</title></rect>"
        for item in story["failures"][:MAX_DOTS]
    ]
    description = f"{len(story['failures'])} failures of {len(rungs)} rungs"
    parts = [_outage_bands(story, span, base), *names, *marks, _time_axis(span, base)]
    return _svg_chart("Failures", description, base + 40, parts)


def _state_bars(states: Sequence[Mapping[str, str]], span: Span, top: float) -> Iterable[str]:
    """Yield a bar for each state of a breaker, until the next one begins."""
    ends = [*(_moment(state["at"]) for state in states[1:]), span.until]
    for state, end in zip(states, ends, strict=True):
        left, right = span.x(_moment(state["at"])), span.x(end)
        shown = f"{state['state'].replace('_', '-')} from {_clock_time(state['at'])}"
        yield (
            f'<rect x="{left}" y="{top}" width="{max(right - left, 1):.1f}" height="{ROW - 8}" '
            f'class="{escape(state["state"])}"><title>{shown}</title></rect>'
        )


def _outage_bands(story: Mapping[str, Any], span: Span, base: float) -> str:
    """Return the outages as bands in the background."""
    made: list[str] = []
    for item in story["outages"]:
        left = span.x(_moment(item["began_at"]))
        right = span.x(_moment(item["ended_at"])) if item["ended_at"] else span.x(span.until)
        made.append(
            f'<rect x="{left}" y="0" width="{max(right - left, 1):.1f}" height="{base}" '
            'class="outage"/>'
        )
    return "".join(made)


def _time_axis(span: Span, base: float) -> str:
    """Return the axis below the chart, with `TICKS` intervals; the last label names UTC."""
    step = (span.until - span.since) / TICKS
    day = span.until - span.since > timedelta(days=1)
    made = [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" class="axis"/>']
    for number in range(TICKS + 1):
        at = span.since + number * step
        text = f"{at:%m-%d %H:%M}" if day else f"{at:%H:%M:%S}"
        text = f"{text} UTC" if number == TICKS else text  # the last one names the zone of all
        anchor = ANCHORS.get(number, "middle")
        made.append(
            f'<text x="{span.x(at)}" y="{base + 18}" text-anchor="{anchor}" class="tick">'
            f"{text}</text>"
        )
    return "".join(made)


def _svg_chart(title: str, description: str, height: float, parts: Iterable[str]) -> str:
    """Return a chart; unlike the other texts, `parts` are SVG, and must be escaped already."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def _row_name(text: str, y: float) -> str:
    return f'<text x="{LEFT - 8}" y="{y}" class="name">{escape(text)}</text>'


def _slowest_turns(turns: Sequence[Mapping[str, Any]], span: Span) -> Sequence[Mapping[str, Any]]:
    """Return as many turns as can be drawn: the slowest of each interval."""
    if len(turns) <= MAX_DOTS:
        return turns
    stretches: dict[float, list[Mapping[str, Any]]] = {}
    for row in turns:
        stretches.setdefault(span.x(_moment(row["at"])) // 8, []).append(row)
    most = max(1, MAX_DOTS // len(stretches))  # turns in each interval
    return [
        item
        for stretch in stretches.values()
        for item in sorted(stretch, key=lambda turn: turn["v2v_s"])[-most:]
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock_time(text: str) -> str:
    return for_people(_moment(text), "%H:%M:%S")


MAX_ROWS: Final = 1_000  # of a table; the JSON file has all of them


def as_page(story: Mapping[str, Any]) -> str:
    """Return a report of `tell_story` as HTML."""
    span = Span(
        since=datetime.fromisoformat(story["since"]), until=datetime.fromisoformat(story["until"])
    )
    parts = [
        f"<h1>What happened from {_day_text(story['since'])} to {_day_text(story['until'])}</h1>",
        f"<p>{_summary_text(story)}</p>",
        *(f"<p><strong>Not complete:</strong> {escape(item)}.</p>" for item in story["left_out"]),
        _html_section("Outages", _outages_table(story)),
        _html_section("Answers", latency_chart(story, span)),
        _html_section("Breakers", breaker_chart(story, span)),
        _html_section("Failures", failure_chart(story, span) + _failures_table(story)),
        _html_section("Alerts as sent", _alert_articles(story)),
        _html_section("What operators did", _operators_table(story)),
        _html_section("Calls that were not served", _calls_table(story)),
    ]
    return _FRAME.format(style=_STYLE, body="\n".join(parts))


def _summary_text(story: Mapping[str, Any]) -> str:
    """Return the counts and the cost of the period as HTML text."""
    counts = story["counts"]
    costs = [f"{amount:.2f} {escape(currency)}" for currency, amount in story["cost"].items()]
    return (
        f"{_plural(counts['calls'], 'call')}: {_format_verdicts(counts['calls_by_verdict'])}; "
        f"{_plural(counts['turns'], 'turn')}: {_format_verdicts(counts['turns_by_verdict'])}; "
        f"{_plural(counts['failures'], 'failure')}, {_plural(counts['failovers'], 'failover')}, "
        f"{_plural(counts['breakers_opened'], 'breaker')} opened, "
        f"{_plural(counts['alerts'], 'alert')}. Cost: {', '.join(costs) or 'not known'}."
    )


def _format_verdicts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{many} {verdict}" for verdict, many in counts.items())


def _outages_table(story: Mapping[str, Any]) -> str:
    """Return a table of the outages, with the waits before, during and after each."""
    rows: list[Sequence[Any]] = []
    for item in story["outages"]:
        latency = item["latency"]
        rows.append(
            (
                _rung_title(item),
                _format_day_and_time(item["began_at"]),
                _format_day_and_time(item["ended_at"]) if item["ended_at"] else "goes on",
                f"{item['lasted_s']:.0f} s",
                " ".join(map(sentence, item["says"])),
                item["failures"],
                item["breakers_opened"],
                len(item["calls_hurt"]),
                *(_format_waits(latency[name]) for name in ("before", "during", "after")),
            )
        )
    head = ("rung", "began", "ended", "lasted", "why", "failures", "breakers opened", "hurt")
    waits = ("answers before: p50 / p95", "during", "after")
    return _html_table((*head, *waits), rows)


def _format_waits(latency: Mapping[str, Any]) -> str:
    """Return p50 and p95 of the waits, and how many were late; "none" without an answer."""
    if not latency["answered"]:
        return "none" if not latency["turns"] else f"none of {latency['turns']}"
    late = latency["late"]
    return f"{latency['p50_s']:.2f} / {latency['p95_s']:.2f} s, {late} of {latency['turns']} late"


def _failures_table(story: Mapping[str, Any]) -> str:
    """Return a table of the failures, with what an operator can do about each."""
    head = ("at", "call", "turn", "rung", "what", "to do", "the provider's words")
    return _html_table(
        head,
        (
            (
                _format_day_and_time(item["at"]),
                item["call"],
                "" if item["turn"] is None else item["turn"],
                _rung_title(item),
                sentence(item["says"]),
                sentence(cure_of(item["kind"], item["says"])),
                item["reason"],
            )
            for item in story["failures"]
        ),
    )


def _alert_articles(story: Mapping[str, Any]) -> str:
    """Return each alert as it was sent, with its channels, as HTML."""
    made = [
        f"<article><pre>{escape(item['as_sent'])}</pre><p>{_format_sendings(item['channels'])}</p>"
        "</article>"
        for item in story["alerts"]
    ]
    return "".join(made) or "<p>None.</p>"


def _rung_title(item: Mapping[str, Any]) -> str:
    return f"{STAGES.get(item['stage'], item['stage'])} {item['provider']}"


def _format_sendings(channels: Mapping[str, Mapping[str, int]]) -> str:
    texts: list[str] = []
    for name, channel in channels.items():
        sent, wanted = channel["sent_revision"], channel["wanted_revision"]
        text = f"sent as revision {sent}" if sent else "not sent"
        pending = ", a newer one is pending" if sent < wanted else ""
        texts.append(f"{escape(name)}: {text}{pending}")
    return "; ".join(texts) or "No channel needs to send it."


def _operators_table(story: Mapping[str, Any]) -> str:
    """Return a table of what operators did."""
    rows = (
        (
            _format_day_and_time(item["at"]),
            item["kind"],
            ", ".join(f"{k}: {v}" for k, v in item.items() if k not in ("at", "kind")),
        )
        for item in story["operators"]
    )
    return _html_table(("at", "what", "how"), rows)


def _calls_table(story: Mapping[str, Any]) -> str:
    """Return a table of the calls that were not served well."""
    head = ("call", "began", "other party", "by", "ended", "length", "turns", "verdict", "why")
    return _html_table(
        head,
        (
            (
                item["id"],
                _format_day_and_time(item["started_at"]),
                item["called" if item["direction"] == "outbound" else "caller"],
                item["transport"],
                phrase(ENDS, item["reason"] or item["state"]),
                "" if item["length_s"] is None else f"{item['length_s']:.0f} s",
                item["turns"],
                item["verdict"],
                phrase(WHYS, item["why"]),
            )
            for item in story["calls"]
            if item["verdict"] not in ("", "served")
        ),
    )


def _html_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with escaped cells: at most `MAX_ROWS`, then how many more there are."""
    listed = list(rows)
    if not listed:
        return "<p>None.</p>"
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>"
        for row in listed[:MAX_ROWS]
    )
    names = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    more = len(listed) - MAX_ROWS
    rest = f"<p>{more} more are in evidence.json.</p>" if more > 0 else ""
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>{rest}'


def _html_section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _day_text(text: str) -> str:
    return for_people(_moment(text))


def _format_day_and_time(text: str) -> str:
    return for_people(_moment(text), "%m-%d %H:%M:%S")


_FRAME: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
_STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
