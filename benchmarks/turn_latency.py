"""How long healthy answers take, whose time it is, and how much of it is our own.

    .venv/bin/python benchmarks/turn_latency.py [--turns N] [--json FILE] [--beside-late]

benchmarks/README.md tells what is measured and how.
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
    """Measure, print, and return 0, or 1 when the target was missed."""
    options = _options()
    from telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="WARNING", folder=None)
    from benchmarks import report, session  # noqa: PLC0415 - Pipecat, after the log's rules

    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            session.measure(options.turns, folder=Path(folder), beside_late=options.beside_late)
        )
    if len(found.ours) < options.turns:
        console.print(f"only {len(found.ours)} of {options.turns} pairs of turns were healthy:")
        console.print("\n".join(f"  {n} x {why}" for why, n in found.aside.most_common()))
    if not found.ours:
        return 1
    beside = "late" if options.beside_late else "bare Pipecat"
    report.show(console, found.ours, found.theirs, aside=found.aside, beside=beside)
    told = ", ".join(f"{how} {count}" for how, count in found.early.items())
    console.print(f"early answers: {told}; extra requests {found.extra_share:.1%}")
    if options.json:
        everything = report.as_json(found.ours, found.theirs, aside=found.aside)
        options.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    enough = len(found.ours) == options.turns
    return 0 if enough and report.within_target(found.ours, found.theirs) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure turns.")
    parser.add_argument("--turns", type=int, default=100, help="pairs of turns, default 100")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, turn by turn")
    parser.add_argument(
        "--beside-late",
        action="store_true",
        help="beside Holdline with `latency.answer_early` and `speak_early` off, not bare Pipecat",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
