"""Rows of the drill in a browser: what the page hears when providers fail.

How soon it is heard depends on the machine; `benchmarks/doors.py` measures that. A voice and
a model that break are in test_failovers_heard.py.
"""

from pathlib import Path

import pytest

from lab.drill.matrix import FULL
from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rows import LOST
from tests.e2e.browser import need_chromium
from tests.e2e.browser_rig import open_browser_rig

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long, pytest.mark.alone]

SPOKEN_S = 4.0  # of an answer of six, interrupted at its beginning


async def played(name: str, folder: Path) -> MeasuredRun:
    need_chromium()
    row, run = next(item for item in FULL if item.name == name), MeasuredRun()
    async with open_browser_rig(row, folder) as rig:
        await play(rig, run)
    return run


async def test_with_everything_dead_the_caller_is_spoken_to(network: None, tmp_path: Path) -> None:
    run = await played("all-dead", tmp_path)

    assert run.measures["first_speech_s"] < LOST


async def test_the_agent_stops_for_a_caller_who_interrupts(network: None, tmp_path: Path) -> None:
    run = await played("barge-in-failover", tmp_path)

    assert run.measures["nothing_to_break"] == 0
    assert run.measures["quiet_s"] < SPOKEN_S  # else it has said everything
    assert run.turns[-1].verdict.whole
