"""The caller's words on their way into the conversation."""

import asyncio

import pytest
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from calls.events import Event, InputRefused
from processors.hearing.caller_words import CallerWords

pytestmark = pytest.mark.virtual_time


def said(text: str) -> TranscriptionFrame:
    return TranscriptionFrame(text=text, user_id="", timestamp="")


async def passed(*frames: Frame, limit: int = 20) -> tuple[list[str], list[Event]]:
    told: list[Event] = []
    async with asyncio.timeout(5.0):
        down, _ = await run_test(
            CallerWords(emit=told.append, limit=limit),
            frames_to_send=[part for frame in frames for part in (frame, SleepFrame(0.01))],
        )
    texts = [
        word.text
        for word in down
        if isinstance(word, TranscriptionFrame | InterimTranscriptionFrame)
    ]
    return texts, told


async def test_control_characters_do_not_reach_the_conversation() -> None:
    assert await passed(said("hel\x00lo\n\x1bthere")) == (["hel lo there"], [])


async def test_a_turns_transcripts_share_one_limit_and_the_excess_is_reported_once() -> None:
    texts, told = await passed(said("x" * 15), said("y" * 15), said("z" * 15))

    assert texts == ["x" * 15, "y" * 5, ""]
    assert told == [InputRefused(transport="stt", reason="transcript_too_long")]


async def test_the_next_turn_has_the_whole_limit_again() -> None:
    texts, _ = await passed(said("x" * 30), UserStoppedSpeakingFrame(), said("y" * 20))

    assert texts == ["x" * 20, "y" * 20]


async def test_interim_transcripts_are_bounded_too() -> None:
    interim = InterimTranscriptionFrame(text="a\x07" * 50, user_id="", timestamp="")

    texts, _ = await passed(interim)

    assert texts == [("a " * 10).strip()]
