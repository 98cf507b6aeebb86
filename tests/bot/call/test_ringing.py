"""While a line rings, no timer runs, nothing is said and nothing is recorded."""

import asyncio
from pathlib import Path

import pytest

from calls.events import AgentSaid, CallerSilent
from tests.bot.judged_call import JudgedCall, listening
from transports.leg import PlainLeg

RINGS_S = 60.0
PROMPT_AFTER_S = 2.0

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]


def told(beside: JudgedCall) -> list[type]:
    """Return our words to the caller, and the prompts about their silence."""
    return [type(event) for event in beside.events if isinstance(event, AgentSaid | CallerSilent)]


async def test_nothing_is_timed_said_or_recorded_while_it_rings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ring(_: object) -> None:
        await asyncio.sleep(RINGS_S)

    monkeypatch.setattr(PlainLeg, "answered", ring)
    agent = {"greeting": "Hello.", "silence": {"prompt_after_s": PROMPT_AFTER_S}}
    async with listening(tmp_path, {"agent": agent}, None) as beside, beside.call as call:
        await asyncio.sleep(RINGS_S - 1.0)
        ringing, spoken = told(beside), list(beside.lab.record.words())
        await call.listen(within_s=10)
        await asyncio.sleep(4 * PROMPT_AFTER_S)
        answered = [
            type(event) for event in beside.events if isinstance(event, AgentSaid | CallerSilent)
        ]

    assert (ringing, list(spoken)) == ([], [])
    assert answered[0] is AgentSaid
    assert CallerSilent in answered
