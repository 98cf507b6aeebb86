"""The silence rule, fed by frames."""

import asyncio
import itertools

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSSpeakFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from calls.events import CallerSilent, Event
from processors.holding.caller_silence import AnsweredFrame, CallerSilence, Farewell
from processors.holding.silence_rules import CallLength, Silence

pytestmark = pytest.mark.virtual_time

AFTER_S = 0.1
WORK_S = 0.3


async def asked(*frames: Frame, answered: bool = True) -> tuple[list[str], list[Event]]:
    """Return the prompts to the silent caller while these frames pass."""
    told: list[Event] = []
    loop = asyncio.get_running_loop()
    processor = CallerSilence(
        silence=Silence(
            prompt_after_s=AFTER_S, prompts=["Hello?"] * 9, goodbye="Bye.", work_limit_s=WORK_S
        ),
        length=CallLength(max_call_s=60.0, words="Bye."),
        farewell=Farewell(),
        tell=told.append,
        clock=loop.time,
    )
    if answered:
        frames = (AnsweredFrame(), *frames)
    async with asyncio.timeout(5.0):
        down, _ = await run_test(processor, frames_to_send=frames)
    return [word.text for word in down if isinstance(word, TTSSpeakFrame)], told


async def test_a_silent_caller_is_prompted() -> None:
    said, told = await asked(BotStoppedSpeakingFrame(), SleepFrame(AFTER_S * 1.5))

    assert said == ["Hello?"]
    assert told == [CallerSilent(prompts=1)]


async def test_a_call_without_a_greeting_is_prompted_later() -> None:
    early, _ = await asked(SleepFrame(WORK_S))
    late, _ = await asked(SleepFrame(WORK_S + AFTER_S * 1.5))

    assert (early, late) == ([], ["Hello?"])


async def test_there_is_no_prompt_while_it_rings() -> None:
    frames = [SleepFrame(WORK_S * 2), VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame()]

    said, told = await asked(*frames, SleepFrame(AFTER_S * 9), answered=False)

    assert (said, told) == ([], [])


async def test_there_is_no_prompt_while_the_agent_speaks() -> None:
    said, _ = await asked(BotStartedSpeakingFrame(), SleepFrame(AFTER_S * 2))

    assert said == []


async def test_the_time_begins_when_the_agent_stops() -> None:
    frames = [BotStartedSpeakingFrame(), SleepFrame(AFTER_S), BotStoppedSpeakingFrame()]

    early, _ = await asked(*frames, SleepFrame(AFTER_S * 0.5))
    late, _ = await asked(*frames, SleepFrame(AFTER_S * 1.5))

    assert (early, late) == ([], ["Hello?"])


async def test_sounds_and_keys_of_the_caller_restart_the_time() -> None:
    key = InputDTMFFrame(button=KeypadEntry.ONE)
    sounds = [VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame(), key, key]
    frames = itertools.chain.from_iterable((SleepFrame(AFTER_S * 0.5), sound) for sound in sounds)

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
