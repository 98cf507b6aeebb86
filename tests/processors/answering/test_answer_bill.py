"""The cost of a turn's requests: each answered one is billed once, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import CancelFrame, Frame, InterruptionFrame, LLMContextFrame

from calls.events import UsageMeasured
from calls.line import CallerLine
from fallbacks.events import AttemptFailed, AttemptStarted
from processors.answering.early_answers import TOKEN_CHARACTERS
from tests.bot.talk import RATE_HZ, Ear, Voice
from tests.kit.bench import at_work, worker_of
from tests.processors.answering.early_bench import Detector, early_bench, utterance
from tests.processors.answering.test_other_servers import USAGE
from tests.processors.answering.test_stage import ANSWER, QUESTION, Bench, bench, question
from tests.providers.scripted_model import chunk, streaming

pytestmark = pytest.mark.virtual_time

WORDS = "We open at nine. "
WRITES = chunk({"content": WORDS})
FINISH = chunk({}, "stop")


def bills(it: Bench, *, of: str | None = None) -> list[tuple[str, bool]]:
    told = [attempt for attempt in it.told_of(UsageMeasured) if of in (None, attempt.provider)]
    return [(item.provider, item.estimated) for item in told]


@asynccontextmanager
async def served(it: Bench, *events: Any, **how: bool) -> AsyncIterator[None]:
    async with streaming(*events, **how) as url:
        it.urls["openai"] = url
        yield


async def cut_off(it: Bench, *, by: Frame | None = None) -> None:
    context = question()
    worker = worker_of(it.stage(), Voice(CallerLine()), Ear(), rate_hz=RATE_HZ)
    async with at_work(worker, limit_s=10):
        await worker.queue_frame(LLMContextFrame(context))
        await asyncio.sleep(0.2)
        await worker.queue_frame(by or InterruptionFrame())
        await asyncio.sleep(0.5)
        await worker.queue_frame(CancelFrame())


async def test_a_healthy_answer_is_billed_once_as_the_provider_counted_it() -> None:
    async with bench() as it:
        await it.ask()

    assert bills(it) == [("openai", False)]


@pytest.mark.parametrize(
    "by", [InterruptionFrame, CancelFrame], ids=["the caller speaks", "hangs up"]
)
async def test_an_answer_cut_off_while_it_streams_is_billed_by_our_count(by: type[Frame]) -> None:
    async with bench() as it, served(it, WRITES, hangs=True):
        await cut_off(it, by=by())

    assert bills(it) == [("openai", True)]
    (told,) = it.told_of(UsageMeasured)
    assert told.model == "gpt-4.1-mini"
    assert told.prompt_tokens >= len(QUESTION[0]["content"]) // TOKEN_CHARACTERS
    assert told.completion_tokens == len(WORDS) // TOKEN_CHARACTERS


async def test_an_answer_interrupted_after_its_usage_is_billed_by_that_usage() -> None:
    so_far = chunk({"content": WORDS}, usage=USAGE)
    async with bench() as it, served(it, so_far, hangs=True):
        await cut_off(it)

    assert bills(it) == [("openai", False)]
    assert it.told_of(UsageMeasured)[0].prompt_tokens == USAGE["prompt_tokens"]


async def test_a_stream_that_is_cut_is_billed_as_well_as_the_one_that_continues() -> None:
    async with bench() as it, served(it, WRITES, resets=True):
        answer = await it.ask()

    assert answer == ANSWER
    assert bills(it, of="openai") == [("openai", True)]
    assert bills(it, of="openai-b").count(("openai-b", False)) == 1
    told = it.told_of(UsageMeasured)
    going_on = next(item for item in told if not item.estimated)
    cut = next(attempt for attempt in told if attempt.provider == "openai")
    assert cut.prompt_tokens == going_on.prompt_tokens
    assert cut.completion_tokens == len(WORDS) // TOKEN_CHARACTERS


async def test_streams_that_all_break_are_each_billed() -> None:
    async with bench(["openai"]) as it, served(it, WRITES, resets=True):
        await it.ask()

    assert len(bills(it)) == len(it.told_of(AttemptStarted)) > 0
    assert all(estimated for _, estimated in bills(it))


async def test_an_abandoned_stalled_stream_is_billed_as_well_as_the_one_that_continues() -> None:
    async with bench() as it, served(it, WRITES, hangs=True):
        await it.ask()

    assert [attempt.provider for attempt in it.told_of(AttemptFailed)] == ["openai"]
    assert bills(it) == [("openai-b", False), ("openai", True)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"fault": "http", "status": 503}, id="refused"),
        pytest.param({"fault": "slow_start", "delay_s": 10.0}, id="hangs"),
    ],
)
async def test_a_request_that_never_got_an_answer_costs_nothing(fault: dict[str, Any]) -> None:
    async with bench() as it:
        it.fault("openai", **fault)
        answer = await it.ask()

    assert answer == ANSWER
    assert bills(it, of="openai") == []
    assert bills(it, of="openai-b").count(("openai-b", False)) == 1


@pytest.mark.parametrize("hangs", [False, True], ids=["has no usage", "sends it never"])
async def test_an_answer_of_a_server_without_usage_is_billed_by_our_count(*, hangs: bool) -> None:
    async with bench() as it, served(it, WRITES, FINISH, hangs=hangs):
        await it.ask()

    assert bills(it) == [("openai", True)]
    assert it.told_of(UsageMeasured)[0].completion_tokens == len(WORDS) // TOKEN_CHARACTERS


@pytest.mark.parametrize("early", [True, False])
async def test_each_request_of_a_call_is_billed_once_and_in_its_own_turn(*, early: bool) -> None:
    async with early_bench() as it:
        it.fault("openai", fault="stall", after_words=3)
        if not early:
            it.policy.early = None
        cut_short = utterance(then_s=0.6)
        await it.call([*cut_short, *utterance("And on Sundays?")], Detector(takes_s=0.0))
        told = it.told_of(UsageMeasured)

    assert len(told) == it.requests("openai") + it.requests("openai-b")
    assert {item.turn for item in told if item.estimated} == {1, 2}
