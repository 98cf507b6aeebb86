"""A caller interrupts the agent by voice on every carrier, on virtual time."""

import asyncio
from pathlib import Path

import pytest

from calls.events import BargedIn
from lab.callers import caller_says
from lab.simulators.carrier.carrier import Carrier
from tests.bot.carrier_server import TWILIO_FIRST, open_routes
from tests.bot.judged_call import judged_call

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

SILENT_WITHIN_S = 1.0  # of the caller's first word: the VAD needs 0.2 s of it


async def answering(call: Carrier) -> None:
    """Wait until the agent has spoken for half a second."""
    before = len(call.ear.bursts)
    async with asyncio.timeout(20):
        while len(call.ear.bursts) == before:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)


@pytest.mark.parametrize("carrier", TWILIO_FIRST)
async def test_a_speaking_caller_interrupts_the_agent_at_once(tmp_path: Path, carrier: str) -> None:
    async with (
        open_routes(carrier) as doors,
        judged_call(tmp_path, changes=doors.changes()) as beside,
        doors.caller(beside.url) as call,
    ):
        await call.listen(within_s=20)
        await call.say(caller_says("What are your opening hours?"))
        await answering(call)
        before = len(call.ear.bursts)
        began_s = call.now_s
        call.begin(caller_says("Wait, where are you please?"))
        await asyncio.sleep(SILENT_WITHIN_S)

        stopped_s = call.ear.bursts[before - 1].end / call.rate_hz
        assert began_s < stopped_s < began_s + SILENT_WITHIN_S
        assert any(isinstance(event, BargedIn) for event in beside.events)
        assert call.complaints == []
