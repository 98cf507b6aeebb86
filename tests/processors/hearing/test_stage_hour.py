"""An hour of a caller's words for recognisers that fail at intervals: each is transcribed once."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.health.policies import run_breaker_timers
from fallbacks.events import StageExhausted
from tests.kit.faults import DEAD
from tests.lab.simulators import synthetic_caller as caller
from tests.processors.hearing.stt_call import Call, calling, words
from tests.processors.hearing.test_stage import DEATHS
from tests.processors.weather import LENGTHS, availability_of, expose, turns_until, weather

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet_log")]

NAMES = ("a", "b")
KINDS = {**DEATHS, **DEAD}
# The lab's recogniser is certain of these; of an article before a pause it is not, and of "one two"
# it sometimes makes "one eight two", which depends on where its stream began.
SAID = (
    "I would like to book an appointment.",
    "When are you open on Saturday?",
    "What are your opening hours?",
    "I would like to book a haircut for Friday.",
)


@asynccontextmanager
async def hearing(length_s: float) -> AsyncIterator[Call]:
    """Run one call's stage for an hour of changing faults."""
    availability = availability_of("stt", NAMES)
    timers = run_breaker_timers(availability, emit=lambda _: None, clock=time.monotonic)
    async with (
        timers,
        calling(pace=1.0, availability=availability, limit_s=length_s + 60.0) as call,
    ):
        expose(call.lab, weather(NAMES, KINDS, length_s=length_s, seed=5))
        yield call


@pytest.mark.parametrize("length_s", LENGTHS)
async def test_every_word_of_the_caller_is_written_once(length_s: float) -> None:
    dice, failures = random.Random(5), 0  # noqa: S311 - weather, not a secret
    async with hearing(length_s) as call:
        for turn in turns_until(length_s, dice=dice):
            text = dice.choice(SAID)
            call.seen = len(call.bench.out)
            await call.sound(await call.begins(caller.say(text)))
            await call.stops()
            await call.silence(turn.pause_s)

            story = turn.story(call.told)
            assert words(call.text) == words(text), story
            assert not call.stage.awaits_words(), story
            assert not call.facts(StageExhausted), story
            failures += len(call.failures)
            call.told.clear()
            call.bench.out.clear()
    assert failures >= length_s / 200.0  # there were faults
