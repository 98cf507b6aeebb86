"""An hour of sentences for voices that fail at intervals: every word is spoken once."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import (
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)

from bot.health.policies import PACES, run_breaker_timers
from fallbacks.events import StageExhausted
from fallbacks.ladder import StagePolicy
from lab.callers import spoken_s
from lab.simulators.receptionist.phrases import GREETING, SAYS, hours, price
from tests.kit.faults import DEAD, MUTE
from tests.processors.speaking.test_stage import BROKEN, ODD
from tests.processors.speaking.tts_bench import Talk, laboratory, talking
from tests.processors.weather import LENGTHS, availability_of, expose, turns_until, weather

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet_log")]

NAMES = ("cartesia", "elevenlabs")
ALL = DEAD | MUTE | BROKEN | ODD
SELDOM = {"reset", "no websocket"}  # only new connections have them, and a voice opens few
KINDS = {name: fault for name, fault in ALL.items() if name not in SELDOM}
ANSWERS = (GREETING, *SAYS.values(), hours(""), hours("Saturday"), price("haircut"), price(""))
ONCE = (LLMFullResponseStartFrame, LLMFullResponseEndFrame)
EACH_PART = (TTSStartedFrame, TTSStoppedFrame)  # a long answer is spoken in several
GAP_S = 1.5  # of silence inside an answer; the drill has the bounds of each fault


@asynccontextmanager
async def speaking(length_s: float) -> AsyncIterator[Talk]:
    """Run one call's stage for an hour of changing faults."""
    availability = availability_of("tts", NAMES)
    policy = StagePolicy(stage="tts", availability=availability, pace=PACES["tts"])
    async with laboratory() as lab:
        spells = weather(
            NAMES, KINDS, length_s=length_s, seed=11, first=0.5
        )  # the last voice stays
        expose(lab, spells)
        timers = run_breaker_timers(availability, emit=lambda _: None, clock=time.monotonic)
        async with timers, talking(lab, shared=policy, limit_s=length_s + 60.0) as talk:
            yield talk


def forget(talk: Talk) -> None:
    talk.told.clear()
    talk.kept.clear()
    talk.line.played.clear()


@pytest.mark.parametrize("length_s", LENGTHS)
async def test_every_answer_is_spoken_whole_and_once(length_s: float) -> None:
    dice, failures = random.Random(11), 0  # noqa: S311 - weather, not a secret
    async with speaking(length_s) as talk:
        for turn in turns_until(length_s, dice=dice):
            answer = dice.choice(ANSWERS)
            await talk.reply(*answer.split())
            await talk.until(lambda n=turn.number: len(talk.said) == n, within_s=30.0)
            await asyncio.sleep(turn.pause_s)

            story = turn.story(talk.told)
            assert talk.words == answer, story
            assert talk.said[-1] == answer, story
            assert [len(talk.kept_of(kind)) for kind in ONCE] == [1] * len(ONCE), story
            started, stopped = (len(talk.kept_of(kind)) for kind in EACH_PART)
            assert started == stopped >= 1, story
            assert talk.line.length_s > 0.85 * spoken_s(answer), story
            assert max(talk.line.gaps_s) < GAP_S, story
            assert not talk.unsaid, story
            assert not talk.facts(StageExhausted), story
            failures += len(talk.failures)
            forget(talk)

    assert failures >= length_s / 200.0  # there were faults
