"""The queue of the TTS stage: which words of a reply it has."""

import pytest
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StopFrame,
    TTSSpeakFrame,
)

from calls.line import CallerLine
from processors.speaking.speech_queue import SpeechQueue
from processors.turn.floor import Floor, ReplyState

BEGINS, WORDS = LLMFullResponseStartFrame(), LLMTextFrame("We open at nine.")


def new_queue() -> tuple[SpeechQueue, Floor]:
    floor = Floor(CallerLine())
    return SpeechQueue(language="en", floor=floor), floor


@pytest.mark.parametrize(
    ("frames", "queuing"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([BEGINS], True, id="a beginning"),
        pytest.param([BEGINS, WORDS], True, id="words without an end"),
        pytest.param([BEGINS, WORDS, TTSSpeakFrame("Okay.")], True, id="other speech meanwhile"),
        pytest.param([TTSSpeakFrame("Hello.")], False, id="other speech alone"),
        pytest.param([BEGINS, WORDS, LLMFullResponseEndFrame()], False, id="a whole reply"),
        pytest.param([BEGINS, WORDS, EndFrame()], False, id="the end of the call"),
        pytest.param([BEGINS, WORDS, StopFrame()], False, id="the end of the pipeline"),
        pytest.param(
            [BEGINS, WORDS, LLMFullResponseEndFrame(), LLMFullResponseStartFrame()],
            True,
            id="the beginning of the next one",
        ),
    ],
)
async def test_the_floor_shows_whether_words_of_a_reply_are_still_to_come(
    frames: list[Frame],
    queuing: bool,  # noqa: FBT001 - a table
) -> None:
    queue, floor = new_queue()
    for frame in frames:
        await queue.add(frame)

    assert (ReplyState.QUEUING in floor.reply) is queuing


@pytest.mark.parametrize("ends", [False, True])
async def test_an_interrupted_reply_counts_as_written_once_its_end_was_in_the_queue(
    ends: bool,  # noqa: FBT001 - a table
) -> None:
    queue, floor = new_queue()
    for frame in [BEGINS, WORDS, *([LLMFullResponseEndFrame()] if ends else [])]:
        await queue.add(frame)
    floor.reply_dropped()  # the interruption passes the model first
    await queue.interrupt()

    assert queue.speech.cut is not None
    assert queue.speech.cut.written is ends
    assert ReplyState.QUEUING not in floor.reply


async def test_a_withdrawn_reply_goes_on() -> None:
    queue, floor = new_queue()
    await queue.add(BEGINS)
    await queue.add(WORDS)
    await queue.interrupt()
    queue.begin_again()

    assert ReplyState.QUEUING in floor.reply
    assert queue.reply == ""
