"""A caller's words for the model: one message for consecutive words."""

from typing import Any, cast

import pytest
from pipecat.processors.aggregators.llm_context import LLMContextMessage

from processors.answering.context_window import UNNOTICED_S, Memory

FIRST, SECOND, THIRD = "Eight of spades", "four of clubs", "seven of hearts"


class Line:
    """The agent's words that a caller has heard."""

    def __init__(self) -> None:
        self.heard_s = 4.0  # the greeting
        self.memory = Memory(heard_s=lambda: self.heard_s)

    def asks(self, words: str) -> None:
        self.memory.add_message({"role": "user", "content": words})

    @property
    def messages(self) -> list[Any]:
        return list(self.memory.messages)


def user(words: str) -> dict[str, str]:
    return {"role": "user", "content": words}


def test_words_added_before_the_caller_heard_anything_join_their_message() -> None:
    line = Line()
    for words in (FIRST, SECOND, THIRD):
        line.asks(words)

    assert line.messages == [user(f"{FIRST} {SECOND} {THIRD}")]


@pytest.mark.parametrize(
    ("heard_s", "messages"),
    [
        (UNNOTICED_S, [user(f"{FIRST} {SECOND}")]),
        (UNNOTICED_S + 0.01, [user(FIRST), user(SECOND)]),
    ],
    ids=["a click", "a filler"],
)
def test_words_after_hearing_the_agent_are_a_new_message(
    heard_s: float, messages: list[dict[str, str]]
) -> None:
    line = Line()
    line.asks(FIRST)
    line.heard_s += heard_s
    line.asks(SECOND)

    assert line.messages == messages


@pytest.mark.parametrize("role", ["assistant", "system", "tool"])
def test_a_message_between_two_of_the_callers_keeps_them_apart(role: str) -> None:
    line = Line()
    line.asks(FIRST)
    between: Any = {"role": role, "content": "Noted."}
    line.memory.add_message(between)
    line.asks(SECOND)

    assert line.messages == [user(FIRST), between, user(SECOND)]


def test_words_are_not_joined_to_another_sides_message() -> None:
    line = Line()
    line.asks(FIRST)
    summary: Any = user("Summary of the call so far: cards.")
    line.memory.set_messages([summary])
    line.asks(SECOND)

    assert line.messages == [summary, user(SECOND)]


def test_an_early_question_equals_the_later_one_and_changes_nothing() -> None:
    line = Line()
    line.asks(FIRST)
    expected = line.memory.with_words(SECOND)

    assert line.messages == [user(FIRST)]
    line.asks(SECOND)
    assert line.messages == expected


def test_the_length_before_a_replacement_is_known() -> None:
    line = Line()
    line.asks(FIRST)
    before = line.memory.tokens
    line.memory.set_messages([])

    assert (line.memory.tokens_before, line.memory.tokens) == (before, 0)


@pytest.mark.parametrize(
    ("roles", "unanswered"),
    [
        ([], False),
        (["assistant"], False),
        (["user"], True),
        (["user", "assistant"], False),
        (["assistant", "tool"], True),
        (["user", "developer"], False),
        (["user", "system"], True),
    ],
)
def test_the_model_speaks_after_a_callers_words_and_a_tools_result(
    roles: list[str],
    unanswered: bool,  # noqa: FBT001 - a table
) -> None:
    line = Line()
    for role in roles:
        line.memory.add_message(cast("LLMContextMessage", {"role": role, "content": "words"}))

    assert line.memory.unanswered is unanswered
