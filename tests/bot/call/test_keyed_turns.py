"""Pressed keys are a turn of the caller, in a whole call."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.call.call import Call
from calls.events import AnswerHeard, BargedIn, ToolCalled, TranscriptFinal, TurnDecided
from fallbacks.events import HeldTheLine
from lab.callers import caller_says
from tests.bot.judged_call import JudgedCall, listening

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

ASKS_SIX = {
    "name": "check_code",
    "description": "Checks the caller's code.",
    "url": "https://shop.example.com/codes",
    "parameters": {
        "type": "object",
        "properties": {"code": {"type": "string", "digits": 6}},
        "required": ["code"],
    },
}


def asks(digits: int) -> dict[str, Any]:
    """Return a tool that asks for this many digits."""
    code = {"type": "string", "digits": digits}
    return ASKS_SIX | {"parameters": {"type": "object", "properties": {"code": code}}}


ASKED = "Hello, please key in your code."
THIRTY_SIX = "1234567890" * 3 + "*12345"


async def keyed(
    folder: Path,
    keys: str,
    *,
    tools: list[dict[str, Any]] | None = None,
    into_greeting: bool = False,
    greeting: str = "Hello, this is Holdline.",
) -> JudgedCall:
    """Press keys in one go and hear the answer."""
    agent = {"agent": {"greeting": greeting, "tools": tools or []}}
    async with listening(folder, agent, None) as beside, beside.call as call:
        if into_greeting:
            await asyncio.sleep(1.0)
        else:
            await call.listen(quiet_s=1.0, within_s=20)
        for key in keys:
            await call.press(key)
        await asyncio.sleep(8.0)
    return beside


def asked(beside: JudgedCall) -> list[str]:
    """Return the caller's last words in each request to the model."""
    return [request.details["asked"] for request in beside.lab.record.requests("openai")]


def written(folder: Path) -> str:
    """Return all that was written to files and the database."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode("utf-8", "replace") for path in files)


@pytest.mark.parametrize(
    ("keys", "entry"),
    [(THIRTY_SIX, THIRTY_SIX), ("#", "#")],
    ids=["36 in a burst", "# alone"],
)
async def test_pressed_keys_reach_the_model_and_are_answered_in_time(
    tmp_path: Path, keys: str, entry: str
) -> None:
    beside = await keyed(tmp_path, keys)

    assert set(asked(beside)) == {f"Keys pressed: {entry}"}
    assert [event.turn for event in beside.events if isinstance(event, TurnDecided)] == [1]
    (answer,) = [event for event in beside.events if isinstance(event, AnswerHeard)]
    assert answer.v2v_s <= 1.5
    tools = [event for event in beside.events if isinstance(event, ToolCalled)]
    assert tools or not [event for event in beside.events if isinstance(event, HeldTheLine)]


@pytest.mark.parametrize(
    ("keys", "greeting", "tools", "recorded"),
    [
        ("471529#", ASKED, [ASKS_SIX], "471529"),
        ("471529", ASKED, [ASKS_SIX | {"sensitive": "end"}], "******"),
        ("471529", "Hello, this is Holdline.", [ASKS_SIX], "******"),
        ("4242424242424242", ASKED, [asks(16)], "************4242"),
    ],
    ids=["a tool asked", "a sensitive tool asked", "no tool asked", "a tool asked for a card"],
)
async def test_the_record_has_keys_only_where_a_tool_asked_for_them(  # tests/calls/test_keyed_entry
    tmp_path: Path, keys: str, greeting: str, tools: list[dict[str, Any]], recorded: str
) -> None:
    beside = await keyed(tmp_path, keys, tools=tools, greeting=greeting)

    (heard,) = [event for event in beside.events if isinstance(event, TranscriptFinal)]
    assert (heard.text, heard.turn) == (f"Keys pressed: {recorded}", 1)
    entry = keys.removesuffix("#")
    assert (entry in written(tmp_path)) is (recorded == entry)


async def test_a_key_interrupts_the_agent_as_a_word_does(tmp_path: Path) -> None:
    beside = await keyed(tmp_path, "5#", into_greeting=True)

    assert [event for event in beside.events if isinstance(event, BargedIn)]
    assert asked(beside) == ["Keys pressed: 5"]


@pytest.mark.parametrize("key_after_words_s", [-1.0, 0.3], ids=["before", "after"])
async def test_keys_next_to_spoken_words_are_answered_with_them(
    tmp_path: Path, key_after_words_s: float
) -> None:
    agent = {"agent": {"greeting": "Hello, this is Holdline."}}
    async with listening(tmp_path, agent, None) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        if key_after_words_s < 0:
            await call.press("5")
            await asyncio.sleep(-key_after_words_s)
        await call.say(caller_says("Where are you?"))
        if key_after_words_s > 0:
            await asyncio.sleep(key_after_words_s)
            await call.press("5")
        await asyncio.sleep(10.0)
        (going_on,) = beside.switchboard.calls.values()
        assert isinstance(going_on, Call)
        conversation = going_on.resume_state().messages

    roles = [message["role"] for message in conversation if isinstance(message, dict)]
    said = str(conversation)
    assert "Keys pressed: 5" in said
    assert "Where are you?" in said
    last = max(at for at, role in enumerate(roles) if role == "user")
    assert roles[last + 1 :] == ["assistant"]
