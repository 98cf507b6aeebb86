"""Measures how long a caller hears nothing when the connection breaks during an answer.

    .venv/bin/python -m benchmarks.lost_line [--line twilio|browser] [--times N]

Server and providers run in separate processes. On `twilio` there is one call, whose media socket is
reset at a different place in each answer. On `browser` the network of a real Chromium is cut.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from lab.callers import RATE_HZ, Carrier, caller_says
from lab.drill.servers import AUTH_TOKEN, OURS, run_agent
from lab.process import LabOptions, lab_process
from operations.telemetry import logs

TARGET_S: Final = {"twilio": 2.0, "browser": 5.0}
BREAK_AFTER_S: Final = (0.3, 0.6, 0.9, 1.2)  # the times of the break in an answer
EAR: Final = Path(__file__).parent / "page_ear.js"
PHRASES: Final = (("01_hours", 0), ("08_barge_in", 1))  # of the recorded callers


def main() -> int:
    """Measure and print; return 0, or 1 if a pause was too long or a call on Twilio was split."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--line", choices=TARGET_S, default="twilio")
    parser.add_argument("--times", type=int, default=8)
    options = parser.parse_args()
    logs.set_up(level="ERROR", folder=None)
    measure = {"twilio": _twilio, "browser": _browser}[options.line]
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(options.times, Path(folder)))
        calls = len(list(Path(folder).rglob("calls/*.jsonl")))
    worst_s, target_s = max(found), TARGET_S[options.line]
    print(f"lost {len(found)} times in {calls} call(s)")
    print(f"heard again after: median {median(found):.2f} s, longest {worst_s:.2f} s")
    print(f"target {target_s:g} s: {'met' if worst_s <= target_s else 'missed'}")
    return int(worst_s > target_s or (options.line == "twilio" and calls != 1))


async def _twilio(times: int, folder: Path) -> list[float]:
    """Break the media socket in each answer; return how long each silence was, in seconds."""
    found: list[float] = []
    async with (
        lab_process(options=LabOptions(steady=True)) as lab,
        run_agent(lab, OURS, folder=folder) as url,
        Carrier(url, AUTH_TOKEN) as call,
    ):
        await call.listen(within_s=20)
        for number in range(times):
            await call.say(caller_says("What are your opening hours?"))
            lost_s = await _break_line(call, BREAK_AFTER_S[number % len(BREAK_AFTER_S)])
            await call.listen(quiet_s=1.5, within_s=30)
            loud = np.flatnonzero(np.abs(call.heard().astype(np.int32)) > 300) / RATE_HZ
            found.append(float(loud[loud > lost_s][0] - lost_s))
    return found


async def _break_line(call: Carrier, into_s: float) -> float:
    """Break the line in the next answer; return when it was lost, in seconds of the call."""
    count = len(call.ear.bursts)
    while len(call.ear.bursts) <= count:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.01)
    begun_s = call.heard_at[count]
    while call.now_s < begun_s + into_s:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.01)
    await call.break_off()
    while not call.lost_at or call.lost_at[-1] < call.now_s - 5:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.01)
    return call.lost_at[-1]


async def _browser(times: int, folder: Path) -> list[float]:
    """Cut the page's network in each answer; return how long each silence was, in seconds."""
    from tests.bot.serving import free_port  # noqa: PLC0415 - needs Playwright
    from tests.e2e.severable_serve import severable  # noqa: PLC0415 - the same
    from tests.e2e.talking import answered, spoken, talking  # noqa: PLC0415 - the same

    found: list[float] = []
    quiet = {"agent": {"silence": {"prompt_after_s": 3600}}}
    async with (
        lab_process() as lab,
        severable(lab, folder, free_port(), changes=quiet, environment={}) as server,
        talking(scripts=(EAR.read_text(encoding="utf-8"),)) as page,
    ):
        await page.goto(server.url + "/client/")
        await page.get_by_role("button", name="Call", exact=True).click()
        await answered(page, 1)
        for number in range(times):
            await page.evaluate("window.say", spoken(*PHRASES[number % len(PHRASES)]))
            await page.wait_for_function(
                "() => performance.now() - audibleAt < 100", timeout=20_000
            )
            await asyncio.sleep(0.5)
            server.sever()
            cut_ms: float = await page.evaluate("performance.now()")
            heard = "(cut) => onsets.at(-1) > cut + 200"
            await page.wait_for_function(heard, arg=cut_ms, timeout=30_000)
            again_ms: float = await page.evaluate("window.onsets.at(-1)")
            found.append((again_ms - cut_ms) / 1000)
            await answered(page, number + 2)
    return found


if __name__ == "__main__":
    sys.exit(main())
