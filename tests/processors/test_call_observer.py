"""Which pushes of a frame reach the observers of a call."""

import asyncio
from typing import Final

import pytest
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.asyncio.task_manager import TaskManager

from processors.call_observer import DirectObserver

PROCESSORS: Final = 3  # that push each frame on


class Counting(BaseObserver):
    """Counts the pushes that it gets."""

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
