"""A model that keeps asking for tools within one turn must speak in the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import CancelFrame, LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams

from calls.line import CallerLine
from fallbacks.events import AttemptFailed
from processors.answering.tool_calls import MAX_CALLS
from tests.bot.talk import RATE_HZ, Ear, Voice
from tests.kit.bench import at_work, worker_of
from tests.kit.waiting import until
from tests.processors.answering.test_other_servers import END, call, calls
from tests.processors.answering.test_stage import QUESTION, Bench, bench
from tests.processors.answering.test_tool_cut_off import messages
from tests.providers.scripted_model import choosing, chunk

pytestmark = pytest.mark.virtual_time

WORDS = chunk({"content": "There is room on Monday."})
STOP = chunk({}, "stop")


@dataclass
class Looped:
    """A conversation with a model that has lost its thread."""

    context: LLMContext
    it: Bench
    asked: list[dict[str, Any]] = field(default_factory=list)
    runs: int = 0

    @property
    def choices(self) -> list[str]:
        return [str(item.get("tool_choice")) for item in self.asked]

    async def until(self, done: Callable[[], bool]) -> None:
        await until(done, within_s=30, every_s=0.05)
        await asyncio.sleep(2.0)

    def spoken(self) -> list[str]:
        said = (message for message in messages(self.context) if message["role"] == "assistant")
        return [message["content"] for message in said if message.get("content")]


@asynccontextmanager
async def looping(*models: Callable[[dict[str, Any]], list[Any]]) -> AsyncIterator[Looped]:
    async def look_up(params: FunctionCallParams) -> None:
        looped.runs += 1
        await params.result_callback({"result": "nothing found"})

    tool = FunctionSchema(
        name="look_up", description="Look it up.", properties={}, required=[], handler=look_up
    )
    context = LLMContext(messages=list(QUESTION), tools=ToolsSchema(standard_tools=[tool]))  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(bench())
        looped = Looped(context, it)

        def noting(choose: Callable[[dict[str, Any]], list[Any]]) -> Any:
            return lambda body: looped.asked.append(body) or choose(body)

        for name, choose in zip(("openai", "openai-b"), models, strict=False):
            it.urls[name] = await stack.enter_async_context(choosing(noting(choose)))
        memory = LLMContextAggregatorPair(context).assistant()
        worker = worker_of(it.stage(), Voice(CallerLine()), Ear(), memory, rate_hz=RATE_HZ)
        async with at_work(worker):
            await worker.queue_frame(LLMContextFrame(context))
            yield looped
            await worker.queue_frame(CancelFrame())


def asks_again(body: dict[str, Any]) -> list[Any]:
    number = str(len(body["messages"]))
    return [calls(call("look_up", f'{{"day": {number}}}', number=number, index=0)), END]


def obeys(body: dict[str, Any]) -> list[Any]:
    return [WORDS, STOP] if body.get("tool_choice") == "none" else asks_again(body)


async def test_a_model_that_keeps_asking_for_tools_is_made_to_speak() -> None:
    async with looping(obeys) as it:
        await it.until(lambda: bool(it.spoken()))

    assert it.choices == ["None"] * MAX_CALLS + ["none"]
    assert all(item["tools"] for item in it.asked)
    assert it.runs == MAX_CALLS
    assert it.spoken() == ["There is room on Monday."]
    assert not it.context.tool_choice or it.context.tool_choice != "none"  # that of later turns


async def test_a_tool_requested_next_to_demanded_words_is_not_run() -> None:
    def adds(body: dict[str, Any]) -> list[Any]:
        words = [WORDS] if body.get("tool_choice") == "none" else []
        return [*words, *asks_again(body)]

    async with looping(adds) as it:
        await it.until(lambda: bool(it.spoken()))

    assert it.choices == ["None"] * MAX_CALLS + ["none"]
    assert it.runs == MAX_CALLS
    assert it.spoken() == ["There is room on Monday."]


async def test_if_a_model_does_not_speak_on_demand_the_next_one_is_asked() -> None:
    async with looping(asks_again, obeys) as it:
        await it.until(lambda: bool(it.spoken()))

    assert it.choices == ["None"] * MAX_CALLS + ["none"] * 3  # the first one twice
    assert it.runs == MAX_CALLS
    reasons = {event.reason for event in it.it.told if isinstance(event, AttemptFailed)}
    assert reasons == {"called_a_tool_again"}
    assert it.spoken() == ["There is room on Monday."]
