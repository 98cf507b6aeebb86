"""One turn as a picture: speech on both sides, the words' voices, the providers' requests."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

WIDTH: Final = 960
LEFT: Final = 110
ROW: Final = 22
LETTER: Final = 5.5  # about a letter's width at this size
COLOURS: Final = {
    "cartesia": "#2563eb",
    "elevenlabs": "#d97706",
    "local": "#16a34a",
}
OTHER: Final = "#7c3aed"
BUDGET_S: Final = 1.5


def waterfall(turn: Mapping[str, Any]) -> str:
    """Return a turn of the results as an SVG element; time runs from left to right."""
    providers = sorted({item["provider"] for item in turn["requests"]})
    lanes = ["caller", "heard", "words", *providers]
    height = ROW * (len(lanes) + 1) + 8
    scale = _Scale(turn["began_s"], turn["ended_s"])
    parts = [
        *_ground(scale, lanes, height),
        _bar(scale, turn["began_s"], 0.0, lane=0, colour="#64748b"),
        *(_bar(scale, a, b, lane=1, colour="#94a3b8") for a, b in turn["speech"]),
        *(_bar(scale, a, b, lane=1, colour=OTHER) for a, b in turn["verdict"]["other"]),
        *_words(scale, turn["verdict"]["words"]),
        *_requests(scale, turn["requests"], lanes),
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


def _ground(scale: _Scale, lanes: Sequence[str], height: int) -> list[str]:
    parts = [
        f'<text x="4" y="{_y(lane) + 14}" class="lane">{escape(name)}</text>'
        for lane, name in enumerate(lanes)
    ]
    for second in range(int(scale.from_s), int(scale.until_s) + 1):
        x = scale.x(second)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" class="grid"/>')
        parts.append(f'<text x="{x + 2:.1f}" y="{height - 6}" class="tick">{second} s</text>')
    x = scale.x(BUDGET_S)
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" class="budget"/>')
    return parts


def _words(scale: _Scale, words: Sequence[Sequence[Any]]) -> list[str]:
    parts: list[str] = []
    for text, provider, from_s, until_s in words:
        colour = COLOURS.get(provider.removesuffix("-b"), OTHER)
        tip = f"<title>{escape(f'{text} ({provider}, {from_s:.2f} s)')}</title>"
        parts.append(_bar(scale, from_s, until_s, lane=2, colour=colour, tip=tip))
        width = scale.x(until_s) - scale.x(from_s)
        if width > LETTER * len(text):
            at = f'x="{scale.x(from_s) + 2:.1f}" y="{_y(2) + 14}"'
            parts.append(f'<text {at} class="word">{escape(text)}</text>')
    return parts


def _requests(
    scale: _Scale, requests: Sequence[Mapping[str, Any]], lanes: Sequence[str]
) -> list[str]:
    parts: list[str] = []
    for request in requests:
        x, y = scale.x(request["at_s"]), _y(lanes.index(request["provider"])) + 10
        told = f"{request['provider']}: {request['outcome']}"
        if request["fault"]:
            told += f", {request['fault']}"
        kind = "bad" if request["fault"] else "good"
        tip = f"<title>{escape(told)} at {request['at_s']:.2f} s</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" class="{kind}">{tip}</circle>')
        label = escape(request["outcome"])
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4}" class="tick">{label}</text>')
    return parts


def _bar(
    scale: _Scale, from_s: float, until_s: float, *, lane: int, colour: str, tip: str = ""
) -> str:
    x, width = scale.x(from_s), max(1.0, scale.x(until_s) - scale.x(from_s))
    place = f'x="{x:.1f}" y="{_y(lane) + 2}" width="{width:.1f}" height="{ROW - 6}"'
    return f'<rect {place} fill="{colour}">{tip}</rect>'


def _y(lane: int) -> int:
    return 4 + lane * ROW
