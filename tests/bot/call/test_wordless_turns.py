"""Sound without words gets no answer and cancels none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from calls.events import AgentSaid, BargedIn, CallerSilent, TurnDecided
from fallbacks.events import HeldTheLine
from lab.callers import answers, caller_says
from lab.simulators.faults import SlowStart
from lab.simulators.schedule import Window
from tests.bot.judged_call import GREETING, JudgedCall, listening

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

SOUND = "Ah."  # the VAD takes it for speech, and the recogniser writes nothing
QUESTION = "Where are you?"


@asynccontextmanager
async def greeted(folder: Path) -> AsyncIterator[JudgedCall]:
    async with listening(folder, {}, None) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        yield beside


def said(beside: JudgedCall) -> list[str]:
    return [event.text for event in beside.events if isinstance(event, AgentSaid)]


async def test_a_wordless_sound_gets_no_answer_while_none_is_pending(tmp_path: Path) -> None:
    async with greeted(tmp_path) as beside:
        await beside.call.say(caller_says(SOUND))
        await asyncio.sleep(20)

    kinds = [type(event) for event in beside.events]
    assert HeldTheLine not in kinds
    assert TurnDecided not in kinds
    assert CallerSilent in kinds


async def test_wordless_sounds_after_a_question_do_not_cancel_the_answer(tmp_path: Path) -> None:
    async with greeted(tmp_path) as beside:
        models = [beside.lab.instances[name] for name in ("openai", "openai-b")]
        for model in models:
            model.set_faults([Window(fault=SlowStart(delay_s=4.0))])
        await beside.call.say(caller_says(QUESTION))
        await asyncio.sleep(0.5)
        for _ in range(2):
            await beside.call.say(caller_says(SOUND))
            await asyncio.sleep(1.5)
        for model in models:
            model.clear()
        await asyncio.sleep(20)

    (answer,) = answers([QUESTION], greeting=GREETING)
    assert [item for item in said(beside) if item == answer] == [answer]


async def test_an_answer_continues_after_each_sound_that_interrupts_it(tmp_path: Path) -> None:
    async with greeted(tmp_path) as beside:
        await beside.call.say(caller_says(QUESTION))
        for _ in range(2):  # the second interrupts the rest
            await asyncio.sleep(2.5)
            await beside.call.say(caller_says(SOUND))
            await asyncio.sleep(2.5)
        await asyncio.sleep(20)

    (answer,) = answers([QUESTION], greeting=GREETING)
    kinds = [type(event) for event in beside.events]
    assert kinds.count(BargedIn) == 2
    assert kinds.count(TurnDecided) == 1
    assert answer in " ".join(said(beside))
    assert HeldTheLine not in kinds[kinds.index(BargedIn) :]
    assert CallerSilent in kinds


async def test_a_pause_without_words_does_not_count_as_an_answer(tmp_path: Path) -> None:
    async with greeted(tmp_path) as beside:
        await beside.call.say(caller_says(SOUND))
        await asyncio.sleep(4.0)
        verdict = await beside.ask()

    assert verdict.whole
    assert [event.turn for event in beside.events if isinstance(event, TurnDecided)] == [1]
