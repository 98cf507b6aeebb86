"""A caller whose media socket dies hears the rest and continues the same conversation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from calls.events import CallEnded, CallStarted
from calls.leg_events import LineRestored
from lab.callers import RATE_HZ, caller_says
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.simulators.carrier.line import AUDIBLE
from tests.bot.judged_call import GREETING, JudgedCall, listening
from tests.kit.waiting import until

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.usefixtures("quiet_log")]

BACK_S = 2.0  # the caller hears the agent again within


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[JudgedCall]:
    """Keep a call in progress while the block runs; it must stay one call."""
    async with listening(folder, {}, None) as beside:
        async with beside.call:
            yield beside
        await until(lambda: any(isinstance(event, CallEnded) for event in beside.events))
    assert not beside.blamed
    assert not beside.call.complaints
    assert len([event for event in beside.events if isinstance(event, CallStarted)]) == 1


async def spoken_for(beside: JudgedCall, length_s: float) -> None:
    """Wait until the agent has been heard for this long."""
    count = len(beside.call.ear.bursts)
    await until(lambda: len(beside.call.ear.bursts) > count)
    begun_s = beside.call.heard_at[count]
    await until(lambda: beside.call.now_s > begun_s + length_s)


async def cut(beside: JudgedCall, *, into_s: float) -> None:
    """Lose the line in the middle of what the agent says next."""
    await spoken_for(beside, into_s)
    await beside.call.break_off()


def expect_back(beside: JudgedCall) -> None:
    """The agent was heard again in time, each time."""
    restored = [event.after_s for event in beside.events if isinstance(event, LineRestored)]
    assert restored
    assert all(after_s < BACK_S for after_s in restored)
    loud = np.flatnonzero(np.abs(beside.call.heard().astype(np.int32)) > AUDIBLE) / RATE_HZ
    for lost_s in beside.call.lost_at[: len(restored)]:
        assert loud[loud > lost_s][0] - lost_s < BACK_S


def said(beside: JudgedCall, text: str) -> ReplyVerdict:
    """Judge the sound of the whole call so far."""
    sent = beside._sent_since(0.0)
    return judge(beside.call.heard(), sent, said=ExpectedWords(text=text), stop_s=0.0)


async def test_the_greeting_is_heard_whole(tmp_path: Path) -> None:
    async with calling(tmp_path) as beside, asyncio.TaskGroup() as tasks:
        tasks.create_task(cut(beside, into_s=0.6))
        await beside.call.listen(quiet_s=1.2, within_s=20)

        greeting = said(beside, GREETING)
        assert greeting.whole, (greeting.missing, greeting.extra)
        assert (await beside.ask()).whole
        expect_back(beside)


async def test_answers_are_heard_whole_and_the_conversation_continues(tmp_path: Path) -> None:
    async with calling(tmp_path) as beside:
        await beside.call.listen(quiet_s=1.0, within_s=20)
        for into_s in (0.5, 1.1):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(cut(beside, into_s=into_s))
                answer = await beside.ask()
            assert answer.whole, (answer.missing, answer.extra)
        assert (await beside.ask()).whole

        assert len(beside.call.lost_at) == 2
        expect_back(beside)


async def test_a_question_that_was_cut_is_asked_again_and_answered(tmp_path: Path) -> None:
    async with calling(tmp_path) as beside:
        await beside.call.listen(quiet_s=1.0, within_s=20)
        beside.call.begin(caller_says("What are your opening hours?"))
        await asyncio.sleep(0.5)
        await beside.call.break_off()
        await until(lambda: any(isinstance(event, LineRestored) for event in beside.events))
        await beside.call.listen(quiet_s=1.2, within_s=25)
        beside.asked.append("What are your opening hours?")
        await beside.ask()

        assert beside.verdicts[-1].whole, beside.verdicts[-1]


async def test_the_goodbye_is_heard_whole_and_then_the_call_is_over(tmp_path: Path) -> None:
    async with calling(tmp_path) as beside, asyncio.TaskGroup() as tasks:
        await beside.call.listen(quiet_s=1.0, within_s=20)
        tasks.create_task(cut(beside, into_s=0.3))
        await beside.call.say(caller_says("Goodbye."))
        await asyncio.wait_for(beside.call.ended.wait(), 20)

        assert beside.call.ended_by == "agent"
        assert len(beside.call.lost_at) == 2  # the second time we closed it
        expect_back(beside)
