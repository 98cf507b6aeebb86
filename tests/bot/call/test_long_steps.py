"""No step of four calls blocks the loop for long."""

import asyncio
import time
from pathlib import Path

import pytest

from bot.workers.process import Process, open_process
from calls.entry import Entry
from calls.events import CallStarted
from lab.process import LabOptions, lab_process, with_lab
from lab.recording import read_recording
from tests.bot.step_meter import StepMeter, metered
from transports.loopback.leg import LoopbackLeg

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "fixtures" / "callers"
CALLERS = ("01_hours", "02_saturday_mulaw", "03_booking", "14_rate_8k")
LONG_S = 0.02
ROUND_S = 0.05  # of the collector, after calls that ended: decision 0004
ROUND = "free_ended_calls.<locals>.collect_when_calls_ended"


class UpCount:
    """Waits until `count` calls are up."""

    def __init__(self, calls: int) -> None:
        self.up = asyncio.Event()
        self._missing = calls

    async def hear(self, entry: Entry) -> None:
        self._missing -= isinstance(entry.event, CallStarted)
        if not self._missing:
            self.up.set()


async def one_call(process: Process, name: str) -> None:
    caller = read_recording(FOLDER / f"{name}.wav")
    leg = LoopbackLeg(
        caller.samples,
        sample_rate_hz=caller.rate_hz,
        linger_s=10.0,
        content_s=2.0,
        clock=time.monotonic,
    )
    await process.switchboard.answer(leg)


def test_the_meter_finds_a_long_step() -> None:
    async def compute() -> None:
        await asyncio.sleep(0)
        began_s = time.thread_time()
        while time.thread_time() < began_s + 1.5 * LONG_S:
            pass

    with metered() as meter:
        asyncio.run(compute())

    assert [name.rpartition(".")[2] for name in meter.over(LONG_S)] == ["compute"]


async def test_no_step_of_four_calls_blocks_the_loop_for_long(tmp_path: Path) -> None:
    """From the moment when all are up; the start of a call is measured elsewhere."""
    everyone_up = UpCount(1 + len(CALLERS))
    async with asyncio.timeout(120), lab_process(options=LabOptions(steady=True)) as lab:
        settings = with_lab(lab, {"logs": {"dir": tmp_path / "logs"}})
        async with open_process(settings, words=True, listeners=[everyone_up]) as process:
            await one_call(process, CALLERS[0])  # imports at first use
            async with asyncio.TaskGroup() as calls:
                for name in CALLERS:
                    calls.create_task(one_call(process, name))
                await everyone_up.up.wait()
                await asyncio.sleep(0.2)
                meter = await _measure(process)

    assert meter.steps > 1000
    assert meter.over(LONG_S).keys() <= {ROUND}
    assert meter.over(ROUND_S) == {}


async def _measure(process: Process) -> StepMeter:
    """Measure until the calls are over."""
    with metered() as meter:
        while process.switchboard.calls:  # noqa: ASYNC110 - the switchboard has no event for it
            await asyncio.sleep(0.1)
    return meter
