"""Frames that are queued at a processor during an interruption."""

import asyncio
from collections.abc import Sequence

import pytest
from pipecat.frames.frames import (
    BotSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    TextFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.utils.text.base_text_aggregator import TextType

from processors.turn.sound_path import InputQueue, order_interruptions
from tests.kit.bench import Bench, running

pytestmark = pytest.mark.virtual_time

DOWN, UP = FrameDirection.DOWNSTREAM, FrameDirection.UPSTREAM


class Passing(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


def word(text: str, *, interruptible: bool = True) -> TTSTextFrame:
    frame = TTSTextFrame(text, TextType.WORD)
    frame.interruptible = interruptible
    return frame


async def came_through(*frames: tuple[Frame, FrameDirection], ordered: bool = True) -> list[str]:
    """Return the output of a processor that got all of these before it ran."""
    passing = Passing()
    if ordered:
        order_interruptions([passing])
    async with running(passing) as bench:
        await put(bench, TextFrame("ready"))
        for frame, direction in frames:
            await passing.queue_frame(frame, direction)
        await put(bench, TextFrame("last"))
        return names(bench.out)


async def put(bench: Bench, frame: Frame) -> None:
    await bench.put(frame)
    async with asyncio.timeout(10.0):
        while frame not in bench.out:
            await bench._below.passed.wait()
            bench._below.passed.clear()


def names(out: Sequence[Frame]) -> list[str]:
    first = next(at for at, frame in enumerate(out) if getattr(frame, "text", "") == "ready")
    kinds = TextFrame | InterruptionFrame | BotSpeakingFrame
    return [
        getattr(frame, "text", type(frame).__name__)
        for frame in out[first + 1 :]
        if isinstance(frame, kinds)
    ]


@pytest.mark.parametrize(
    ("ordered", "came"),
    [(False, ["InterruptionFrame", "old", "last"]), (True, ["InterruptionFrame", "last"])],
    ids=["pipecat", "ours"],
)
async def test_a_queued_word_is_not_said_after_the_caller_speaks(
    *, ordered: bool, came: list[str]
) -> None:
    """The case `pipecat` is the reason for our queue: if it fails, Pipecat has fixed its own."""
    overtaken = (word("old"), DOWN), (InterruptionFrame(), DOWN)

    assert await came_through(*overtaken, ordered=ordered) == came


async def test_a_word_after_an_interruption_is_said() -> None:
    came = await came_through((InterruptionFrame(), DOWN), (word("new"), DOWN))

    assert came == ["InterruptionFrame", "new", "last"]


async def test_protected_words_are_said_anyway() -> None:
    must = word("must", interruptible=False)
    came = await came_through((must, DOWN), (InterruptionFrame(), DOWN))

    assert came == ["InterruptionFrame", "must", "last"]


async def test_upward_frames_and_system_frames_stay() -> None:
    heard = TranscriptionFrame("heard", "caller", "now")
    came = await came_through((heard, UP), (BotSpeakingFrame(), DOWN), (InterruptionFrame(), DOWN))

    assert sorted(came) == ["BotSpeakingFrame", "InterruptionFrame", "heard", "last"]


async def test_an_upward_interruption_drops_nothing_here() -> None:
    came = await came_through((word("old"), DOWN), (InterruptionFrame(), UP))

    assert came == ["InterruptionFrame", "old", "last"]


async def test_other_frames_keep_their_order_and_none_is_lost() -> None:
    queue = InputQueue()
    first, second, end = word("1", interruptible=False), word("2", interruptible=False), EndFrame()
    for frame in (word("old"), first, word("old"), second, word("old"), end):
        await queue.put((frame, DOWN, None))
    interruption = InterruptionFrame()
    await queue.put((interruption, DOWN, None))

    assert [(await queue.get())[0] for _ in range(4)] == [interruption, first, second, end]
    for _ in range(4):
        queue.task_done()
    async with asyncio.timeout(1.0):
        await queue.join()


async def test_kept_frames_keep_their_order_after_some_have_passed() -> None:
    """Eight frames are the fewest that show it: a heap with entries removed may be out of order."""
    queue = InputQueue()
    frames = [word(str(at), interruptible=at == 2) for at in range(8)]
    for frame in frames:
        await queue.put((frame, DOWN, None))
    assert [(await queue.get())[0] for _ in range(2)] == frames[:2]

    await queue.put((InterruptionFrame(), DOWN, None))
    await queue.get()

    assert [(await queue.get())[0] for _ in range(5)] == frames[3:]
