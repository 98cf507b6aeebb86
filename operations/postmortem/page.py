"""The report as one page: no script, nothing loaded, readable in print."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from operations.postmortem.charts import Span, breaker_chart, failure_chart, latency_chart

MOST_ROWS: Final = 1_000  # of a table; the JSON beside the page has them all


def as_page(story: Mapping[str, Any]) -> str:
    """Return the report as HTML."""
    span = Span(
        since=datetime.fromisoformat(story["since"]), until=datetime.fromisoformat(story["until"])
    )
    parts = [
        f"<h1>What happened from {_day(story['since'])} to {_day(story['until'])}</h1>",
        f"<p>{_sentence(story)}</p>",
        *(f"<p><strong>Not complete:</strong> {escape(each)}.</p>" for each in story["left_out"]),
        _section("Outages", _outages(story)),
        _section("Answers", latency_chart(story, span)),
        _section("Breakers", breaker_chart(story, span)),
        _section("Failures", failure_chart(story, span) + _failures(story)),
        _section("Alerts as sent", _alerts(story)),
        _section("What operators did", _operators(story)),
        _section("Calls affected", _calls(story)),
    ]
    return _FRAME.format(style=_STYLE, body="\n".join(parts))


def _sentence(story: Mapping[str, Any]) -> str:
    counts = story["counts"]
    costs = [f"{each:.2f} {escape(currency)}" for currency, each in story["cost"].items()]
    return (
        f"{_many(counts['calls'], 'call')}, of which {counts['calls_affected']} were affected and "
        f"{counts['calls_interrupted']} interrupted; {_many(counts['turns'], 'turn')}, of which "
        f"{counts['turns_over_budget']} were answered late or not at all; "
        f"{_many(counts['failures'], 'failure')}, {_many(counts['failovers'], 'failover')}, "
        f"{_many(counts['breakers_opened'], 'breaker')} opened, "
        f"{_many(counts['alerts'], 'alert')}. Cost: {', '.join(costs) or 'not known'}."
    )


def _outages(story: Mapping[str, Any]) -> str:
    rows: list[Sequence[Any]] = []
    for each in story["outages"]:
        latency = each["latency"]
        rows.append(
            (
                f"{each['stage']} {each['provider']}",
                _time(each["began_at"]),
                _time(each["ended_at"]) if each["ended_at"] else "goes on",
                f"{each['lasted_s']:.0f} s",
                ", ".join(f"{kind}: {many}" for kind, many in each["kinds"].items()),
                each["breakers_opened"],
                len(each["calls_affected"]),
                *(_waits(latency[name]) for name in ("before", "during", "after")),
            )
        )
    head = ("rung", "began", "ended", "lasted", "failures", "breakers opened", "calls")
    waits = ("answers before: p50 / p95", "during", "after")
    return _table((*head, *waits), rows)


def _waits(latency: Mapping[str, Any]) -> str:
    if not latency["answered"]:
        return "none" if not latency["turns"] else f"none of {latency['turns']}"
    late = latency["turns"] - latency["within_budget"]
    return f"{latency['p50_s']:.2f} / {latency['p95_s']:.2f} s, {late} of {latency['turns']} late"


def _failures(story: Mapping[str, Any]) -> str:
    head = ("at", "call", "turn", "rung", "kind", "severity", "permanent", "reason")
    return _table(
        head,
        (
            (
                _time(each["at"]),
                each["call"],
                "" if each["turn"] is None else each["turn"],
                f"{each['stage']} {each['provider']}",
                each["kind"],
                each["severity"],
                "yes" if each["permanent"] else "",
                each["reason"],
            )
            for each in story["failures"]
        ),
    )


def _alerts(story: Mapping[str, Any]) -> str:
    made = [
        f"<article><pre>{escape(each['as_sent'])}</pre><p>{_sendings(each['channels'])}</p>"
        "</article>"
        for each in story["alerts"]
    ]
    return "".join(made) or "<p>None.</p>"


def _sendings(channels: Mapping[str, Mapping[str, int]]) -> str:
    said = [
        f"{escape(name)}: "
        + ("not sent" if not each["sent_revision"] else f"sent as revision {each['sent_revision']}")
        + ("" if each["sent_revision"] >= each["wanted_revision"] else ", a newer one waits")
        for name, each in channels.items()
    ]
    return "; ".join(said) or "No channel is owed it."


def _operators(story: Mapping[str, Any]) -> str:
    rows = (
        (
            _time(each["at"]),
            each["kind"],
            ", ".join(f"{k}: {v}" for k, v in each.items() if k not in ("at", "kind")),
        )
        for each in story["operators"]
    )
    return _table(("at", "what", "how"), rows)


def _calls(story: Mapping[str, Any]) -> str:
    head = ("call", "began", "caller", "by", "ended", "length", "turns", "failures", "failovers")
    return _table(
        head,
        (
            (
                each["id"],
                _time(each["started_at"]),
                each["caller"],
                each["transport"],
                each["reason"] or each["state"],
                "" if each["length_s"] is None else f"{each['length_s']:.0f} s",
                each["turns"],
                each["failures"],
                each["failovers"],
            )
            for each in story["calls"]
            if each["affected"]
        ),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    told = list(rows)
    if not told:
        return "<p>None.</p>"
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>"
        for row in told[:MOST_ROWS]
    )
    names = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    more = len(told) - MOST_ROWS
    rest = f"<p>{more} more stand in evidence.json.</p>" if more > 0 else ""
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>{rest}'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%m-%d %H:%M:%S}"


_FRAME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdline: evidence</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""
_STYLE: Final = """
:root{color-scheme:light dark;--good:#1a7f4b;--bad:#c62828;--half:#b26a00;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:1100px;margin:auto;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}svg{width:100%;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;width:100%}
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
pre{white-space:pre-wrap;background:#8881;padding:.75rem;margin:0}article{margin:0 0 1rem}
text{font:12px system-ui,sans-serif;fill:currentColor}.name{text-anchor:end}.tick{opacity:.7}
.axis{stroke:currentColor}.budget{stroke:var(--half);stroke-dasharray:5 4}
.good,.closed{fill:var(--good)}.bad,.open{fill:var(--bad)}.half_open{fill:var(--half)}
.none{stroke:var(--bad);stroke-width:2}
.permanent{fill:#7b1fa2}.outage{fill:var(--bad);opacity:.1}
"""
