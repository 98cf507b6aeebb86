"""Measures how many calls at once a server holds, ours and stock Pipecat in turn.

    .venv/bin/python benchmarks/capacity.py [--beside stock-pipecat] [--calls 1,4,8] [--quick]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parent.parent  # a script imports from its own folder only
CALLS: Final = (1, 2, 4, 6, 8, 10, 12, 16, 20)
TURN_S: Final = 10.0  # a question, its answer and a pause
STOCK: Final = "stock-pipecat"
WIDE: Final = 210  # columns of a table that goes to a file


def main() -> int:
    """Measure, print and write; return 0, or 1 if fewer calls than required passed."""
    options = _parse_options()
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="WARNING", folder=None)
    return asyncio.run(_measure_capacity(options))


async def _measure_capacity(options: argparse.Namespace) -> int:
    from benchmarks import capacity_report, load  # noqa: PLC0415 - after the log's rules
    from benchmarks.busy import busy  # noqa: PLC0415
    from lab.drill.servers import takes_workers  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    workers = options.workers if await takes_workers() else ("",)
    if workers == ("",):
        console.print("this `holdline serve` has no --workers: it is one process in every run")
    circumstances = await _run_circumstances()
    runs: list[Any] = []
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        async with busy(options.busy):
            for side, kind, calls in _ordered_runs(options, workers):
                settings = load.Load(
                    side=side,
                    workers=kind,
                    calls=calls,
                    turns=options.turns,
                    apart_s=options.apart,
                    delays=options.delays,
                )
                run, _ = await load.measure(settings, folder=Path(folder) / "server")
                runs.append(run)
                console.print("  ".join(capacity_report.cells(run)))
                _write_json(options.json, runs, circumstances)
    console.print(capacity_report.table(runs))
    console.print(capacity_report.verdict(runs, cores=cores))
    console.print(capacity_report.arithmetic(runs, cores=cores))
    if options.report:
        text = capacity_report.page(runs, circumstances=circumstances, cores=cores)
        options.report.write_text(text, encoding="utf-8")
    return 0 if capacity_report.met(runs) else 1


def _ordered_runs(
    options: argparse.Namespace, workers: Sequence[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield the runs (side, workers, calls): for each number of calls all sides in turn.

    The sides take turns in going first.
    """
    from lab.drill.servers import OURS  # noqa: PLC0415

    sides = [(OURS, kind) for kind in workers] + ([(STOCK, "")] if options.beside else [])
    for turn, calls in enumerate(options.calls):
        first = turn % len(sides)
        for side, kind in (*sides[first:], *sides[:first]):
            yield side, kind, calls


async def _run_circumstances() -> dict[str, str]:
    from lab.drill.runner import describe_machine, read_commit  # noqa: PLC0415
    from runtime import clock  # noqa: PLC0415

    return {
        "machine": describe_machine(),
        "commit": await read_commit(ROOT),
        "began": clock.utc_now().isoformat(timespec="seconds"),
        "options": " ".join(sys.argv[1:]),
    }


def _write_json(file: Path | None, runs: Sequence[Any], circumstances: dict[str, str]) -> None:
    if file is not None:  # written after each run, so results are kept if a later one fails
        everything = {**circumstances, "runs": [run.as_json() for run in runs]}
        file.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how many calls a server carries.")
    parser.add_argument("--beside", choices=[STOCK], help="measure this, too, in the same runs")
    parser.add_argument("--calls", type=_numbers, help="at once, as 1,4,8")
    parser.add_argument("--workers", type=_names, default=("1", "auto"), help="as 1,auto")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--turns", type=int, help="of each call, default 6")
    length.add_argument("--seconds", type=float, help="of each call, about, instead of --turns")
    parser.add_argument("--apart", type=float, default=0.7, metavar="S", help="between two rings")
    parser.add_argument("--delays", choices=["quick", "usual"], default="quick")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other busy processes")
    parser.add_argument("--quick", action="store_true", help="1 and 4 calls of 2 turns, no report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="default docs/capacity-report.md"
    )
    options = parser.parse_args()
    options.calls = options.calls or ((1, 4) if options.quick else CALLS)
    options.turns = options.turns or (2 if options.quick else 6)
    if options.seconds:
        options.turns = max(1, round(options.seconds / TURN_S))
    if not options.quick:
        options.report = options.report or ROOT / "docs" / "capacity-report.md"
        options.json = options.json or ROOT / "docs" / "capacity-results.json"
    return options


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
