"""No bundled library reports to its maker."""

import os
import subprocess
import sys
from pathlib import Path


def run(program: str, home: Path, **variables: str) -> str:
    """Run a program with an empty home of its own, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", program],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **variables},
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def files(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_the_onnx_runtime_prepares_no_report(tmp_path: Path) -> None:
    run("import bot, onnxruntime", tmp_path)

    assert files(tmp_path) == []


def test_an_owner_who_wants_reports_is_not_overruled(tmp_path: Path) -> None:
    shown = "import bot, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"

    assert run(shown, tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"
