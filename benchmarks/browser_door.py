"""Measures a browser's line: its delay alone, answers at the page's ear, rows of the drill.

    .venv/bin/python -m benchmarks.browser_door [--turns N] [--only turns,rows]

benchmarks/README.md describes the measurement; sip_door.py judges both doors.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.sip_door import measure_door
from lab.drill.matrix import FULL
from operations.telemetry import logs
from tests.e2e.browser import CHROMIUM
from tests.e2e.browser_rig import open_browser_rig
from tests.e2e.page_mirror import measure_page


def main() -> int:
    """Measure and print; return 0, 1 if a target was missed, 3 if nothing could be measured."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--turns", type=int, default=6, help="answers to measure")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["turns", "rows"])
    options = parser.parse_args()
    if CHROMIUM is None:
        print("unproven: no Chromium is here")
        return 3
    logs.set_up(level="WARNING", folder=None)
    with tempfile.TemporaryDirectory(prefix="holdline-browser-") as folder:
        return asyncio.run(_measure(options, Path(folder)))


async def _measure(options: argparse.Namespace, folder: Path) -> int:
    rows = {item.name: item for item in FULL}
    way = await measure_page()
    print(f"of the way, the page's receiver held back {way.buffer_s:.3f} s at the mean")
    return await measure_door(
        way.round_s,
        options,
        lambda name: open_browser_rig(rows[name], folder / name),
        held_s=way.buffer_s,
    )


if __name__ == "__main__":
    sys.exit(main())
