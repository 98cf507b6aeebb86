"""Writes the Grafana dashboards (deploy/grafana) from `dashboards.yaml`.

.venv/bin/python -m scripts.make_dashboards
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

PANELS: Final = Path(__file__).with_name("dashboards.yaml")
FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana"
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
COLUMNS: Final = 24  # the width of Grafana's grid
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
    """One panel of a dashboard."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"  # or stat, state-timeline
    width: int = 8
    line: float | None = None  # a line across the panel: a target


def rate(metric: str, *by: str) -> Query:
    """Return a query for a counter's rate per minute, by labels."""
    return _sum(f'rate({metric}{{job=~"$job"}}[$__rate_interval])', by, times=" * 60")


def grown(metric: str, *by: str) -> Query:
    """Return a query for a counter's increase since the last point, by labels.

    The increase is over at least four scrapes: in a panel of a few hours points are closer together
    than scrapes, and one or two scrapes show no growth.
    """
    return _sum(f'increase({metric}{{job=~"$job"}}[$__rate_interval])', by)


def share(metric: str, of_these: str, of_all: str, *by: str) -> Query:
    """Return a query for the share of some outcomes among others; both are given as `a|b`."""
    some, all_ = (
        _sum(f'rate({metric}{{job=~"$job", outcome=~"{item}"}}[$__rate_interval])', by)
        for item in (of_these, of_all)
    )
    return Query(f"{some.expr} / ({all_.expr} > 0)", some.legend)


def _sum(inner: str, by: Sequence[str], times: str = "") -> Query:
    labels = ", ".join(by)
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return Query(f"sum by ({labels}) ({inner}){times}" if by else f"sum({inner}){times}", legend)


def quantile(share: str, metric: str, *by: str) -> Query:
    """Return a query for a quantile of a histogram, by labels."""
    labels = ", ".join(("le", *by))
    inner = f'sum by ({labels}) (rate({metric}_bucket{{job=~"$job"}}[$__rate_interval]))'
    legend = " ".join((f"p{float(share) * 100:.0f}", *(f"{{{{{label}}}}}" for label in by)))
    return Query(f"histogram_quantile({share}, {inner})", legend)


def read_dashboards() -> dict[str, tuple[str, Sequence[Panel]]]:
    """Return the title and the panels of each dashboard, by its name."""
    found = yaml.safe_load(PANELS.read_text(encoding="utf-8"))
    return {
        name: (board["title"], [_panel(**fields) for fields in board["panels"]])
        for name, board in found.items()
    }


def _panel(queries: Sequence[dict[str, str]], **fields: Any) -> Panel:
    return Panel(queries=[_query(**query) for query in queries], **fields)


def _query(legend: str = "", expr: str = "", **forms: str) -> Query:
    """Return a query from `dashboards.yaml`: an expression, or a form with its arguments."""
    for form, arguments in forms.items():
        generated = FORMS[form](*arguments.split())
        expr, legend = generated.expr, legend or generated.legend
    return Query(expr, legend)


FORMS: Final = {"rate": rate, "grown": grown, "share": share, "quantile": quantile}
DASHBOARDS: Final = read_dashboards()


def dashboard(name: str) -> str:
    """Return a dashboard as JSON that Grafana can import."""
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
            "templating": {"list": [_source_variable(), _job_variable()]},
            "panels": list(_placed(panels)),
        },
        indent=2,
    ) + "\n"  # fmt: skip


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _job_variable() -> dict[str, Any]:
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
                    "expr": query.expr,
                    "legendFormat": query.legend or "all",
                    "datasource": SOURCE,
                }
                for at, query in enumerate(panel.queries)
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
