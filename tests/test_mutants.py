"""The files that `make mutants` changes, and its counts."""

import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from scripts.mutants import PROFILE, ROOT, decision_tests, prepare, row, with_getters

PROPERTY = '''class Line:
    """A line."""

    @property
    def dry_at(self) -> float:
        """When it is dry."""
        return self.began + 1.0

    def tick(self) -> float:
        return self.dry_at
'''


def test_a_property_becomes_a_function_that_can_be_mutated_and_works_as_before() -> None:
    made: dict[str, type] = {}
    exec(with_getters(PROPERTY), made)  # noqa: S102 - our own text
    line = made["Line"]()
    line.began = 2.0

    assert "@property" not in with_getters(PROPERTY)
    assert line.tick() == 3.0


def test_the_copy_has_the_decisions_their_tests_and_the_mutated_files(
    tmp_path: Path,
) -> None:
    prepare(tmp_path, only=["calls/turn.py"])
    settings = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["tool"]

    assert settings["mutmut"]["only_mutate"] == ["calls/turn.py"]
    assert "@property" not in (
        tmp_path / "processors" / "holding" / "late_answer_rules.py"
    ).read_text(encoding="utf-8")
    for folder in ("tests/fallbacks", "tests/calls"):
        ours = {path.name for path in (ROOT / folder).glob("test_*.py")}
        assert {path.name for path in (tmp_path / folder).glob("test_*.py")} == ours
    holding = {path.name for path in (tmp_path / "tests/processors/holding").glob("test_*.py")}
    assert {"test_decision.py", "test_outage_rules_menu.py"} <= holding
    assert "test_hold_line.py" not in holding  # a stage


@pytest.mark.slow
def test_the_tests_of_the_copy_pass_before_any_change(tmp_path: Path) -> None:
    prepare(tmp_path, only=[])
    done = subprocess.run(  # noqa: S603 - our own tests
        [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *decision_tests(),
        ],
        cwd=tmp_path,
        env={**os.environ, **PROFILE},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout[-3000:]


def test_a_timeout_counts_as_noticed() -> None:
    fates = Counter(killed=15, timeouts=1, survived=4)

    assert row("calls/turn.py", fates).split() == ["calls/turn.py", "20", "15", "4", "1", "80.0%"]


def test_a_file_that_is_no_decision_is_refused_in_one_line() -> None:
    name = "bot/call/call.py"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, ROOT / "scripts" / "mutants.py", name],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr == f"ONLY={name}: {name} is not one of the decisions\n"
