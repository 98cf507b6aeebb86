"""A caller interrupts an answer that speaks before its tool, while the tool runs."""

import asyncio
import inspect
import json
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import CancelFrame, InterruptionFrame, LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams, LLMService

from calls.line import CallerLine
from processors.answering.stage import GOES_ON
from tests.bot.talk import RATE_HZ, Ear, Voice
from tests.kit.bench import at_work, worker_of
from tests.processors.answering.test_other_servers import END, call, calls
from tests.processors.answering.test_stage import QUESTION, bench
from tests.providers.scripted_model import choosing, chunk, streaming

pytestmark = pytest.mark.virtual_time

SPEECH = "Let me see when there is room for you, " * 5 + "one moment."


@pytest.mark.parametrize(
    "heard_s", [pytest.param(0.1, id="in the speech"), pytest.param(0.9, id="after it")]
)
async def test_the_model_is_told_that_an_interrupted_answers_tool_still_runs(
    heard_s: float,
) -> None:
    wanted = calls(call("look_up", "{}", number="a", index=0))
    async with streaming(chunk({"content": SPEECH}), wanted, END) as url, bench() as it:
        it.urls["openai"] = url
        context = LLMContext(messages=list(QUESTION), tools=ToolsSchema(standard_tools=[LOOK_UP]))  # type: ignore[arg-type]
        ear = Ear()
        memory = LLMContextAggregatorPair(context).assistant()
        worker = worker_of(it.stage(), Voice(CallerLine()), ear, memory, rate_hz=RATE_HZ)
        async with at_work(worker, limit_s=10):
            await worker.queue_frame(LLMContextFrame(context))
            while ear.heard_s < min(heard_s, 0.8):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3 if heard_s > 0.8 else 0.0)
            await worker.queue_frame(InterruptionFrame())
            await asyncio.sleep(0.5)
            await worker.queue_frame(CancelFrame())

    (result,) = [message["content"] for message in messages(context) if message["role"] == "tool"]
    assert json.loads(result) == GOES_ON
    assert "goes on" in result
    assert "same arguments" in result


@pytest.mark.parametrize("other_s", [0.6, 60.0], ids=["in time", "late, too"])
async def test_the_model_answers_once_when_all_calls_of_an_answer_are_over(other_s: float) -> None:
    wanted = calls(
        call("look_up", "{}", number="a", index=0), call("other", "{}", number="b", index=1)
    )
    asked = list[list[str]]()

    def answer(body: dict[str, Any]) -> list[Any]:
        asked.append([item["content"] for item in body["messages"] if item["role"] == "tool"])
        return [chunk({"content": "Sorry."}), END] if asked[-1] else [wanted, END]

    async def other(params: FunctionCallParams) -> None:
        await asyncio.sleep(other_s)
        await params.result_callback("done")

    async with choosing(answer) as url, bench() as it:
        it.urls["openai"] = url
        second = FunctionSchema("other", "Something else.", properties={}, required=[])
        tools = ToolsSchema(standard_tools=[LOOK_UP, second])
        context = LLMContext(messages=list(QUESTION), tools=tools)  # type: ignore[arg-type]
        stage = it.stage()
        stage.register_function("look_up", forever, timeout_secs=0.2)
        stage.register_function("other", other, timeout_secs=1.0)
        worker = worker_of(stage, LLMContextAggregatorPair(context).assistant(), rate_hz=RATE_HZ)
        async with at_work(worker, limit_s=10):
            await worker.queue_frame(LLMContextFrame(context))
            await asyncio.sleep(2.0)
            await worker.queue_frame(CancelFrame())

    over = json.dumps("done" if other_s < 1.0 else GOES_ON)
    assert asked == [[], [json.dumps(GOES_ON), over]]


def test_the_replaced_part_of_pipecat_still_exists() -> None:
    replaced = inspect.signature(LLMService._broadcast_function_call_cancelled)

    assert list(replaced.parameters) == ["self", "runner_item", "run_llm"]


async def forever(params: FunctionCallParams) -> None:
    del params
    await asyncio.sleep(60.0)


LOOK_UP = FunctionSchema(
    name="look_up", description="Look it up.", properties={}, required=[], handler=forever
)


def messages(context: LLMContext) -> list[dict[str, Any]]:
    return [message for message in context.messages if isinstance(message, dict)]  # type: ignore[misc]
