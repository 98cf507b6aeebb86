"""Measures how long a telephone caller hears nothing when the media socket is reset in an answer.

    .venv/bin/python benchmarks/lost_line.py [--times N]

Server, providers and carrier of the lab run in processes of their own. The socket is reset at a
different place of each answer. Prints the seconds until the caller heard the agent again, and if
it stayed one call.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent  # a script's own folder is all Python looks in
TARGET_S: Final = 2.0
INTO_S: Final = (0.3, 0.6, 0.9, 1.2)  # of an answer


def main() -> int:
    """Measure and print; return 0, or 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=8)
    times = parser.parse_args().times
    sys.path.insert(0, str(ROOT))
    from operations.telemetry import logs  # noqa: PLC0415 - found only once the root is on the path

    logs.set_up(level="ERROR", folder=None)
    with tempfile.TemporaryDirectory() as folder:
        found, calls = asyncio.run(_measure(times, Path(folder)))
    worst_s = max(found)
    print(f"lost {len(found)} times in {calls} call(s)")
    print(f"heard again after: median {median(found):.2f} s, longest {worst_s:.2f} s")
    print(f"target {TARGET_S:g} s: {'met' if worst_s <= TARGET_S else 'missed'}")
    return int(worst_s > TARGET_S or calls != 1)


async def _measure(times: int, folder: Path) -> tuple[list[float], int]:
    import numpy as np  # noqa: PLC0415 - the same

    from lab.callers import RATE_HZ, Carrier, caller_says  # noqa: PLC0415 - the same
    from lab.drill.servers import AUTH_TOKEN, OURS, run_agent  # noqa: PLC0415 - the same
    from lab.process import LabOptions, lab_process  # noqa: PLC0415 - the same

    found: list[float] = []
    options = LabOptions(steady=True)
    async with lab_process(options=options) as lab, run_agent(lab, OURS, folder=folder) as url:
        async with Carrier(url, AUTH_TOKEN) as call:
            await call.listen(within_s=20)
            for number in range(times):
                await call.say(caller_says("What are your opening hours?"))
                lost_s = await _lose(call, INTO_S[number % len(INTO_S)])
                await call.listen(quiet_s=1.5, within_s=30)
                loud = np.flatnonzero(np.abs(call.heard().astype(np.int32)) > 300) / RATE_HZ
                found.append(float(loud[loud > lost_s][0] - lost_s))
        journals = await asyncio.to_thread(lambda: len(list(folder.rglob("calls/*.jsonl"))))
    return found, journals


async def _lose(call: "Carrier", into_s: float) -> float:  # noqa: F821 - imported when it is run
    count = len(call.ear.bursts)
    while len(call.ear.bursts) <= count:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    begun_s = call.heard_at[count]
    while call.now_s < begun_s + into_s:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    await call.break_off()
    while not call.lost_at or call.lost_at[-1] < call.now_s - 5:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    return call.lost_at[-1]


if __name__ == "__main__":
    sys.exit(main())
