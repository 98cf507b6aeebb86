"""The demo, with a lab that keeps its voices' sound and tells the address of its record.

`python -m tests.e2e.open_demo PLACE` is `holdline demo --port 0` and writes that to a file.
"""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Final

from lab.demo.demo import demo
from lab.process import LabOptions, RunningLab
from operations.telemetry import logs

LOGS: Final = Path("logs")


def main() -> None:
    place = Path(sys.argv[1])

    def lab_runs(lab: RunningLab) -> None:
        place.write_text(json.dumps(dataclasses.asdict(lab)), encoding="utf-8")

    logs.set_up(level="WARNING", folder=LOGS)
    options = LabOptions(keep_audio=True)
    asyncio.run(demo(port=0, folder=LOGS, options=options, lab_runs=lab_runs))


if __name__ == "__main__":  # the lab's process imports this file, too
    main()
