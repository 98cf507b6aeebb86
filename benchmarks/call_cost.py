"""Measures what a telephone call costs our process: processor time, memory and set-up work.

    .venv/bin/python benchmarks/call_cost.py [--calls N] [--seconds S] [--rounds N] [--json FILE]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in


def main() -> int:
    """Measure and print; return 0, or 1 if a target was missed."""
    options = _options()
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="WARNING", folder=None)
    from benchmarks import costs  # noqa: PLC0415 - the same

    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        plan = costs.Plan(
            calls=options.calls,
            seconds_s=options.seconds,
            rounds=options.rounds,
            sides=tuple(options.sides.split(",")),
        )
        found = asyncio.run(costs.measure(plan, folder=Path(folder)))
    costs.show(console, found)
    if options.json:
        text = json.dumps([item.as_json() for item in found], indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if costs.within_target(found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a call costs.")
    parser.add_argument("--calls", type=int, default=4, help="at once, default 4")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a round, default 30")
    parser.add_argument("--rounds", type=int, default=2, help="for each side, in turn; default 2")
    parser.add_argument("--sides", default="holdline,stock-pipecat", help="whose server")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, round by round")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
