"""The end of a call, after its last words."""

import asyncio
import time
from typing import Any

import pytest
from pipecat.frames.frames import (
    EndWorkerFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test

from calls.line import CallerLine
from processors.holding.farewell import Farewell, PartFrame
from processors.speaking.speech_queue import TakeBackFrame
from processors.turn.floor import Floor

pytestmark = pytest.mark.virtual_time


class Voice(FrameProcessor):
    """Speaks for `speech_s`, and passes on later frames when that was played."""

    def __init__(self, *, speech_s: float) -> None:
        super().__init__()
        self.speech_s = speech_s
        self.spoken: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame | TTSSpeakFrame):
            await asyncio.sleep(self.speech_s)
            self.spoken.append(frame.text)
        await self.push_frame(frame, direction)


def answer(*words: str) -> list[Frame]:
    texts = [LLMTextFrame(word) for word in words]
    return [
        LLMFullResponseStartFrame(),
        *texts,
        PartFrame(words="Goodbye."),
        LLMFullResponseEndFrame(),
    ]


class EndedCall(Farewell):
    """The end of a call with a floor of its own."""

    def __init__(self, line: CallerLine | None = None, **more: Any) -> None:
        self.floor = Floor(line or CallerLine())
        super().__init__(self.floor, clock=time.monotonic, **more)


async def played(
    frames: list[Frame],
    *,
    speech_s: float = 0.0,
    farewell: Farewell | None = None,
    ends: tuple[str, str, bool] | None = None,
    limit_s: float = 5.0,
) -> tuple[list[Frame], Voice]:
    """Return the output, and the voice; `ends` are the arguments of `end_call`, after 0.03 s."""
    farewell, voice = farewell or EndedCall(), Voice(speech_s=speech_s)

    async def end_call() -> None:
        if ends:
            await asyncio.sleep(0.03)
            await farewell.end_call(ends[0], words=ends[1], final=ends[2])

    async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
        tasks.create_task(end_call())
        down, _ = await run_test(
            Pipeline([farewell, voice]), frames_to_send=frames, send_end_frame=True
        )
    return list(down), voice


def reasons(down: list[Frame]) -> list[str | None]:
    return [frame.reason for frame in down if isinstance(frame, EndWorkerFrame)]


async def test_the_end_follows_the_models_own_goodbye() -> None:
    down, voice = await played(answer("Bye", " bye."))

    assert voice.spoken == ["Bye", " bye."]
    assert isinstance(down[-1], EndWorkerFrame)
    assert reasons(down) == ["agent_hung_up"]


async def test_a_goodbye_is_spoken_after_thoughts_that_were_taken_back() -> None:
    thoughts = "I shall end this."
    start, *rest = answer(thoughts)

    _, voice = await played([start, rest[0], TakeBackFrame(characters=len(thoughts)), *rest[1:]])

    assert voice.spoken == [thoughts, "Goodbye."]  # this voice takes nothing back


async def test_a_goodbye_is_spoken_for_a_silent_model() -> None:
    down, voice = await played(answer())

    assert voice.spoken == ["Goodbye."]
    assert isinstance(down[-1], EndWorkerFrame)


async def test_a_call_without_an_end_continues() -> None:
    down, _ = await played(
        [LLMFullResponseStartFrame(), LLMTextFrame("Hi"), LLMFullResponseEndFrame()]
    )

    assert reasons(down) == []


async def test_a_caller_who_speaks_into_the_goodbye_keeps_the_call() -> None:
    farewell = EndedCall()
    frames = [*answer("Goodbye."), SleepFrame(0.03), InterruptionFrame(), SleepFrame(0.15)]

    down, voice = await played(frames, speech_s=0.1, farewell=farewell)

    assert voice.spoken == []
    assert reasons(down) == []
    assert farewell.floor.ending is None


async def test_after_a_revoked_goodbye_the_next_one_ends_the_call() -> None:
    frames = [
        *answer("Bye."),
        SleepFrame(0.03),
        InterruptionFrame(),
        SleepFrame(0.03),
        *answer("Bye!"),
    ]

    down, voice = await played([*frames, SleepFrame(0.15)], speech_s=0.1)

    assert voice.spoken == ["Bye!"]
    assert reasons(down) == ["agent_hung_up"]


async def test_a_call_that_must_end_ends_although_the_caller_speaks_and_nothing_is_answered() -> (
    None
):
    ends = ("max_length", "Time is over.", True)
    frames = [SleepFrame(0.06), InterruptionFrame(), *answer("For what time?"), SleepFrame(0.3)]

    down, voice = await played(frames, speech_s=0.1, ends=ends)

    assert voice.spoken == ["Time is over."]
    assert reasons(down) == ["max_length"]


@pytest.mark.parametrize("final", [True, False])
async def test_the_call_parts_only_with_a_final_goodbye(*, final: bool) -> None:
    farewell = EndedCall()

    await played([SleepFrame(0.1)], farewell=farewell, ends=("shutdown", "We are closing.", final))

    assert farewell.floor.parting is final


async def test_a_revocable_goodbye_is_replaced_when_the_call_must_end() -> None:
    frames = [*answer("Bye."), SleepFrame(0.06), InterruptionFrame(), SleepFrame(0.15)]

    down, voice = await played(frames, speech_s=0.1, ends=("shutdown", "We are closing.", True))

    assert voice.spoken == ["We are closing."]
    assert reasons(down) == ["shutdown"]


@pytest.mark.parametrize(
    ("frames", "queued_s"),
    [
        ([*answer("Bye.")[:-1], SleepFrame(0.1)], 0.0),
        ([*answer("Bye."), SleepFrame(1.0)], 1_000.0),
    ],
    ids=["the answer never ends", "the voice never stops"],
)
async def test_a_goodbye_that_never_arrives_ends_the_call_anyway(
    frames: list[Frame], queued_s: float
) -> None:
    ended: list[str] = []

    async def end(reason: str) -> None:
        ended.append(reason)

    line = CallerLine()
    line.add(queued_s, time.monotonic())
    farewell = EndedCall(line, end=end, patience_s=0.05)
    await played(frames, speech_s=5.0 if queued_s else 0.0, farewell=farewell, limit_s=20.0)

    assert ended == ["agent_hung_up"]


async def test_a_long_goodbye_is_heard_to_its_end() -> None:
    ended: list[str] = []

    async def end(reason: str) -> None:
        ended.append(reason)

    line = CallerLine()
    line.add(50.0, time.monotonic())
    frames = [
        *answer("Your table is booked, and this is how you find us.", "Goodbye."),
        SleepFrame(55.0),
    ]
    farewell = EndedCall(line, end=end)
    down, _ = await played(frames, speech_s=25.0, farewell=farewell, limit_s=90.0)

    assert reasons(down) == ["agent_hung_up"]
    assert ended == []


async def test_two_requests_to_end_the_call_end_it_once() -> None:
    down, _ = await played([PartFrame(), PartFrame(reason="late")])

    assert reasons(down) == ["agent_hung_up"]
