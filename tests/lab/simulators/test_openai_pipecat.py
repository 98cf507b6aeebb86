"""Pipecat's own OpenAI service, unmodified, in front of the simulator."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.tests.utils import SleepFrame, run_test

from lab.simulators import faults
from lab.simulators.instance import Core
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.receptionist import phrases
from lab.simulators.schedule import Window

pytestmark = pytest.mark.virtual_time

ASKED: list[Any] = [{"role": "user", "content": "How much is a haircut?"}]


@pytest.fixture
async def instance() -> AsyncIterator[OpenAISimulator]:
    instance = OpenAISimulator("openai", core=Core(speed=50))
    await instance.start()
    try:
        yield instance
    finally:
        await instance.stop()


def service(instance: OpenAISimulator) -> OpenAILLMService:
    return OpenAILLMService(
        api_key=instance.api_key,
        base_url=instance.url,
        settings=OpenAILLMService.Settings(model="gpt-4.1-mini"),
    )


async def run(instance: OpenAISimulator, messages: list[Any]) -> tuple[list[Frame], list[Frame]]:
    frames = [LLMContextFrame(LLMContext(messages)), SleepFrame(0.15)]
    down, up = await run_test(service(instance), frames_to_send=frames)
    return list(down), list(up)


def text(frames: list[Frame]) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, LLMTextFrame))


async def test_its_words_arrive_whole_and_its_requests_are_well_formed(
    instance: OpenAISimulator,
) -> None:
    down, up = await run(instance, ASKED)

    entry = instance.record.requests("openai")[0]
    assert text(down) == phrases.price("haircut")
    assert any(isinstance(frame, LLMFullResponseEndFrame) for frame in down)
    assert not any(isinstance(frame, ErrorFrame) for frame in up)
    assert (entry.ok_auth, entry.well_formed, entry.outcome) == (True, True, "done")


async def test_it_reports_a_cut_after_the_words_that_came(instance: OpenAISimulator) -> None:
    instance.set_faults([Window(fault=faults.Cut(after_words=4))])

    down, up = await run(instance, ASKED)

    assert text(down).split() == phrases.price("haircut").split()[:4]
    assert any(isinstance(frame, ErrorFrame) for frame in up)


async def test_its_question_out_of_band_is_answered(instance: OpenAISimulator) -> None:
    answer = await service(instance).run_inference(LLMContext(ASKED))

    assert answer == phrases.price("haircut")
