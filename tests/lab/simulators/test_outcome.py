"""The lab's model, asked for a call's result."""

import json

import pytest

from lab.simulators.receptionist.receptionist import reply

ASKED = (
    "Answer with one JSON object and with nothing else. Its keys:\n"
    '"outcome": exactly one of confirmed, not_reached, callback, do_not_call, unclear.\n'
    "The call ended at 2026-11-21T18:00+01:00, which is Saturday."
)


@pytest.mark.parametrize(
    ("said", "outcome", "callback_at"),
    [
        ("Yes, that is right.", "confirmed", None),
        ("Please do not call me again.", "do_not_call", None),
        ("Call me back tomorrow.", "callback", "2026-11-22T09:00+01:00"),
        ("Call me back.", "callback", None),
        ("Well, hello.", "unclear", None),
    ],
)
def test_a_call_outcome_is_answered_in_the_requested_format(
    said: str, outcome: str, callback_at: str | None
) -> None:
    messages = [
        {"role": "system", "content": ASKED},
        {"role": "user", "content": f"Agent: Hello.\nPerson: {said}"},
    ]

    answer = json.loads(reply(messages).text)

    assert (answer["outcome"], answer["callback_at"]) == (outcome, callback_at)
    assert said in answer["summary"]
