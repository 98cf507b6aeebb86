"""The context window, on the way to the language model."""

import asyncio

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import Frame, LLMContextFrame, LLMSummarizeContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.tests.utils import run_test

from calls.events import ContextShortened, Event
from processors.answering.context_window import ContextWindow

pytestmark = pytest.mark.virtual_time

SYSTEM: LLMContextMessage = {"role": "system", "content": "Be kind."}


def turns(count: int) -> list[LLMContextMessage]:
    said: list[LLMContextMessage] = []
    for number in range(count):
        said.append({"role": "user", "content": f"question {number} " + "x" * 80})
        said.append({"role": "assistant", "content": "y" * 100})
    return said


async def passed(
    context: LLMContext,
    *,
    limit_tokens: int,
    direction: FrameDirection = FrameDirection.DOWNSTREAM,
) -> tuple[list[Frame], list[Event]]:
    told: list[Event] = []
    async with asyncio.timeout(5.0):
        down, up = await run_test(
            ContextWindow(limit_tokens=limit_tokens, emit=told.append),
            frames_to_send=[LLMContextFrame(context)],
            frames_to_send_direction=direction,
        )
    return list(down if direction is FrameDirection.DOWNSTREAM else up), told


async def test_a_request_that_fits_is_the_shared_context_itself() -> None:
    context = LLMContext([SYSTEM, *turns(1)])

    frames, told = await passed(context, limit_tokens=4_000)

    assert isinstance(frames[0], LLMContextFrame)
    assert frames[0].context is context
    assert told == []


async def test_a_request_that_is_too_long_is_cut_in_a_copy() -> None:
    context = LLMContext([SYSTEM, *turns(20)])

    frames, told = await passed(context, limit_tokens=200)

    assert isinstance(frames[0], LLMContextFrame)
    sent = frames[0].context.messages
    assert sent[0] == SYSTEM
    assert sent[-1] == context.messages[-1]
    assert len(sent) < len(context.messages) == 41
    assert isinstance(told[0], ContextShortened)
    assert told[0].how == "truncated"
    assert told[0].tokens_after <= 200 < told[0].tokens_before


async def test_the_request_after_a_tools_result_is_cut_too() -> None:
    context = LLMContext([SYSTEM, *turns(20)])

    frames, _ = await passed(context, limit_tokens=200, direction=FrameDirection.UPSTREAM)

    sent = [frame for frame in frames if isinstance(frame, LLMContextFrame)]
    assert len(sent[0].context.messages) < 41


async def test_tool_descriptions_count() -> None:
    tool = FunctionSchema("f", "d" * 2_000, {}, [])
    plain = LLMContext([SYSTEM, *turns(2)])
    with_tool = LLMContext([SYSTEM, *turns(2)], tools=ToolsSchema(standard_tools=[tool]))

    _, told_plain = await passed(plain, limit_tokens=300)
    frames, told = await passed(with_tool, limit_tokens=300)

    assert told_plain == []
    assert len(told) == 1
    assert isinstance(frames[0], LLMContextFrame)
    assert frames[0].context.tools is with_tool.tools


async def test_a_summary_is_requested_before_anything_must_be_cut() -> None:
    frames, told = await passed(LLMContext([SYSTEM, *turns(6)]), limit_tokens=450)

    assert [type(frame) for frame in frames] == [LLMContextFrame, LLMSummarizeContextFrame]
    assert told == []


async def test_a_few_long_messages_are_not_summarised() -> None:
    frames, _ = await passed(LLMContext([SYSTEM, *turns(2)]), limit_tokens=100)

    assert [type(frame) for frame in frames] == [LLMContextFrame]
