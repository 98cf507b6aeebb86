"""Every provider in the catalogue can be used like the others, and owners find its name."""

import inspect
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import yaml

from lab.simulators.lab import KINDS
from processors.hearing.rung import Supervised
from providers.catalog import DATA, PROVIDERS, kinds
from providers.facts import RungFacts
from providers.provider import Provider, Stage
from tests.kit.bench import rung_spec

ROOT = Path(__file__).parents[2]
STAGES: tuple[Stage, ...] = get_args(Stage)
REMOTE = [item for item in PROVIDERS if item.url]


def place_of(item: Provider) -> str:
    return f"{item.stage}-{item.kind}"


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("item", PROVIDERS, ids=place_of)
def test_each_providers_modules_can_build_and_probe(item: Provider) -> None:
    module, requests = import_module(item.module), import_module(item.requests or item.module)

    assert callable(module.build)
    assert not item.facts.asks_cheaply or inspect.iscoroutinefunction(module.probe)
    assert inspect.iscoroutinefunction(requests.probe_real)


FACTS = {field.name for field in fields(RungFacts)}
COLUMNS = {
    "kinds": {field.name for field in fields(Provider)} - {"facts"} | FACTS,
    "services": {"stage", "title", "url", "key_env", "tried"} | FACTS,
}


@pytest.mark.parametrize("table", COLUMNS)
def test_each_column_of_a_table_is_read(table: str) -> None:
    rows = yaml.safe_load((DATA / f"{table}.yaml").read_text("utf-8"))
    listed = rows.values() if isinstance(rows, dict) else rows

    assert [{*row} - COLUMNS[table] for row in listed if not {*row} <= COLUMNS[table]] == []


@pytest.mark.parametrize("kind", [item.kind for item in REMOTE if item.stage == "stt"])
async def test_a_recogniser_with_a_url_leaves_its_connection_to_the_stage(kind: str) -> None:
    (item,) = (item for item in PROVIDERS if (item.stage, item.kind) == ("stt", kind))

    assert isinstance(item.build(rung_spec("stt", kind, item.url)), Supervised)


def test_the_lab_simulates_every_provider_with_a_url() -> None:
    assert set(KINDS) == {item.kind for item in REMOTE}


def test_the_configuration_names_every_kind() -> None:
    source = " ".join(text_of("configuration/stages.py").split())
    lists = (f"{stage}: {', '.join(f'`{kind}`' for kind in kinds(stage))}" for stage in STAGES)
    about_urls = source.partition("url: str")[2].partition("model:")[0].lower()

    assert "; ".join(lists) in source
    assert [item.kind for item in REMOTE if item.kind not in about_urls] == []


@pytest.mark.parametrize("stage", STAGES)
def test_the_example_names_every_kind_of_a_stage(stage: Stage) -> None:
    assert f"  {stage}:  # {', '.join(kinds(stage))}\n" in text_of("holdline.example.yaml")


@pytest.mark.parametrize("item", REMOTE, ids=place_of)
def test_each_providers_key_and_simulator_are_named(item: Provider) -> None:
    assert f"{item.key_env}=" in text_of(".env.example").splitlines()
    assert item.kind in text_of("docs/lab.md").lower()
