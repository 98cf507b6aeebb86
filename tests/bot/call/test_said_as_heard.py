"""The record has the part of each fixed sentence of a call that the caller heard.

The caller hangs up while the sentence is being said.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.call.last_resort import APOLOGY
from bot.workers import process as process_module
from calls.events import AgentSaid, CallEnded, PersonWanted
from calls.resume import ResumeState
from runtime import clock
from tests.bot.call.test_call import BAD_TOOL
from tests.bot.call.test_slow_tool import TOOL
from tests.bot.call.transfer.transfer_bench import (
    CONNECTING,
    HOURS,
    PLAIN,
    People,
    Telephone,
    WorkerPool,
    asked,
    pool,
)

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

LONG = "I am back with you now, and I go on at once with what you wanted to know."
BRIDGE = "One moment please, I am just looking that up for you in our calendar."
GREETING = "Hello, this is the surgery, and I am glad to help you with your appointment."
CUT_S = 1.0  # of the sentence is heard


async def greets(there: WorkerPool) -> None:
    await there.until(lambda: there.caller.line.started_at_s and sounds(there))


async def bridges(there: WorkerPool) -> None:
    await there.greeted()
    await there.caller.says(HOURS)
    await there.until(lambda: BRIDGE in voiced(there))
    await there.until(lambda: sounds(there))


async def connects(there: WorkerPool) -> None:
    await asked(there)
    await there.until(lambda: there.events(PersonWanted))
    await there.until(lambda: sounds(there))


def sounds(there: WorkerPool) -> bool:
    return there.caller.line.busy_until_s > clock.monotonic()


def voiced(there: WorkerPool) -> str:
    """Return all that the preferred voice was asked to say."""
    return " ".join(str(said.details.get("text")) for said in there.lab.record.requests("cartesia"))


def pending(said: str) -> ResumeState:
    """Return the state of a call that was cut off when its caller had asked something."""
    now = clock.monotonic()
    asked_last = [{"role": "system", "content": "x"}, {"role": "user", "content": HOURS}]
    return ResumeState(
        call_id="c1", began_at=now - 9.0, kept_at=now - 1.0, messages=asked_last, said=said
    )


class Returned(Telephone):
    """The telephone of a call that another process began."""

    before_said = ""

    @property
    def before(self) -> ResumeState:
        return pending(self.before_said)


class ReturnedInAnswer(Returned):
    """The same; an answer was written whole, and nothing of it heard."""

    before_said = "We are open from nine to five."


SLOW = {**TOOL, "bridge": BRIDGE}


@pytest.mark.parametrize(
    ("agent", "telephone", "begins", "sentence"),
    [
        ({"greeting": GREETING}, Telephone, greets, GREETING),
        ({"resumed": LONG}, Returned, greets, LONG),
        ({"resumed": LONG}, ReturnedInAnswer, greets, LONG),
        ({"greeting": "Hello.", "tools": [SLOW]}, Telephone, bridges, BRIDGE),
        (PLAIN, Telephone, connects, CONNECTING),
    ],
    ids=["greeting", "resumed with a question", "resumed with an answer", "bridge", "transfer"],
)
async def test_a_sentence_is_recorded_as_far_as_it_was_heard(
    tmp_path: Path,
    agent: dict[str, Any],
    telephone: type[Telephone],
    begins: Callable[[WorkerPool], Awaitable[None]],
    sentence: str,
) -> None:
    hold = {"render": False, "first_s": 4.0, "last_s": 4.0}  # no filler comes before a bridge
    async with pool(
        tmp_path, agent=agent, people=People(after_s=20.0), caller=telephone(), hold=hold
    ) as there:
        await begins(there)
        await asyncio.sleep(CUT_S)
        (call,) = there.process.switchboard.calls.values()
        memory = call._pipeline.dialogue.memory  # pyright: ignore[reportAttributeAccessIssue]
        await there.caller.put_down()

        await there.until(lambda: there.events(CallEnded))
        said = " ".join(event.text for event in there.events(AgentSaid))
        mine = [item.get("content") for item in memory.messages if item["role"] == "assistant"]

    words = sentence.split()
    assert words[0] in said
    assert words[-1] not in f"{said} {mine}"


@pytest.mark.parametrize(("leaves", "recorded"), [(True, []), (False, [APOLOGY])])
async def test_an_apology_is_recorded_if_it_was_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, leaves: bool, recorded: list[str]
) -> None:
    monkeypatch.setattr(process_module, "check_tools", lambda settings: None)
    async with pool(tmp_path, agent=BAD_TOOL, people=None) as there:
        await greets(there)
        await asyncio.sleep(CUT_S)
        if leaves:
            await there.caller.put_down()
        await there.until(lambda: there.events(CallEnded))

        assert there.said_texts == recorded
