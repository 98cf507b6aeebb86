"""The summary that a person hears before a transfer."""

from typing import Any, cast

import pytest

from bot.call.transfer.person_call import summarise
from processors.answering.stage import LlmStage

TALK = [{"role": "user", "content": "It is about my invoice."}]


class Answers:
    """A stage whose model gives one answer."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    async def run_inference(self, *_: Any, **__: Any) -> str:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "spoken", "by"),
    [
        ("They call.</think>**Anna** asks for her invoice.", "Anna asks for her invoice.", "model"),
        ("```\nAnna asks.\n```<|im_end|>", "Anna asks.", "model"),
        ('{"summary": "Anna asks for her invoice."}', "Anna asks for her invoice.", "model"),
        ("Invoice 7 is wrong.\nCaller: Anna.", "Invoice 7 is wrong. Caller: Anna.", "model"),
        (f"<think>{'They call. ' * 1000}</think>Anna asks.", "Anna asks.", "model"),
        ("<think>They call.</think>", "The caller said: It is about my invoice.", "last_words"),
    ],
)
async def test_a_summary_is_cleaned_before_it_is_spoken(answer: str, spoken: str, by: str) -> None:
    stage = cast("LlmStage", Answers(answer))
    summary = await summarise(stage, TALK, reason="", language="en", limit_s=1.0, clock=lambda: 0.0)
    assert (summary.text, summary.by) == (spoken, by)
