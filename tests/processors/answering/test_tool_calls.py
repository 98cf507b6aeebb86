"""The limit of tool calls in one turn."""

from typing import Any

import pytest

from processors.answering.tool_calls import MAX_CALLS, must_speak

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
