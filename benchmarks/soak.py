"""Holds calls for half an hour in every seat, and looks for drift and lost turns.

    .venv/bin/python benchmarks/soak.py [--minutes 30] [--calls N] [--workers auto]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in
RESULTS: Final = ROOT / "docs" / "capacity-results.json"
SHARE: Final = 0.8  # of the measured capacity
TURNS: Final = 8  # of each call: a minute and a half


def main() -> int:
    """Measure and print; return 0, or 1 if a measure drifts or a turn was lost."""
    options = _options()
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="WARNING", folder=None)
    return asyncio.run(_measure(options))


async def _measure(options: argparse.Namespace) -> int:
    from benchmarks import soaking  # noqa: PLC0415 - after the log's rules
    from benchmarks.busy import busy  # noqa: PLC0415
    from lab.drill.servers import OURS, takes_workers  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    calls = options.calls or _most_of_measured(console)
    if calls is None:
        return 2
    workers = options.workers if await takes_workers() else ""
    wanted = soaking.Soak(
        side=OURS,
        workers=workers,
        calls=calls,
        minutes=options.minutes,
        turns=TURNS,
        delays=options.delays,
    )
    console.print(f"{calls} seats for {options.minutes:g} minutes, then the calls are judged")
    with tempfile.TemporaryDirectory() as folder:
        async with busy(options.busy):
            found = await soaking.soak(wanted, folder=Path(folder) / "server")
    for line in soaking.lines(found):
        console.print(line)
    if options.json:
        told = json.dumps(soaking.as_json(found), indent=2)
        options.json.write_text(told + "\n", encoding="utf-8")
    return 0 if found.good else 1


def _most_of_measured(console: Console) -> int | None:
    """Return four fifths of the calls that `capacity.py` last found to hold."""
    try:
        runs: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError):
        console.print(f"--calls is not given, and {RESULTS} tells none; run capacity.py first")
        return None
    ours = [run for run in runs if run["side"] == "holdline"]
    kind = next((name for name in ("auto", "") if any(r["workers"] == name for r in ours)), "1")
    missed = [row["calls"] for row in ours if row["workers"] == kind and not row["holds"]]
    held = [
        row["calls"]
        for row in ours
        if row["workers"] == kind and row["calls"] < min(missed, default=math.inf)
    ]
    return max(1, math.floor(SHARE * max(held, default=1)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold calls for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0, help="default 30")
    parser.add_argument("--calls", type=int, help="at once; default 80 %% of the measured capacity")
    parser.add_argument("--workers", default="auto", help="1 or auto, default auto")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other busy processes")
    parser.add_argument("--delays", choices=["quick", "usual"], default="quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="slopes, and every moment")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
