"""The limit of tool calls in one turn, and equal calls that a model writes as text."""

from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema

from processors.answering.spoken_text_rules import SpokenText
from processors.answering.tool_calls import MAX_CALLS, calls_in_text, must_speak

USER = {"role": "user", "content": "Is there room?"}


def round_of(calls: int = 1) -> list[dict[str, Any]]:
    made = [{"id": str(at), "type": "function", "function": {}} for at in range(calls)]
    results = [{"role": "tool", "tool_call_id": str(at), "content": "no"} for at in range(calls)]
    return [{"role": "assistant", "tool_calls": made}, *results]


SPEECH = {"role": "assistant", "content": "Let me see."}


@pytest.mark.parametrize(
    ("messages", "speaks"),
    [
        pytest.param([], False, id="nothing was said"),
        pytest.param([USER], False, id="a question"),
        pytest.param([USER, *round_of() * (MAX_CALLS - 1)], False, id="one call is left"),
        pytest.param([USER, *round_of() * MAX_CALLS], True, id="none is left"),
        pytest.param([USER, *round_of() * 50], True, id="far too many"),
        pytest.param([USER, *round_of(MAX_CALLS)], True, id="in one answer"),
        pytest.param([USER, *[SPEECH, *round_of()] * MAX_CALLS], True, id="with words between"),
        pytest.param([USER, *round_of() * 50, USER], False, id="in the turn before"),
        pytest.param([*round_of() * MAX_CALLS], True, id="before the caller has spoken"),
        pytest.param(
            [USER, object(), *round_of() * MAX_CALLS], True, id="another vendor's message"
        ),
        pytest.param([USER, {"role": "assistant", "tool_calls": None}], False, id="no calls"),
    ],
)
def test_a_model_must_speak_after_the_limit_of_calls_in_one_turn(
    messages: list[Any],
    speaks: bool,  # noqa: FBT001 - of the table
) -> None:
    assert must_speak(messages) is speaks


ORDER = FunctionSchema(
    name="order", description="", properties={"pizza": {"type": "string"}}, required=["pizza"]
)
JSON = '{"name": "order", "arguments": {"pizza": "margherita"}}'
TAGGED = f"<tool_call>\n{JSON}\n</tool_call>"
FENCED = f"```json\n{JSON}\n```"
XML = "<function=order><parameter=pizza>margherita</parameter></function>"
DEEPSEEK = (
    "<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>order\n"
    '```json\n{"pizza": "margherita"}\n```<\uff5ctool\u2581call\u2581end\uff5c>'
)
REACT = 'Action: order\nAction Input: {"pizza": "margherita"}\n'


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        pytest.param(f"{TAGGED}\n{TAGGED}", 2, id="tags"),
        pytest.param(f"{TAGGED} {TAGGED.replace(chr(10), '')}", 2, id="other white space"),
        pytest.param(f"One. {TAGGED} And another one. {TAGGED}", 2, id="words between"),
        pytest.param(f"{JSON}\n{JSON}", 2, id="JSON"),
        pytest.param(f"[{JSON}, {JSON}]", 2, id="a list"),
        pytest.param(f"{FENCED}\n{FENCED}", 2, id="fences"),
        pytest.param(XML * 2, 2, id="XML"),
        pytest.param(
            f"<\uff5ctool\u2581calls\u2581begin\uff5c>{DEEPSEEK}\n{DEEPSEEK}", 2, id="DeepSeek"
        ),
        pytest.param(REACT * 2, 2, id="ReAct"),
        pytest.param(f"{FENCED}\n{TAGGED}", 1, id="a fence and a tag"),
        pytest.param(f"{JSON}\n```\n{JSON}\n```", 1, id="JSON alone and in a fence"),
        pytest.param(f"{FENCED}\n{FENCED}\n{TAGGED}\n{TAGGED}", 2, id="two calls in two forms"),
    ],
)
def test_equal_calls_in_one_form_are_several(text: str, calls: int) -> None:
    spoken = SpokenText(tools={"order"})
    spoken.write(text)
    spoken.finish()

    assert len(calls_in_text(spoken.calls, [ORDER])) == calls
