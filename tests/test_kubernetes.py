"""The manifests in `deploy/kubernetes/`: valid, and in line with the server."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from bot.workers.supervisor import GRACE_S
from configuration.layers import PREFIX
from configuration.settings import ServerSettings, ShutdownSettings
from operations.telemetry.meters import METERS

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "tests/fixtures/kubernetes_schema.json").read_text(encoding="utf-8"))
MANIFESTS: dict[str, dict[str, Any]] = {
    item["kind"]: item
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
POD = MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
VALUES = {item["name"]: item.get("value", "holdline-0") for item in CONTAINER["env"]}


def validator(kind: str) -> Any:
    name = SCHEMA["kinds"][kind]
    return jsonschema_rs.validator_for(
        {"$ref": f"#/definitions/{name}", "definitions": SCHEMA["definitions"]}
    )


@pytest.mark.parametrize("kind", SCHEMA["kinds"])
def test_a_manifest_is_valid(kind: str) -> None:
    validator(kind).validate(MANIFESTS[kind])

    with pytest.raises(jsonschema_rs.ValidationError):
        validator(kind).validate({**MANIFESTS[kind], "spec": {"replica": 2}})


def test_all_parts_select_the_same_machines() -> None:
    labels = MANIFESTS["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = (
        MANIFESTS["StatefulSet"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["Service"]["spec"]["selector"],
    )

    assert all(selector == labels for selector in selectors)
    target = MANIFESTS["ScaledObject"]["spec"]["scaleTargetRef"]
    assert target["name"] == MANIFESTS["StatefulSet"]["metadata"]["name"]
    assert (
        MANIFESTS["StatefulSet"]["spec"]["serviceName"] == MANIFESTS["Service"]["metadata"]["name"]
    )


def test_a_machine_gets_settings_that_the_server_knows() -> None:
    sections = {"SERVER": ServerSettings, "SHUTDOWN": ShutdownSettings}
    values: dict[str, dict[str, str]] = {name: {} for name in sections}
    for name, value in VALUES.items():
        section, key = name.removeprefix(PREFIX).split("__")
        values[section][key.lower()] = value
    for name, section in sections.items():
        section.model_validate(values[name])

    assert VALUES["HOLDLINE__SHUTDOWN__MOVE"] == "true"
    ports = {item["name"]: item["containerPort"] for item in CONTAINER["ports"]}
    assert VALUES["HOLDLINE__SERVER__AGENT_CHECK_PORT"] == str(ports["agent-check"])
    assert str(ports["http"]) in CONTAINER["args"]


def test_a_machine_has_the_time_to_move_its_calls() -> None:
    drain_s = float(VALUES["HOLDLINE__SHUTDOWN__DRAIN_S"])

    assert POD["terminationGracePeriodSeconds"] >= drain_s + GRACE_S
    assert "lifecycle" not in CONTAINER  # a second SIGTERM would cut the calls


@pytest.mark.parametrize(("calls", "machines"), [(0, 2), (20, 2), (21, 3), (60, 4), (500, 10)])
def test_there_are_machines_for_the_calls_and_the_spare_seats(calls: int, machines: int) -> None:
    scaling = MANIFESTS["ScaledObject"]["spec"]
    (trigger,) = scaling["triggers"]
    metric, _, spare = trigger["metadata"]["query"].partition(" + ")
    seats = float(trigger["metadata"]["threshold"])
    wanted = math.ceil((calls + int(spare)) / seats)

    assert metric.removeprefix("sum(holdline_").removesuffix(")") in METERS
    assert seats == float(VALUES["HOLDLINE__SERVER__MAX_CALLS"])
    assert trigger["metricType"] == "AverageValue"
    least, most = scaling["minReplicaCount"], scaling["maxReplicaCount"]
    assert min(most, max(least, wanted)) == machines
