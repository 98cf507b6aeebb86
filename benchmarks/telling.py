"""Measures the cost of events: one event, and ten calls with and without listeners.

    .venv/bin/python benchmarks/telling.py [--calls N] [--pairs N] [--turns N] [--json FILE]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from benchmarks.telling_calls import Found
    from benchmarks.telling_figures import Figures

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in
MISSED_CODE, CANNOT_TELL_CODE = 1, 3


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if the result is uncertain."""
    options = _options()
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        logs.set_up(level="INFO", folder=Path(folder) / "logs")
        from benchmarks import telling_calls, telling_figures, telling_report  # noqa: PLC0415 - Pipecat, after the log's rules

        plan = telling_calls.Plan(
            calls=options.calls,
            facts=options.facts,
            pairs=options.pairs,
            turns=options.turns,
            seed=options.seed,
            folder=Path(folder),
        )
        found = asyncio.run(telling_calls.measure(plan))
    figures = telling_figures.figures_of(found)
    if options.json:
        write(options.json, found, figures)
    for line in telling_report.lines(found, figures, calls=options.calls):
        console.print(line)
    verdicts = figures.verdicts().values()
    if telling_figures.MISSED in verdicts:
        return MISSED_CODE
    return CANNOT_TELL_CODE if telling_figures.CANNOT_TELL in verdicts else 0


def write(path: Path, found: "Found", figures: "Figures") -> None:
    """Write each window and each event to a file."""
    told = {"figures": figures.as_json(), **asdict(found)}
    path.write_text(json.dumps(told) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what telling costs.")
    parser.add_argument("--calls", type=int, default=10, help="at once, default 10")
    parser.add_argument("--facts", type=int, default=6000, help="told one by one, default 6000")
    parser.add_argument("--pairs", type=_even, default=20, help="of windows, default 20")
    parser.add_argument("--turns", type=int, default=1, help="of each call a window, default 1")
    parser.add_argument("--seed", type=int, default=11, help="of the windows' order, default 11")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, window by window")
    return parser.parse_args()


def _even(text: str) -> int:
    number = int(text)
    if number < 2 or number % 2:
        raise argparse.ArgumentTypeError(f"{text} is no even number of at least 2")
    return number


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
