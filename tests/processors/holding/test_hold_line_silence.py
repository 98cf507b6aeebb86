"""The prompts to a silent caller, fed by frames."""

import asyncio
import itertools
import time

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    InputDTMFFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.tests.utils import SleepFrame, run_test

from calls.events import CallerSilent, Event
from calls.line import CallerLine
from calls.turn import Turn
from processors.hearing.keypad import Keypad
from processors.holding.farewell import Farewell
from processors.holding.hold_line import AnsweredFrame
from processors.holding.silence_rules import CallLength, Silence
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness
from tests.processors.holding.hold_bench import ANSWER, RATE_HZ, Voices, prompting_line, sound

pytestmark = pytest.mark.virtual_time

AFTER_S = 0.1
WORK_S = 0.3


async def asked(*frames: Frame, answered: bool = True) -> tuple[list[str], list[Event]]:
    """Return the prompts to the silent caller while these frames pass."""
    told: list[Event] = []
    line = CallerLine()
    floor = Floor(line)
    farewell = Farewell(floor, clock=time.monotonic)
    silence = Silence(
        floor,
        prompt_after_s=AFTER_S,
        prompts=["Hello?"] * 9,
        goodbye="Bye.",
        work_limit_s=WORK_S,
    )
    length = CallLength(max_call_s=60.0, words="Bye.")
    hold = prompting_line(silence, length, farewell=farewell, line=line, floor=floor, told=told)
    if answered:
        frames = (AnsweredFrame(), *frames)
    async with asyncio.timeout(5.0):
        opener = TurnOpener(
            floor, turn=Turn(budget_s=1.5), faintness=Faintness(), clock=time.monotonic
        )
        turn = Turn(budget_s=1.5)
        keypad = Keypad(
            own_keys="", is_taken=lambda: True, floor=floor, turn=turn, clock=time.monotonic
        )
        pipeline = Pipeline([keypad, opener, farewell, Voices(line), hold])
        down, _ = await run_test(pipeline, frames_to_send=frames)
    return [word.text for word in down if isinstance(word, TTSSpeakFrame)], told


def speech(length_s: float) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(sound(ANSWER, length_s), RATE_HZ, 1)


async def test_a_silent_caller_is_prompted() -> None:
    said, told = await asked(
        speech(0.01), SleepFrame(0.01), BotStoppedSpeakingFrame(), SleepFrame(AFTER_S * 1.5)
    )

    assert said == ["Hello?"]
    assert told == [CallerSilent(prompts=1)]


async def test_there_is_no_prompt_while_it_rings() -> None:
    frames = [SleepFrame(WORK_S * 2), VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame()]

    said, told = await asked(*frames, SleepFrame(AFTER_S * 9), answered=False)

    assert (said, told) == ([], [])


async def test_words_and_keys_of_the_caller_restart_the_time() -> None:
    key = InputDTMFFrame(button=KeypadEntry.ONE)
    signs = [InterimTranscriptionFrame("Hello", "", ""), key, key]
    frames = itertools.chain.from_iterable((SleepFrame(AFTER_S * 0.5), sign) for sign in signs)

    said, _ = await asked(*frames, SleepFrame(AFTER_S * 0.5))

    assert said == []


async def test_there_is_no_prompt_while_the_model_thinks() -> None:
    said, _ = await asked(LLMFullResponseStartFrame(), SleepFrame(AFTER_S * 2))

    assert said == []


async def test_a_dropped_answer_is_not_waited_for() -> None:
    said, _ = await asked(
        LLMFullResponseStartFrame(),
        SleepFrame(0.02),
        InterruptionFrame(),
        VADUserStoppedSpeakingFrame(),
        SleepFrame(AFTER_S * 1.5),
    )

    assert said == ["Hello?"]
