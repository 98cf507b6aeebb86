"""The LLM stage with servers that deviate from OpenAI's protocol."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import run_test

from calls.events import UsageMeasured
from fallbacks.events import AttemptFailed
from fallbacks.failure import Kind, Scope
from tests.processors.answering.test_stage import ANSWER, QUESTION, Bench, bench, question
from tests.providers.scripted_model import chunk, streaming, writing_once

pytestmark = pytest.mark.virtual_time

END = chunk({}, "tool_calls")
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def call(
    name: str | None,
    arguments: str | None,
    *,
    number: str | int | None = None,
    index: int | None = None,
) -> dict[str, Any]:
    """Return a piece of a tool's call; `None` leaves the field out."""
    function = {"name": name, "arguments": arguments}
    piece = {"index": index, "id": number, "type": "function", "function": function}
    return {key: each for key, each in piece.items() if each is not None}


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(pieces)})


TWO_CALLS: dict[str, list[Any]] = {
    "as OpenAI sends them": [
        calls(call("look_up", "", number="a", index=0)),
        calls(call(None, '{"day":', index=0)),
        calls(call(None, ' "Monday"}', index=0)),
        calls(call("note", "{}", number="b", index=1)),
        END,
    ],
    "in one chunk": [
        calls(
            call("look_up", '{"day": "Monday"}', number="a", index=0),
            call("note", "{}", number="b", index=1),
        ),
        END,
    ],
    "in one chunk that is the last": [
        chunk(
            {
                "tool_calls": [
                    call("look_up", '{"day": "Monday"}', number="a", index=0),
                    call("note", "{}", number="b", index=1),
                ]
            },
            "tool_calls",
        )
    ],
    "all numbered 0": [
        calls(call("look_up", '{"day": "Monday"}', number="a", index=0)),
        calls(call("note", "{}", number="b", index=0)),
        END,
    ],
    "without numbers": [
        calls(call("look_up", '{"day": "Monday"}', number="a"), call("note", "{}", number="b")),
        END,
    ],
    "counted from 1": [
        calls(call("look_up", '{"day": "Monday"}', number="a", index=1)),
        calls(call("note", "{}", number="b", index=2)),
        END,
    ],
    "with the name in every piece": [
        calls(call("look_up", '{"day":', number="a", index=0)),
        calls(call("look_up", ' "Monday"}', number="a", index=0)),
        calls(call("note", "{}", number="b", index=1)),
        END,
    ],
    "with one id": [
        calls(call("look_up", '{"day": "Monday"}', number="a", index=0)),
        calls(call("note", "{}", number="a", index=1)),
        END,
    ],
    "without ids": [
        calls(call("look_up", '{"day": "Monday"}', index=0)),
        calls(call("note", "{}", index=1)),
        END,
    ],
    "without ids, all numbered 0": [
        calls(call("look_up", '{"day": "Monday"}', index=0)),
        calls(call("note", None, index=0)),
        END,
    ],
    "with ids that are numbers": [
        calls(call("look_up", '{"day": "Monday"}', number=7, index=0)),
        calls(call("note", "{}", number=8, index=1)),
        END,
    ],
    "without the arguments of a tool that has none": [
        calls(call("look_up", '{"day": "Monday"}', number="a", index=0)),
        calls(call("note", None, number="b", index=1)),
        END,
    ],
}


@pytest.mark.parametrize("sent", TWO_CALLS.values(), ids=TWO_CALLS)
async def test_each_of_two_calls_is_run_once_in_any_form_of_sending(sent: list[Any]) -> None:
    async with streaming(*sent) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)

    assert [(name, given) for name, _, given in ran] == [
        ("look_up", {"day": "Monday"}),
        ("note", {}),
    ]
    ids = [each for _, each, _ in ran]
    assert all(ids)  # a conversation without them is refused from then on
    assert len(set(ids)) == 2
    assert it.told_of(AttemptFailed) == []


MONDAY = '{"day": "Monday"}'
EQUAL_CALLS: dict[str, list[Any]] = {
    "each with an id": [
        calls(call("look_up", MONDAY, number="a", index=0)),
        calls(call("look_up", MONDAY, number="b", index=1)),
        END,
    ],
    "with one id": [
        calls(call("look_up", MONDAY, number="a", index=0)),
        calls(call("look_up", MONDAY, number="a", index=0)),
        END,
    ],
    "without ids": [calls(call("look_up", MONDAY), call("look_up", MONDAY)), END],
    "without ids, the arguments in pieces": [
        calls(call("look_up", "", index=0)),
        calls(call(None, '{"day":', index=0)),
        calls(call(None, ' "Monday"}', index=0)),
        calls(call("look_up", "", index=0)),
        calls(call(None, MONDAY, index=0)),
        END,
    ],
}


@pytest.mark.parametrize("sent", EQUAL_CALLS.values(), ids=EQUAL_CALLS)
async def test_two_equal_calls_are_two_in_any_form_of_sending(sent: list[Any]) -> None:
    async with streaming(*sent) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)

    assert [(name, given) for name, _, given in ran] == [("look_up", {"day": "Monday"})] * 2
    assert len({call_id for _, call_id, _ in ran}) == 2
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([calls(call(None, "{}", number="a", index=0)), END], id="no name"),
        pytest.param(
            [calls(call("note", None, number="a", index=0)), chunk({}, "length")], id="cut"
        ),
        pytest.param(
            [calls(call("note", "{" + '"a":{' * 9_000, number="a", index=0)), chunk({}, "length")],
            id="a loop of brackets",
        ),
        pytest.param([chunk({"content": [{"type": "text", "text": "We"}]}), END], id="no text"),
    ],
)
async def test_an_unreadable_answer_is_requested_from_the_next_model(sent: list[Any]) -> None:
    async with streaming(*sent) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)
        answer = await it.ask()

    assert ran == []
    assert answer == ANSWER
    assert {(item.provider, item.kind) for item in it.told_of(AttemptFailed)} == {
        ("openai", Kind.PROTOCOL)
    }


async def test_usage_sent_with_the_finish_is_reported_once() -> None:
    early = chunk({"content": "We open"}, usage={**USAGE, "completion_tokens": 1})
    last = chunk({"content": " at nine."}, "stop", usage=USAGE)
    async with streaming(early, last) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "We open at nine."
    (told,) = it.told_of(UsageMeasured)
    assert (told.prompt_tokens, told.completion_tokens, told.estimated) == (10, 2, False)


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"prompt_tokens": 10, "total_tokens": 10}, id="without a count"),
        pytest.param({**USAGE, "completion_tokens": None}, id="a count that is none"),
        pytest.param(12, id="a number"),
    ],
)
async def test_a_tool_is_run_though_the_usage_after_its_call_is_incomplete(usage: Any) -> None:
    wanted = calls(call("look_up", '{"day": "Monday"}', number="a", index=0))
    last = {**chunk({}), "choices": [], "usage": usage}
    async with streaming(wanted, END, last) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)

    assert ran == [("look_up", "a", {"day": "Monday"})]
    (told,) = it.told_of(UsageMeasured)
    assert told.estimated
    assert told.completion_tokens > 0  # the tool call counts, too


async def test_a_call_with_a_used_id_gets_one_of_its_own() -> None:
    earlier = call("look_up", '{"day": "Monday"}', number="a")
    had = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [earlier]},
        {"role": "tool", "tool_call_id": "a", "content": "closed"},
        *QUESTION,
    ]
    wanted = calls(call("look_up", '{"day": "Tuesday"}', number="a", index=0))
    async with streaming(wanted, END) as url, bench() as it:
        it.urls["openai"] = url
        ((name, number, given),) = await asked_with_tools(it, had)

    assert (name, given) == ("look_up", {"day": "Tuesday"})
    assert number not in ("", "a")  # otherwise its result would replace the earlier one


HOW_ENDED = pytest.mark.parametrize(
    "how", [{"hangs": True}, {"resets": True}], ids=["hangs", "is reset"]
)


@HOW_ENDED
async def test_an_answer_that_declares_its_end_is_complete_however_its_stream_ends(
    how: dict[str, bool],
) -> None:
    wrote = chunk({"content": "We open"}), chunk({"content": " at nine."}), chunk({}, "stop")
    async with streaming(*wrote, **how) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "We open at nine."
    assert it.told_of(AttemptFailed) == []


@HOW_ENDED
async def test_a_complete_tool_call_is_run_however_its_stream_ends(
    how: dict[str, bool],
) -> None:
    wanted = calls(call("look_up", '{"day": "Monday"}', number="a", index=0))
    async with streaming(wanted, END, **how) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)

    assert ran == [("look_up", "a", {"day": "Monday"})]
    assert it.told_of(AttemptFailed) == []


async def test_a_refusal_in_a_field_of_its_own_is_spoken() -> None:
    declined = chunk({"refusal": "I cannot do that."}), chunk({}, "stop")
    async with streaming(*declined) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "I cannot do that."
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize("said", ["", "We open at "], ids=["at once", "in the middle"])
async def test_a_filtered_answer_is_requested_again_and_counts_against_none(
    said: str,
) -> None:
    held_back = chunk({"content": said}), chunk({}, "content_filter")
    async with streaming(*held_back) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == ANSWER
    assert {(item.provider, item.scope) for item in it.told_of(AttemptFailed)} == {
        ("openai", Scope.PAYLOAD)
    }
    assert it.policy.availability.of("llm", "openai").suspect_since is None


async def test_half_a_surrogate_in_an_answer_is_not_sent_to_a_model() -> None:
    halves = chunk({"content": "We open \ud83d"}), chunk({"content": "\ude00at nine."}, "stop")
    async with streaming(*halves) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "We open at nine."


@pytest.mark.parametrize("half", ["\ud83d", "\\ud83d"], ids=["as it is", "written out"])
async def test_half_a_surrogate_in_a_tools_arguments_is_not_sent_to_a_model(
    half: str,
) -> None:
    wanted = calls(call("note", f'{{"words": "Grüße{half}"}}', number="a", index=0))
    async with streaming(wanted, END) as url, bench() as it:
        it.urls["openai"] = url
        ran = await asked_with_tools(it)

    assert ran == [("note", "a", {"words": "Grüße"})]


async def test_half_a_surrogate_in_a_single_piece_answer_is_left_out() -> None:
    async with writing_once("They want a table\ud83d.") as url, bench() as it:
        it.urls["openai"] = url
        stage = it.stage()
        answer = await stage.run_inference(question())
        await stage.cleanup()

    assert answer == "They want a table."


async def asked_with_tools(
    it: Bench, messages: Sequence[Any] = QUESTION
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return each run of a tool: its name, the call's id, and its arguments."""
    ran: list[tuple[str, str, dict[str, Any]]] = []

    async def handle(params: FunctionCallParams) -> None:
        ran.append((params.function_name, params.tool_call_id, dict(params.arguments)))
        await params.result_callback({"result": "done"})

    tools = [
        FunctionSchema(name=name, description=name, properties={}, required=[], handler=handle)
        for name in ("look_up", "note")
    ]
    context = LLMContext(messages=list(messages), tools=ToolsSchema(standard_tools=tools))
    async with asyncio.timeout(15):
        await run_test(it.stage(), frames_to_send=[LLMContextFrame(context)])
    return ran
