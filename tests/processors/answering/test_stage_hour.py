"""An hour of questions to models that fail at intervals: each gets its whole answer once."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import (
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext

from bot.health.policies import PACES, run_breaker_timers
from fallbacks.events import AttemptFailed, StageExhausted
from fallbacks.ladder import StagePolicy
from lab.simulators.lab import Lab, Spec
from lab.simulators.receptionist import receptionist
from tests.kit.bench import Bench as Pipe
from tests.kit.bench import running
from tests.processors.answering.test_stage import FAULTS, Bench, written
from tests.processors.weather import LENGTHS, availability_of, expose, turns_until, weather

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet_log")]

NAMES = ("openai", "openai-b")
QUESTIONS = (
    "What are your opening hours?",
    "How much is a haircut?",
    "Where are you?",
    "Are you open on Saturday?",
    "What is the price of a consultation?",
    "Wait a moment, please.",
    "I would like to book an appointment for tomorrow.",
)


@asynccontextmanager
async def asking(length_s: float) -> AsyncIterator[tuple[Bench, Pipe]]:
    """Run one call's stage for an hour of changing faults."""
    async with Lab([Spec(name=name, kind="openai") for name in NAMES]) as lab:
        expose(lab, weather(NAMES, FAULTS, length_s=length_s, seed=7))
        availability = availability_of("llm", NAMES)
        policy = StagePolicy(stage="llm", availability=availability, pace=PACES["llm"])
        bench = Bench(lab, NAMES, policy)
        timers = run_breaker_timers(availability, emit=bench.told.append, clock=time.monotonic)
        async with timers, running(bench.stage(), limit_s=length_s + 60.0) as pipe:
            yield bench, pipe


@pytest.mark.parametrize("length_s", LENGTHS)
async def test_every_question_gets_its_whole_answer_once(length_s: float) -> None:
    dice, failures = random.Random(7), 0  # noqa: S311 - weather, not a secret
    async with asking(length_s) as (bench, pipe):
        for turn in turns_until(length_s, dice=dice):
            question = [{"role": "user", "content": dice.choice(QUESTIONS)}]
            context = LLMContext(messages=list(question))  # type: ignore[arg-type]
            await pipe.put(LLMContextFrame(context))
            await pipe.first(LLMFullResponseEndFrame)
            await asyncio.sleep(turn.pause_s)

            assert written(pipe.out) == receptionist.reply(question).text, turn.story(bench.told)
            assert len(pipe.all(LLMFullResponseStartFrame)) == 1, turn.story(bench.told)
            assert len(pipe.all(LLMFullResponseEndFrame)) == 1, turn.story(bench.told)
            assert context.messages == question
            assert not bench.told_of(StageExhausted), turn.story(bench.told)
            failures += len(bench.told_of(AttemptFailed))
            bench.told.clear()
            pipe.out.clear()

    assert failures >= length_s / 120.0  # there were faults
