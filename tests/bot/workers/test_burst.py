"""Thirty simultaneous callers: accepted ones are greeted, the others are refused at once."""

import asyncio
from pathlib import Path

import pytest

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import NotConnectedError
from tests.bot.serving import AUTH_TOKEN, serving
from tests.bot.workers.multi_worker import TWO, becomes, told, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

CALLERS = 30
GREETED_WITHIN_S = 90.0  # callers, simulators and workers share the machine: it only has to arrive
BUSY = "All our lines are busy."


async def test_thirty_callers_at_once_are_each_greeted_or_told(
    tmp_path: Path, lab: RunningLab
) -> None:
    changes = TWO | {"server": {"workers": 2, "admission": "measured"}}
    async with serving(lab, tmp_path, changes=changes) as served:
        await becomes(lambda: len(workers_of(served)) == 2)
        all_know = asyncio.Barrier(CALLERS)  # accepted callers stay until all have an answer
        heard = await asyncio.gather(*(call(served.url, all_know) for _ in range(CALLERS)))

    assert set(heard) <= {"greeted", "told"}
    assert heard.count("greeted") >= 2  # one in each worker, however slow the machine is
    assert len(told(served, "CallStarted")) == heard.count("greeted")


async def call(url: str, all_know: asyncio.Barrier) -> str:
    """Return the result of one caller."""
    try:
        async with Carrier(url, AUTH_TOKEN) as line:
            greeting = await line.listen(within_s=GREETED_WITHIN_S)
            await all_know.wait()
            return "greeted" if greeting.size else "silence"
    except NotConnectedError as refused:
        await all_know.wait()
        return "told" if refused.said.startswith(BUSY) else refused.said
