"""Writes the dashboards for Grafana (deploy/grafana) from lists of panels.

.venv/bin/python -m scripts.make_dashboards
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana"
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
COLUMNS: Final = 24  # of Grafana's grid
HEIGHT: Final = 8
STATES: Final = {
    "0": {"text": "closed", "color": "green"},
    "1": {"text": "half-open", "color": "yellow"},
    "2": {"text": "open", "color": "red"},
}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the legend of its lines."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"  # or stat, state-timeline
    width: int = 8
    line: float | None = None  # a line across the panel: a target


def rate(metric: str, *by: str) -> Query:
    """Return the rate a minute, by labels."""
    return _sum(f'rate({metric}{{job=~"$job"}}[$__rate_interval])', by, times=" * 60")


def grown(metric: str, *by: str) -> Query:
    """Return the increase since the point before, over at least four scrapes, by labels.

    Points are closer to each other than scrapes in a picture of a few hours, and one scrape or two
    tell of no growth.
    """
    return _sum(f'increase({metric}{{job=~"$job"}}[$__rate_interval])', by)


def share(metric: str, of_these: str, of_all: str, *by: str) -> Query:
    """Return the share that some outcomes have in all; both as `a|b`."""
    some, all_ = (
        _sum(f'rate({metric}{{job=~"$job", outcome=~"{item}"}}[$__rate_interval])', by)
        for item in (of_these, of_all)
    )
    return Query(f"{some.expr} / ({all_.expr} > 0)", some.legend)


def _sum(inner: str, by: Sequence[str], times: str = "") -> Query:
    labels = ", ".join(by)
    legend = " ".join(f"{{{{{text}}}}}" for text in by)
    return Query(f"sum by ({labels}) ({inner}){times}" if by else f"sum({inner}){times}", legend)


def quantile(share: float, metric: str, *by: str) -> Query:
    """Return a quantile of a histogram."""
    labels = ", ".join(("le", *by))
    inner = f'sum by ({labels}) (rate({metric}_bucket{{job=~"$job"}}[$__rate_interval]))'
    legend = " ".join((f"p{share * 100:.0f}", *(f"{{{{{text}}}}}" for text in by)))
    return Query(f"histogram_quantile({share}, {inner})", legend)


RUNG: Final = ("stage", "provider")
CALLS: Final = (
    Panel(
        "Calls in progress",
        [Query('sum(holdline_calls_active{job=~"$job"})')],
        kind="stat",
        width=4,
    ),
    Panel(
        "Answers within the budget",
        [Query('holdline:answers_within_budget:ratio5m{job=~"$job"}', "{{job}}")],
        unit="percentunit",
        kind="stat",
        width=4,
    ),
    Panel(
        "First word",
        [quantile(0.5, "holdline_v2v_seconds"), quantile(0.95, "holdline_v2v_seconds")],
        unit="s",
        width=16,
        line=1.5,
    ),
    Panel(
        "Where its time goes, p95",
        [quantile(0.95, "holdline_turn_part_seconds", "part")],
        unit="s",
        width=12,
    ),
    Panel(
        "Late answers a minute, by what took most",
        [rate("holdline_turns_over_budget_total", "most")],
        width=12,
    ),
    Panel("Calls answered a minute", [rate("holdline_calls_started_total", "transport")]),
    Panel("Calls ended a minute", [rate("holdline_calls_ended_total", "reason")]),
    Panel(
        "Calls refused, or ended by our own mistake",
        [
            rate("holdline_calls_refused_total", "transport", "reason"),
            rate("holdline_calls_failed_total", "where"),
        ],
    ),
    Panel("Legs by how they ended", [rate("holdline_legs_ended_total", "outcome")]),
    Panel(
        "Length of calls",
        [
            quantile(0.5, "holdline_call_length_seconds"),
            quantile(0.95, "holdline_call_length_seconds"),
        ],
        unit="s",
    ),
    Panel(
        "Lines that came back, p95", [quantile(0.95, "holdline_line_restored_seconds")], unit="s"
    ),
    Panel("Turns ended a minute", [rate("holdline_turns_ended_total", "interrupted")]),
    Panel(
        "The line was held, and callers who spoke over us",
        [
            rate("holdline_held_the_line_total", "utterance"),
            Query(rate("holdline_barge_ins_total").expr, "barge-ins"),
        ],
    ),
    Panel("Early answers a minute", [rate("holdline_early_answers_total", "outcome")]),
    Panel(
        "Wishes and handovers",
        [rate("holdline_wishes_total", "wish"), rate("holdline_handovers_total", "outcome")],
    ),
    Panel("Tools a minute", [rate("holdline_tool_calls_total", "outcome")]),
    Panel("Refused input", [rate("holdline_input_refused_total", "transport", "reason")]),
    Panel("Cost an hour", [Query('holdline:cost:increase1h{job=~"$job"}', "{{provider}}")]),
    Panel("Tokens a minute", [rate("holdline_tokens_total", "provider", "kind")]),
    Panel(
        "Characters spoken, seconds recognised, unpriced",
        [
            rate("holdline_characters_total", "provider"),
            rate("holdline_audio_seconds_total", "provider"),
            rate("holdline_unpriced_total", "provider"),
        ],
    ),
)
PROVIDERS: Final = (
    Panel(
        "Breakers",
        [
            Query(
                'max by (stage, provider) (holdline_breaker_state{job=~"$job"})',
                "{{stage}} {{provider}}",
            )
        ],
        kind="state-timeline",
        width=24,
    ),
    Panel("Failures a minute", [rate("holdline_failures_total", *RUNG, "kind")]),
    Panel(
        "Attempts that failed, of all that were not dropped",
        [share("holdline_attempts_total", "failed|broke_off", "won|failed", *RUNG)],
        unit="percentunit",
    ),
    Panel("Failovers a minute", [rate("holdline_failovers_total", "stage", "before", "after")]),
    Panel(
        "Seconds lost to failed attempts",
        [grown("holdline_failed_attempt_seconds_total", "stage")],
        unit="s",
    ),
    Panel(
        "Seconds that callers went without a stage",
        [grown("holdline_stage_down_seconds_total", "stage")],
        unit="s",
    ),
    Panel("Requests without a usable rung", [grown("holdline_stage_exhausted_total", "stage")]),
    Panel("Moves of breakers", [grown("holdline_breaker_moves_total", *RUNG, "to")]),
    Panel(
        "Seconds open, when it closed",
        [grown("holdline_breaker_open_seconds_total", *RUNG)],
        unit="s",
    ),
    Panel(
        "Mean time to recover, of a day",
        [Query('holdline:provider_recovery_seconds:mean1d{job=~"$job"}', "{{stage}} {{provider}}")],
        unit="s",
    ),
    Panel("Incidents that began", [grown("holdline_incidents_total", "severity")]),
    Panel("Probes a minute", [rate("holdline_probes_total", *RUNG, "ok")]),
    Panel(
        "Retries outside turns, and work given up",
        [
            rate("holdline_retries_total", *RUNG, "kind"),
            rate("holdline_retries_exhausted_total", *RUNG),
        ],
    ),
    Panel("Second rungs asked early", [rate("holdline_hedges_total", *RUNG)]),
    Panel("Held up by our own limits", [rate("holdline_limit_reached_total", *RUNG)]),
)
PROCESS: Final = (
    Panel("Cores in use", [Query('holdline_process_cores{job=~"$job"}', "{{pid}}")]),
    Panel(
        "How late the loop usually is",
        [Query('holdline_process_loop_lag_seconds{job=~"$job"}', "{{pid}}")],
        unit="s",
        line=0.1,
    ),
    Panel(
        "How late we were, p95 of what was told",
        [quantile(0.95, "holdline_lag_seconds", "where")],
        unit="s",
    ),
    Panel(
        "Resident memory",
        [Query('holdline_process_resident_memory_bytes{job=~"$job"}', "{{pid}}")],
        unit="bytes",
    ),
    Panel("Open descriptors", [Query('holdline_process_open_fds{job=~"$job"}', "{{pid}}")]),
    Panel(
        "Network of the machine",
        [
            Query('max(rate(holdline_process_sent_bytes{job=~"$job"}[$__rate_interval]))', "sent"),
            Query(
                'max(rate(holdline_process_received_bytes{job=~"$job"}[$__rate_interval]))',
                "received",
            ),
        ],
        unit="Bps",
    ),
    Panel(
        "Waiting for those who listen",
        [
            Query(
                'sum by (listener) (holdline_telemetry_waiting_entries{job=~"$job"})',
                "{{listener}}",
            ),
            Query('max(holdline_process_event_queue_entries{job=~"$job"})', "slowest of a process"),
        ],
    ),
    Panel(
        "Lost by those who listen",
        [
            grown("holdline_telemetry_lost_total", "listener"),
            Query('sum(holdline_process_lost_events{job=~"$job"})', "since the processes began"),
        ],
    ),
    Panel("Failures of those who listen", [grown("holdline_telemetry_failed_total", "listener")]),
    Panel("Facts, by their name", [grown("holdline_facts_total", "fact")]),
)
HOUSE: Final = (
    Panel("Workers that began", [grown("holdline_workers_started_total", "cause")]),
    Panel(
        "Workers that died, and calls with them",
        [
            Query(grown("holdline_workers_lost_total").expr, "workers"),
            Query(grown("holdline_worker_calls_lost_total").expr, "calls"),
            Query(grown("holdline_calls_interrupted_total").expr, "interrupted in the record"),
        ],
    ),
    Panel("Configuration reloads", [grown("holdline_reloads_total", "outcome")]),
    Panel("Messages about incidents", [grown("holdline_alerts_sent_total", "channel", "severity")]),
    Panel(
        "Clips",
        [
            Query(grown("holdline_clips_rendered_total").expr, "rendered"),
            Query(grown("holdline_clips_failed_total").expr, "failed"),
        ],
    ),
    Panel(
        "Databases that were away",
        [
            Query(grown("holdline_record_halted_total").expr, "the record"),
            Query(grown("holdline_share_lost_total").expr, "the word of other processes"),
        ],
    ),
)
DASHBOARDS: Final = {
    "calls": ("Holdline: calls", CALLS),
    "providers": ("Holdline: providers", PROVIDERS),
    "process": ("Holdline: the process", (*PROCESS, *HOUSE)),
}


def dashboard(name: str) -> str:
    """Return a dashboard as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    return json.dumps(
        {
            "uid": f"holdline-{name}",
            "title": title,
            "tags": ["holdline"],
            "schemaVersion": 39,
            "refresh": "15s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "browser",
            "editable": True,
            "templating": {"list": [_source(), _job()]},
            "panels": list(_placed(panels)),
        },
        indent=2,
    ) + "\n"  # fmt: skip


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _job() -> dict[str, Any]:
    return {
        "name": "job",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(holdline_calls_active, job)",
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """Yield the panels from left to right, row by row."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        yield {
            "id": number,
            "title": panel.title,
            "type": panel.kind,
            "datasource": SOURCE,
            "gridPos": place,
            "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + at),
                    "expr": each.expr,
                    "legendFormat": each.legend or "all",
                    "datasource": SOURCE,
                }
                for at, each in enumerate(panel.queries)
            ],
        }  # fmt: skip
        x += panel.width


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "state-timeline":
        found["mappings"] = [{"type": "value", "options": STATES}]
    if panel.line is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.line}]
        found["thresholds"] = {"mode": "absolute", "steps": steps}
        found["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return found


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for item in DASHBOARDS:
        (FOLDER / f"{item}.json").write_text(dashboard(item), encoding="utf-8")
