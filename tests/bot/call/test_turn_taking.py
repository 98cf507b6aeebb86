"""Turn-taking in whole calls, on the lines and with the callers for which it once failed."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calls.events import (
    AgentSaid,
    AnswerHeard,
    BargedIn,
    CallEnded,
    CallerSilent,
    DictationHeard,
    TurnDecided,
)
from lab.callers import RATE_HZ, Pcm, answers, caller_says, known
from lab.simulators.carrier.line import LineEcho
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.ears.known import KnownEars
from tests.bot.judged_call import GREETING, JudgedCall, listening

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

HAIRCUT = "How much is a haircut?"
HOURS = "What are your opening hours?"


@functools.cache  # a voice does not say the same words twice in the same way
def says(text: str) -> Pcm:
    return caller_says(text)


@asynccontextmanager
async def called(
    folder: Path, texts: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> AsyncIterator[JudgedCall]:
    """Yield a call whose recognisers know these texts; without any they recognise speech."""
    async with listening(folder, changes or {}, None) as beside:
        ears = KnownEars([known(text, says(text)) for text in texts])
        for instance in beside.lab.instances.values():
            if texts and isinstance(instance, DeepgramSimulator):
                instance._ears = ears
        yield beside


@asynccontextmanager
async def greeted(folder: Path, *texts: str, **changes: Any) -> AsyncIterator[JudgedCall]:
    async with called(folder, texts, changes) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        yield beside


def told(beside: JudgedCall, kind: type) -> list[Any]:
    return [event for event in beside.events if isinstance(event, kind)]


def said(beside: JudgedCall) -> str:
    return " ".join(event.text for event in told(beside, AgentSaid))


def model_requests(beside: JudgedCall) -> int:
    names = ("openai", "openai-b")
    return sum(
        request.method == "POST" for name in names for request in beside.lab.record.requests(name)
    )


def quiet(for_s: float) -> Pcm:
    return np.zeros(round(for_s * RATE_HZ), np.int16)


async def answering(beside: JudgedCall, for_s: float) -> None:
    """Wait until the agent has been heard for this long."""
    call = beside.call
    before = len(call.ear.bursts)
    async with asyncio.timeout(20):
        while len(call.ear.bursts) == before:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    await asyncio.sleep(for_s)


# -- dictation

DIGITS = ("My number is five.", "Five.", "One.", "Two.", "Three.", "Four.")


async def test_a_caller_who_dictates_slowly_is_not_interrupted(tmp_path: Path) -> None:
    async with greeted(tmp_path, *DIGITS) as beside:
        before = len(beside.call.ear.bursts)
        for digits in DIGITS:
            await beside.call.say(says(digits))
            await asyncio.sleep(1.2)
            assert len(beside.call.ear.bursts) == before, digits
        await beside.call.listen(within_s=10)

    (answer,) = told(beside, AnswerHeard)
    assert answer.v2v_s < 1.5  # from the end of the wait
    assert len(told(beside, TurnDecided)) == 1
    assert told(beside, DictationHeard)


async def test_any_pause_may_be_long_after_a_question_that_the_owner_configured(
    tmp_path: Path,
) -> None:
    dictation = {"questions": {"how can i help": 4.0}}
    async with greeted(tmp_path, HAIRCUT, agent={"dictation": dictation}) as beside:
        stopped_s = await beside.call.say(says(HAIRCUT))
        await answering(beside, 0.0)

    first_s = beside.call.ear.bursts[-1].start / RATE_HZ
    assert 4.0 < first_s - stopped_s < 5.6


# -- backchannels


async def test_an_answer_continues_after_a_backchannel(tmp_path: Path) -> None:
    (answer,) = answers([HAIRCUT], greeting=GREETING)
    async with greeted(tmp_path, HAIRCUT, "Okay.") as beside:
        await beside.call.say(says(HAIRCUT))
        await answering(beside, 1.2)
        await beside.call.say(says("Okay."))
        await beside.call.listen(quiet_s=3.0, within_s=20)

    assert len(told(beside, BargedIn)) == 1
    assert len(told(beside, TurnDecided)) == 1
    assert said(beside).removeprefix(GREETING).split() == answer.split()


async def test_a_goodbye_that_a_backchannel_cut_off_still_ends_the_call(tmp_path: Path) -> None:
    goodbye = "Thank you, goodbye."
    async with greeted(tmp_path, goodbye, "Okay.") as beside:
        await beside.call.say(says(goodbye))
        await answering(beside, 0.8)
        await beside.call.say(says("Okay."))
        await asyncio.sleep(12.0)
        (end,) = told(beside, CallEnded)

    assert len(told(beside, BargedIn)) == 1
    assert end.reason == "agent_hung_up"


async def test_okay_after_a_question_is_an_answer(tmp_path: Path) -> None:
    asks = {"greeting": "Hello. Shall I help you now?"}
    async with greeted(tmp_path, "Okay.", agent=asks) as beside:
        await beside.call.say(says("Okay."))
        await beside.call.listen(within_s=10)

    assert len(told(beside, TurnDecided)) == 1


# -- echo


async def test_the_agents_own_voice_is_not_a_caller(tmp_path: Path) -> None:
    (answer,) = answers([HAIRCUT], greeting=GREETING)
    async with called(tmp_path) as beside:
        beside.call.echo = LineEcho(delay_s=0.3, level_db=-12.0)
        async with beside.call as call:
            await call.listen(quiet_s=1.0, within_s=20)
            await call.say(says(HAIRCUT))
            await asyncio.sleep(18.0)

    assert told(beside, BargedIn) == []
    assert len(told(beside, TurnDecided)) == 1
    assert said(beside).startswith(f"{GREETING} {answer}")
    assert model_requests(beside) <= 2


# -- a television


TELEVISION = "And now we bring you the weather for the coming days in the north and the south. " * 4


async def test_a_voice_in_the_background_does_not_keep_the_turn_open(tmp_path: Path) -> None:
    behind = (says(TELEVISION) * 0.3).astype(np.int16)
    async with greeted(tmp_path, HAIRCUT) as beside:
        beside.call.begin(np.concatenate([says(HAIRCUT), behind]))
        await answering(beside, 8.0)

    (answer,) = answers([HAIRCUT], greeting=GREETING)
    assert len(told(beside, TurnDecided)) == 1
    assert said(beside).endswith(answer)


async def test_an_answer_interrupted_by_a_television_continues_over_it(tmp_path: Path) -> None:
    behind = (says(TELEVISION) * 0.3).astype(np.int16)
    (answer,) = answers([HAIRCUT], greeting=GREETING)
    async with greeted(tmp_path, HAIRCUT) as beside:
        await beside.call.say(says(HAIRCUT))
        await answering(beside, 1.5)
        beside.call.begin(behind)
        await asyncio.sleep(16.0)

    assert len(told(beside, TurnDecided)) == 1
    assert answer in said(beside)


async def test_a_line_with_a_television_and_no_words_is_prompted(tmp_path: Path) -> None:
    behind = (says(TELEVISION) * 0.3).astype(np.int16)
    async with greeted(tmp_path, HAIRCUT) as beside:
        beside.call.begin(behind)
        await asyncio.sleep(12.0)

    assert told(beside, CallerSilent)
