"""A day of calls to one server in one process: nothing grows."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from benchmarks.figures import Slope, slope
from lab.simulators.lab import Lab
from tests.bot.call.long_call import held_bytes, open_descriptors
from tests.bot.judged_call import JudgedCall, listening

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.usefixtures("quiet_log")]

HOUR_S = 3600.0
CALLS_AN_HOUR = 8
ALLOWED = {"MB": 1.0, "descriptors": 0.0, "threads": 0.0}  # more in an hour


@pytest.mark.parametrize(
    ("hours", "warm_hours"),
    [pytest.param(24, 6, id="a day", marks=pytest.mark.hours)],
)
async def test_no_resource_grows_in_a_day_of_calls(
    hours: int, warm_hours: int, tmp_path: Path
) -> None:
    samples: list[dict[str, float]] = []
    async with listening(tmp_path, {}, None) as server:
        began_s = asyncio.get_running_loop().time()
        for number in range(hours * CALLS_AN_HOUR + 1):
            due_s = began_s + number * HOUR_S / CALLS_AN_HOUR
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            if number % CALLS_AN_HOUR == 0:  # minutes after the last call
                samples.append(held())
                print(number // CALLS_AN_HOUR, samples[-1], flush=True)  # noqa: T201 - for `-s`
            await call(server)

    slopes = {name: hourly(samples[warm_hours:], name) for name in samples[0]}
    print({name: (it.a_minute, it.give_or_take) for name, it in slopes.items()})  # noqa: T201
    growing = [
        name
        for name, allowed in ALLOWED.items()
        if slopes[name].a_minute - slopes[name].give_or_take > allowed
    ]
    assert not growing, (slopes, samples)


async def call(server: JudgedCall) -> None:
    """Call, and ask; the answer must be whole."""
    caller = server.next_call()
    async with caller.call:
        await caller.call.listen(quiet_s=1.0, within_s=20)
        verdict = await caller.ask()
    assert verdict.whole, verdict
    forget(server.lab)


def forget(lab: Lab) -> None:
    """Drop the lab's record, which only the test keeps."""
    for kept in lab.record._requests.values():
        still_open = [item for item in kept if item.outcome == "open"]
        kept.clear()
        kept.extend(still_open)
        for request in still_open:
            request.marks.clear()
            request.details.get("finals", []).clear()
    lab.record._words.clear()


def held() -> dict[str, float]:
    """Return what this process holds."""
    return {
        "MB": held_bytes() / 1e6,
        "objects": float(len(gc.get_objects())),
        "descriptors": float(open_descriptors()),
        "threads": float(threading.active_count()),
    }


def hourly(samples: list[dict[str, float]], name: str) -> Slope:
    """Return the line through samples that are an hour apart; `a_minute` is then an hour."""
    return slope((60.0 * hour, sample[name]) for hour, sample in enumerate(samples))
