"""Correcting the words of an interrupted utterance in the model's context."""

from typing import Any

import pytest

from processors.speaking.told_words import as_heard

WORDS = tuple((word, False) for word in ["We", "open", "at", "nine."])
CHINESE = (("我们", True), ("九点", True), ("开门。", True))


def said(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


ASKED = {"role": "user", "content": "When?"}


@pytest.mark.parametrize("heard", range(5))
@pytest.mark.parametrize("told", range(1, 5))
@pytest.mark.parametrize("before", ["", "Good morning."])
def test_the_last_message_ends_with_the_words_that_were_heard(
    before: str, told: int, heard: int
) -> None:
    words = ["We", "open", "at", "nine."]
    messages = [ASKED, said(" ".join([*before.split(), *words[:told]]))]

    found = as_heard(WORDS, heard, messages)

    text = " ".join([*before.split(), *words[:heard]])
    assert found == [ASKED, *([said(text)] if text else [])]


def test_words_that_nobody_was_told_of_become_a_message() -> None:
    assert as_heard(WORDS, 2, [ASKED]) == [ASKED, said("We open")]
    assert as_heard(WORDS, 0, [ASKED]) == [ASKED]
    assert as_heard(WORDS, 2, []) == [said("We open")]


def test_words_without_spaces_stay_without_them() -> None:
    assert as_heard(CHINESE, 1, [ASKED, said("好。我们九点")]) == [ASKED, said("好。我们")]


@pytest.mark.parametrize("content", [None, [{"type": "text", "text": "We open"}]])
def test_a_message_without_plain_text_is_left_alone(content: Any) -> None:
    messages = [ASKED, said(content)]

    assert as_heard(WORDS, 1, messages) == messages
