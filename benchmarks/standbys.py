"""Measures the cost of a warm standby, and the delay of a cold one when it is needed.

    .venv/bin/python -m benchmarks.standbys [--failovers N] [--calls N] [--away S]

benchmarks/README.md describes the measurement.
"""

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.held import failovers, measure_call_cost
from lab.process import LabOptions, RunningLab, lab_process
from operations.telemetry import logs

MODES: Final = ("warm", "cold")


def main() -> int:
    """Measure and print."""
    options = _options()
    logs.set_up(level="ERROR", folder=None)

    console = Console(soft_wrap=True, highlight=False)

    async def measure(folder: Path) -> None:
        async with lab_process(options=LabOptions(steady=True)) as lab:
            table = Table("standby", "failovers", "p50 s", "worst s")
            for mode in MODES:
                took_s = await failovers(
                    lab, folder, cold=mode == "cold", times=options.failovers, away_s=options.away
                )
                middle = took_s[len(took_s) // 2]
                table.add_row(mode, str(len(took_s)), f"{middle:.3f}", f"{took_s[-1]:.3f}")
            console.print(table)
            console.print(await asyncio.to_thread(costs, lab, folder))

    def costs(lab: RunningLab, folder: Path) -> Table:
        table = Table("standby", "calls", "MB a call", "CPU a call, % of a core", "sockets a call")
        context = multiprocessing.get_context("spawn")
        for mode in MODES:
            with ProcessPoolExecutor(1, mp_context=context) as fresh:  # to measure its memory
                future = fresh.submit(
                    measure_call_cost, lab, folder, cold=mode == "cold", calls=options.calls
                )
                found = future.result()
            table.add_row(
                mode,
                str(options.calls),
                f"{found.rss_mb:.2f}",
                f"{100 * found.cpu_share:.4f}",
                f"{found.sockets:.1f}",
            )
        return table

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure standbys.")
    parser.add_argument("--failovers", type=int, default=20, help="of each kind, default 20")
    parser.add_argument("--calls", type=int, default=40, help="held at once, default 40")
    parser.add_argument(
        "--away", type=float, default=0.0, metavar="S", help="one way to the standby, default 0"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
