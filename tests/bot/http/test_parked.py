"""Conversations that are kept for callers whose line was lost."""

from typing import Any

from bot.house.house import Alone
from bot.http.parked import Parked


async def test_a_tool_that_was_at_work_when_the_line_was_lost_is_not_at_work_for_ever() -> None:
    parked = Parked(Alone(why_closed=str, clock=lambda: 0.0))
    call = {"id": "a", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    lost: list[Any] = [
        {"role": "user", "content": "Is there room on Monday?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "IN_PROGRESS"},
    ]
    await parked.park("t", lost)

    *kept, tool = await parked.take("t")

    assert kept == lost[:2]
    assert tool == {"role": "tool", "tool_call_id": "a", "content": "CANCELLED"}
