"""Which pushes of a frame reach the observers of a call, and what an interrupted agent said."""

import asyncio
from functools import partial
from typing import Any, Final

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextAssistantTurnFrame,
    LLMMessagesTransformFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.asyncio.task_manager import TaskManager

from calls.events import AgentSaid
from calls.line import CallerLine
from calls.timeline import Timeline
from calls.turn import Turn
from processors.call_observer import CallObserver, DirectObserver
from processors.speaking.speech_queue import CORRECTIONS
from processors.speaking.told_words import as_heard
from processors.turn.floor import Floor

PROCESSORS: Final = 3  # that push each frame on


class Counting(BaseObserver):
    def __init__(self, *, every: bool) -> None:
        super().__init__(observe_every_push=every)
        self.pushes = 0

    async def on_push_frame(self, data: FramePushed) -> None:
        self.pushes += 1


@pytest.mark.parametrize(
    ("frame", "every", "once"),
    [
        (InputAudioRawFrame(b"", 8000, 1), 0, 0),
        (TTSAudioRawFrame(b"", 8000, 1), 1, 1),
        (TTSTextFrame("hello", text_type="word"), PROCESSORS, 1),
        (TTSStoppedFrame(), PROCESSORS, 1),
        (InterruptionFrame(), PROCESSORS, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Frame) else str(value),
)
async def test_observers_get_each_push_only_of_frames_that_they_read_again(
    frame: Frame, every: int, once: int
) -> None:
    tasks, each, first = TaskManager(), Counting(every=True), Counting(every=False)
    observer = DirectObserver(observers=[each, first])
    await observer.setup(tasks)
    one, other = IdentityFilter(), IdentityFilter()

    for _ in range(PROCESSORS):
        pushed = FramePushed(
            source=one,
            destination=other,
            frame=frame,
            direction=FrameDirection.DOWNSTREAM,
            timestamp=0,
        )
        await observer.on_push_frame(pushed)
    for _ in range(10):  # each observer has a task that takes one push at a time
        await asyncio.sleep(0)
    await observer.cleanup()

    assert (each.pushes, first.pushes) == (every, once)


# -- what an interrupted agent said

WORDS = tuple((word, False) for word in ["We", "open", "at", "nine."])
SAID = LLMContextAssistantTurnFrame(text="We open at", timestamp="")


def interruption(corrections: int) -> Frame:
    frame = InterruptionFrame()
    frame.metadata[CORRECTIONS] = corrections
    return frame


def correction(heard: int | None) -> Frame:
    frame = LLMMessagesTransformFrame(partial(as_heard, WORDS, heard))
    frame.metadata[CORRECTIONS] = 1
    return frame


OTHER = LLMMessagesTransformFrame(lambda _: [])  # as of a tool; it corrects nothing
SPEAKS = BotStartedSpeakingFrame()


@pytest.mark.parametrize(
    ("frames", "texts"),
    [
        ([SAID], ["We open at"]),
        ([interruption(0), SAID], ["We open at"]),
        ([interruption(1), SAID, correction(2)], ["We open"]),
        ([interruption(1), SAID, correction(4)], ["We open at nine."]),
        ([interruption(1), SAID, correction(None)], ["We open at"]),
        ([interruption(1), SAID, correction(0)], []),
        ([interruption(1), SAID, OTHER, correction(1)], ["We"]),
        ([interruption(2), SAID, correction(None), correction(1)], ["We"]),
        ([interruption(1), SAID], ["We open at"]),  # the call ends meanwhile
        ([interruption(1), SAID, SPEAKS, correction(1)], ["We open at"]),
        ([interruption(1), SAID, correction(1), SPEAKS, SAID], ["We", "We open at"]),
        ([interruption(1), correction(1), SAID], ["We open at"]),
    ],
    ids=[
        "not interrupted",
        "nothing to correct",
        "fewer words",
        "more words",
        "the estimate holds",
        "nothing heard",
        "another change of the conversation",
        "two pieces",
        "the call ends",
        "the agent speaks again",
        "the next turn",
        "the correction comes first",
    ],
)
async def test_the_record_has_the_words_that_the_model_is_told(
    frames: list[Frame], texts: list[str]
) -> None:
    told: list[Any] = []
    turn = Turn(budget_s=1.5)
    observer = CallObserver(
        timeline=Timeline(budget_s=1.5),
        provider_of=lambda name: name,
        floor=Floor(CallerLine()),
        turn=turn,
        emit=told.append,
        clock=lambda: 0.0,
    )
    one, other = IdentityFilter(), IdentityFilter()
    for frame in frames:
        down = FrameDirection.DOWNSTREAM
        pushed = FramePushed(
            source=one, destination=other, frame=frame, direction=down, timestamp=0, first_push=True
        )
        await observer.on_push_frame(pushed)
    observer.ended()

    assert [event.text for event in told if isinstance(event, AgentSaid)] == texts
