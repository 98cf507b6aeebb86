"""Dashboards and alert rules use existing metrics, and fire when they should."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from operations.telemetry.meters import Meters
from scripts.make_dashboards import DASHBOARDS, FOLDER, dashboard
from tests.absent import report_absent
from tests.documents import ROOT, blocks

PROMETHEUS = Path(__file__).parents[1] / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules.yml"
NAME = re.compile(r"\b(?:up|holdline[:_][a-z0-9_:]+)\b(?![^{}]*\})")
# The series of a scrape, by the kind of the metric.
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@cache
def told() -> dict[str, str]:
    """Return the series of a scrape with their metrics."""
    meters = Meters(CollectorRegistry())
    made = [*vars(meters).values(), *meters.process.values()]
    return {
        var._name + suffix: var._name
        for var in made
        if isinstance(var, MetricWrapperBase)
        for suffix in SUFFIXES[var._type]
    }


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def drawn(name: str) -> list[str]:
    panels = json.loads(dashboard(name))["panels"]
    return [item["expr"] for panel in panels for item in panel["targets"]]


def names_in(expressions: list[str]) -> set[str]:
    return {
        name
        for expression in expressions
        for name in NAME.findall(re.sub(r'"[^"]*"', '""', expression))
    }


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        report_absent("promtool (Debian's prometheus)")
    done = subprocess.run(  # noqa: S603 - of the system
        [program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_rules_and_the_example() -> None:
    promtool("check", "rules", "rules.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_the_alert_rules_fire_when_they_should_and_not_otherwise() -> None:
    promtool("test", "rules", "rules_test.yml", "rules_day_test.yml")


def test_the_share_of_answers_in_time_on_the_metrics_page_is_that_of_the_rules(
    tmp_path: Path,
) -> None:
    (expression,) = blocks(ROOT / "docs" / "metrics.md", "promql")
    series = {
        'holdline_v2v_seconds_bucket{job="holdline",le="1.5"}': "0+3x40",
        'holdline_v2v_seconds_bucket{job="holdline",le="+Inf"}': "0+4x40",
        'holdline_v2v_seconds_count{job="holdline"}': "0+4x40",
    }
    sample = {"labels": '{job="holdline"}', "value": 0.75}
    trial = {
        "interval": "15s",
        "input_series": [{"series": name, "values": each} for name, each in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": "8m", "exp_samples": [sample]}],
    }
    file = tmp_path / "page_test.yml"
    file.write_text(yaml.safe_dump({"tests": [trial]}), encoding="utf-8")

    promtool("test", "rules", str(file))


def test_the_latency_target_is_a_bucket_boundary_of_the_histogram() -> None:
    (expression,) = blocks(ROOT / "docs" / "metrics.md", "promql")
    edges = Meters(CollectorRegistry()).v2v._upper_bounds

    assert float(re.findall(r'le="([^"]+)"', expression)[0]) in edges
    assert names_in([expression]) <= set(told())


def test_a_rule_uses_existing_metrics() -> None:
    known = {*told(), "up", *(rule["record"] for rule in rules() if "record" in rule)}

    assert names_in([rule["expr"] for rule in rules()]) <= known


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_uses_existing_metrics(name: str) -> None:
    known = {*told(), *(rule["record"] for rule in rules() if "record" in rule)}

    assert names_in(drawn(name)) <= known


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_uses_ranges_that_hold_several_scrapes(name: str) -> None:
    ranges = [match for expr in drawn(name) for match in re.findall(r"\[([^\]]*)\]", expr)]

    assert set(ranges) == {"$__rate_interval"}  # the step alone may be shorter than a scrape


def test_every_metric_is_drawn_somewhere() -> None:
    expressions = [text for name in DASHBOARDS for text in drawn(name)]
    expressions += [rule["expr"] for rule in rules() if "record" in rule]

    drawn_of = {told()[text] for text in names_in(expressions) if text in told()}
    assert set(told().values()) - drawn_of == set()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_dashboards_are_as_the_script_writes_them(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == dashboard(name)


def test_an_alert_has_its_severity_and_its_first_step() -> None:
    for item in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][1]["rules"]:
        assert item["labels"]["severity"] in {"critical", "warning", "info"}, item["alert"]
        assert set(item["annotations"]) == {"summary", "description"}, item["alert"]
