"""Charts as SVG in the page itself: nothing is loaded, and nothing runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any, Final

WIDTH: Final = 960  # of a chart, in its own units; the page scales it
LEFT: Final = 150  # for names
RIGHT: Final = 12
ROW: Final = 22  # the height of a rung's line
BASE: Final = 220  # of the chart of answers: where 0 s is
MOST_DOTS: Final = 3_000  # of turns; of more, the slowest of each stretch of time are drawn
TICKS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that a chart shows, from its left end to its right end."""

    since: datetime
    until: datetime

    def x(self, at: datetime) -> float:
        """Return where a moment stands; what is outside stands at the end."""
        share = (at - self.since) / (self.until - self.since)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)


def latency_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return a dot for each answer, beside the budget, and a cross for each turn without one."""
    inside = [each for each in story["turns"] if _at(each["at"]) >= span.since]
    turns = _slowest([each for each in inside if each["v2v_s"] is not None], span)
    silent = [each for each in inside if each["v2v_s"] is None][:MOST_DOTS]
    top = max([2 * story["budget_s"], *(each["v2v_s"] for each in turns)])

    def y(wait_s: float) -> float:
        return round(BASE - wait_s / top * (BASE - 20), 1)

    parts = [
        _bands(story, span, BASE),
        _scale(y, budget_s=story["budget_s"], top=top),
        *(_dot(each, span, y) for each in turns),
        *(_cross(each, span) for each in silent),
        _axis(span, BASE),
    ]
    late = sum(not each["within_budget"] for each in turns)
    said = f"{len(turns)} answers, of which {late} late; {len(silent)} turns without one"
    return _svg("How soon each answer was heard", said, BASE + 40, parts)


def _dot(turn: Mapping[str, Any], span: Span, y: Callable[[float], float]) -> str:
    kind = "good" if turn["within_budget"] else "bad"
    return (
        f'<circle cx="{span.x(_at(turn["at"]))}" cy="{y(turn["v2v_s"])}" r="3" class="{kind}">'
        f"<title>{_turn(turn)}: {turn['v2v_s']:.2f} s</title></circle>"
    )


def _cross(turn: Mapping[str, Any], span: Span) -> str:
    return (
        f'<path d="M{span.x(_at(turn["at"])) - 4} 8l8 8m-8 0l8 -8" class="none">'
        f"<title>{_turn(turn)}: no answer was heard</title></path>"
    )


def _turn(turn: Mapping[str, Any]) -> str:
    return f"{_clock(turn['at'])}, call {escape(turn['call'])}, turn {turn['turn']}"


def _scale(y: Callable[[float], float], *, budget_s: float, top: float) -> str:
    line = y(budget_s)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{line}" y2="{line}" class="budget"/>'
        f'<text x="{LEFT - 8}" y="{line + 4}" class="name">{budget_s:g} s allowed</text>'
        f'<text x="{LEFT - 8}" y="{y(top) + 4}" class="name">{top:.1f} s</text>'
        f'<text x="{LEFT - 8}" y="{BASE}" class="name">0 s</text>'
    )


def breaker_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return a line for each rung whose breaker moved: closed, half-open, open."""
    rungs = story["breakers"]
    base = ROW * max(1, len(rungs)) + 10
    parts: list[str] = []
    for index, each in enumerate(rungs):
        top = ROW * index + 8
        parts.append(_name(f"{each['stage']} {each['provider']}", top + 12))
        parts += _stretches(each["states"], span, top)
    said = "; ".join(f"{each['stage']} {each['provider']}" for each in rungs) or "none moved"
    parts = [_bands(story, span, base), *parts, _axis(span, base)]
    return _svg("Breakers, the worst of all processes", said, base + 40, parts)


def failure_chart(story: Mapping[str, Any], span: Span) -> str:
    """Return each failure as a mark on the line of its rung."""
    rungs = list(dict.fromkeys((each["stage"], each["provider"]) for each in story["failures"]))
    base = ROW * max(1, len(rungs)) + 10
    names = [_name(f"{stage} {name}", ROW * at + 20) for at, (stage, name) in enumerate(rungs)]
    marks = [
        f'<rect x="{span.x(_at(each["at"])) - 1}" width="2" height="{ROW - 8}" '
        f'y="{ROW * rungs.index((each["stage"], each["provider"])) + 8}" '
        f'class="{"permanent" if each["permanent"] else "bad"}"><title>{_clock(each["at"])}: '
        f"{escape(each['kind'])}</title></rect>"
        for each in story["failures"][:MOST_DOTS]
    ]
    said = f"{len(story['failures'])} failures of {len(rungs)} rungs"
    parts = [_bands(story, span, base), *names, *marks, _axis(span, base)]
    return _svg("Failures", said, base + 40, parts)


def _stretches(states: Sequence[Mapping[str, str]], span: Span, top: float) -> Iterable[str]:
    ends = [*(_at(each["at"]) for each in states[1:]), span.until]
    for each, end in zip(states, ends, strict=True):
        left, right = span.x(_at(each["at"])), span.x(end)
        shown = f"{each['state'].replace('_', '-')} from {_clock(each['at'])}"
        yield (
            f'<rect x="{left}" y="{top}" width="{max(right - left, 1):.1f}" height="{ROW - 8}" '
            f'class="{escape(each["state"])}"><title>{shown}</title></rect>'
        )


def _bands(story: Mapping[str, Any], span: Span, base: float) -> str:
    """Return the times of the outages as bands behind everything."""
    made: list[str] = []
    for each in story["outages"]:
        left = span.x(_at(each["began_at"]))
        right = span.x(_at(each["ended_at"])) if each["ended_at"] else span.x(span.until)
        made.append(
            f'<rect x="{left}" y="0" width="{max(right - left, 1):.1f}" height="{base}" '
            'class="outage"/>'
        )
    return "".join(made)


def _axis(span: Span, base: float) -> str:
    step = (span.until - span.since) / TICKS
    day = span.until - span.since > timedelta(days=1)
    made = [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" class="axis"/>']
    for number in range(TICKS + 1):
        at = span.since + number * step
        text = f"{at:%m-%d %H:%M}" if day else f"{at:%H:%M:%S}"
        anchor = "end" if number == TICKS else "middle" if number else "start"
        made.append(
            f'<text x="{span.x(at)}" y="{base + 18}" text-anchor="{anchor}" class="tick">'
            f"{text}</text>"
        )
    return "".join(made)


def _svg(title: str, said: str, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(said)}</desc>{''.join(parts)}</svg>"
    )


def _name(text: str, y: float) -> str:
    return f'<text x="{LEFT - 8}" y="{y}" class="name">{escape(text)}</text>'


def _slowest(turns: Sequence[Mapping[str, Any]], span: Span) -> Sequence[Mapping[str, Any]]:
    """Return as many turns as can be drawn: of each stretch of time the slowest ones."""
    if len(turns) <= MOST_DOTS:
        return turns
    stretches: dict[float, list[Mapping[str, Any]]] = {}
    for each in turns:
        stretches.setdefault(span.x(_at(each["at"])) // 8, []).append(each)
    most = max(1, MOST_DOTS // len(stretches))
    return [
        each
        for stretch in stretches.values()
        for each in sorted(stretch, key=lambda turn: turn["v2v_s"])[-most:]
    ]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str) -> str:
    return f"{_at(text):%H:%M:%S}"
