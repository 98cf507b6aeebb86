"""A missing far end: skipped locally, a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One test for each browser.
NEEDING = {
    "chromium": "tests/e2e/test_pages.py::test_a_call_is_made_heard_and_hung_up",
    "firefox": "tests/e2e/test_firefox.py",
}


def outcome(test: str, path: Path, *, ci: str) -> str:
    """Run a test where no program can be found; return pytest's last line."""
    environment = {**os.environ, "PATH": str(path), "CI": ci, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", test],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("test", NEEDING.values(), ids=NEEDING.keys())
def test_a_missing_browser_is_skipped_locally_and_fails_in_ci(test: str, tmp_path: Path) -> None:
    assert "1 skipped" in outcome(test, tmp_path, ci="")

    missed = outcome(test, tmp_path, ci="true")
    assert "1 error" in missed or "1 failed" in missed
