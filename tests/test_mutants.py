"""The files that `make mutants` changes, and its counts."""

import re
import tomllib
from pathlib import Path

from scripts.mutants import ROOT, prepare


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
    for test in (tmp_path / "tests").rglob("test_*.py"):
        tables = re.findall(r'"(\w+\.tsv)"', test.read_text(encoding="utf-8"))
        assert all((test.parent / table).is_file() for table in tables), test
