"""While a slow tool runs the line is not silent after the bridging words."""

import asyncio
from pathlib import Path

import pytest

from calls.events import AgentSaid, ToolCalled
from fallbacks.events import AttemptStarted
from lab.callers import caller_says
from tests.bot.call.test_silences import MAX_S, silences
from tests.bot.judged_call import listening

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

TOOL = {
    "entry_point": "tests.bot.tools.owner_functions:opening_hours_slowly",
    "name": "opening_hours",
    "timeout_s": 10.0,
}


async def test_the_line_is_not_silent_after_the_words_that_bridge_a_tool(tmp_path: Path) -> None:
    changes = {
        "agent": {"greeting": "Hello.", "tools": [TOOL]},
        "hold": {"first_s": 2.0, "last_s": 2.0, "render": False},  # so that the bridge comes first
    }
    async with listening(tmp_path, changes, None) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        asked_s = await call.say(caller_says("What are your opening hours?"))
        await asyncio.sleep(20)

    (used,) = [event for event in beside.events if isinstance(event, ToolCalled)]
    assert used.outcome == "ok"
    assert used.took_s > 2 * MAX_S
    assert max(silences(call, since_s=asked_s)[1:]) < MAX_S


async def test_a_result_that_came_while_the_caller_spoke_gets_its_own_answer(
    tmp_path: Path,
) -> None:
    changes = {"agent": {"greeting": "Hello.", "tools": [TOOL]}}
    async with listening(tmp_path, changes, None) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        await call.say(caller_says("What are your opening hours?"))
        await asyncio.sleep(3.0)
        await call.say(caller_says("Okay."))
        await asyncio.sleep(20)

    (used,) = [at for at, event in enumerate(beside.events) if isinstance(event, ToolCalled)]
    behind = beside.events[used:]
    asked = [
        event for event in behind if isinstance(event, AttemptStarted) and event.stage == "llm"
    ]
    assert len(asked) == 1  # the caller has not spoken again
    assert [event for event in behind if isinstance(event, AgentSaid)]
