"""The table of transports has the suite's results, and no more."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]

RESULTS = """<testsuites><testsuite>
<testcase name="test_a_call_is_answered[near]"><properties>
  <property name="behaviour" value="answer"/><property name="found" value="does"/>
</properties></testcase>
<testcase name="test_a_call_is_answered[far]"><skipped message="no far end"/></testcase>
<testcase name="test_keys[near]"><properties>
  <property name="behaviour" value="keys_out"/><property name="found" value="refuses: deaf"/>
</properties></testcase>
<testcase name="test_gap[near]"><properties>
  <property name="behaviour" value="gap"/><property name="found" value="void: no wire"/>
</properties><skipped message="has no meaning here"/></testcase>
<testcase name="test_turn[near]"><properties>
  <property name="behaviour" value="turn"/><property name="found" value="does"/>
</properties><failure message="silent"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def doors_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "doors_table", ROOT / "scripts" / "doors_table.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["doors_table"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.xml"
    path.write_text(RESULTS)
    return path


def test_each_test_outcome_has_its_own_mark(doors_table: ModuleType, results: Path) -> None:
    found = doors_table.judge(doors_table.read_cases(results))

    assert found == {
        ("answer", "near"): "yes",
        ("answer", "far"): "unproven",
        ("keys_out", "near"): "refused",
        ("gap", "near"): "-",
        ("turn", "near"): "**fails**",
    }


def test_untried_behaviours_are_unproven(doors_table: ModuleType, results: Path) -> None:
    door = SimpleNamespace(
        name="near", peer="a peer", cannot={"keys_out": "deaf"}, void={}, unproven={}
    )

    table = doors_table.render(doors_table.judge(doors_table.read_cases(results)), [door])

    assert "| call is answered | yes |" in table
    assert "| greeting | unproven |" in table
    assert "| near | a peer | DTMF to the far end: deaf |" in table


def test_the_table_is_between_its_marks(doors_table: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{doors_table.BEGIN}\nold\n{doors_table.END}\nafter\n")

    doors_table.write(page, "| new |")

    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| new |" in text


def test_every_transport_names_existing_behaviours(doors_table: ModuleType) -> None:
    doors = doors_table.find_transports()

    assert {"loopback", "local", "twilio", "webrtc"} <= {door.name for door in doors}
    for door in doors:
        assert {*door.cannot, *door.void, *door.unproven} <= {*doors_table.BEHAVIOURS}
