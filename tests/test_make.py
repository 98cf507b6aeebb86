"""What `make test` does beside pytest: both halves of the suite run, whatever becomes of one."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOTH = ROOT / "scripts" / "both"


@pytest.mark.parametrize(
    ("first", "second", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (2, 1, 1), (2, 0, 2)]
)
def test_both_halves_run_and_fail_if_one_does(first: int, second: int, code: int) -> None:
    halves = [f"echo first; exit {first}", f"echo second; exit {second}"]

    done = subprocess.run([BOTH, *halves], check=False, capture_output=True, text=True)  # noqa: S603 - ours

    assert (done.returncode, done.stdout.split()) == (code, ["first", "second"])


@pytest.mark.parametrize("target", ["test", "test-long"])
def test_a_target_with_two_halves_runs_both(target: str) -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8").split("\n\n")
    (rule,) = (each for each in rules if each.startswith(f"{target}:"))

    assert rule.count("pytest") + rule.count("$(PYTEST)") == 2
    assert rule.count("$(BOTH)") == 1
    assert rule.count("\t@") == 1  # a second line of its own would not run when the first fails
