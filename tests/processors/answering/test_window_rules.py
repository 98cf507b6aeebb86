"""Cutting a conversation to its window."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.answering.window_rules import CUT, SUMMARY, Message, estimate, fit

SYSTEM: Message = {"role": "system", "content": "Be kind."}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def tool_use(number: int, result: str = "done") -> list[Message]:
    call = {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": result},
    ]


def tokens(messages: Sequence[Message]) -> int:
    return sum(map(estimate, messages))


def ids(messages: Sequence[Message], key: str) -> list[str]:
    if key == "calls":
        return [call["id"] for message in messages for call in message.get("tool_calls", ())]
    return [message["tool_call_id"] for message in messages if message["role"] == "tool"]


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """System, perhaps a summary, then turns with answers and tools in any order."""
    messages: list[Message] = [SYSTEM]
    if draw(st.booleans()):
        messages.append(user(SUMMARY + draw(st.text(max_size=80))))
    number = 0
    for _ in range(draw(st.integers(min_value=0, max_value=6))):
        messages.append(user("u" + draw(st.text(max_size=120))))
        for kind in draw(st.lists(st.sampled_from(["answer", "tool", "note"]), max_size=3)):
            number += 1
            text = draw(st.text(max_size=120))
            step: dict[str, list[Message]] = {
                "answer": [assistant(text)],
                "tool": tool_use(number, text),
                "note": [{"role": "developer", "content": text}],
            }
            messages += step[kind]
    return messages


def test_a_conversation_that_fits_is_unchanged() -> None:
    messages = [SYSTEM, user("Hello"), assistant("Hi.")]

    fitted = fit(messages, 1_000)

    assert list(fitted.messages) == messages
    assert not fitted.shortened


def test_the_oldest_turns_are_dropped_first_and_whole() -> None:
    turns = [[user(f"question {n}"), assistant("x" * 100)] for n in range(10)]
    messages = [SYSTEM, *(item for turn in turns for item in turn)]

    fitted = fit(messages, 100)

    assert list(fitted.messages) == [SYSTEM, *turns[8], *turns[9]]
    assert fitted.tokens_before == tokens(messages)
    assert fitted.tokens_after == tokens(fitted.messages) <= 100


def test_the_summary_outlives_older_turns() -> None:
    summary = user(SUMMARY + "Ann wants Tuesday.")
    messages = [SYSTEM, summary, user("x" * 200), assistant("y" * 200), user("When?")]

    assert list(fit(messages, 60).messages) == [SYSTEM, summary, user("When?")]


def test_a_newest_turn_that_is_too_long_is_shortened_and_marked() -> None:
    fitted = fit([SYSTEM, user("old"), user("word " * 2_000)], 100)

    assert [message["role"] for message in fitted.messages] == ["system", "user"]
    assert fitted.messages[1]["content"].startswith("word word")
    assert fitted.messages[1]["content"].endswith(CUT)
    assert 90 <= fitted.tokens_after <= 100


def test_a_long_tool_result_is_shortened_before_the_callers_words() -> None:
    messages = [SYSTEM, user("What do you have?"), *tool_use(1, "item, " * 5_000)]

    fitted = fit(messages, 120)

    assert [message["role"] for message in fitted.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert fitted.messages[1]["content"] == "What do you have?"


def test_a_window_smaller_than_the_system_message_still_has_a_question() -> None:
    fitted = fit([{"role": "system", "content": "s" * 4_000}, user("Hello there, my friend")], 10)

    assert [message["role"] for message in fitted.messages] == ["system", "user"]


def test_other_scripts_count_for_more_tokens_than_english() -> None:
    assert estimate(user("hello world!")) == 4 + 3
    assert estimate(user("你好")) == 4 + 2
    assert estimate({"role": "assistant", "tool_calls": tool_use(1)[0]["tool_calls"]}) > 4


@given(conversations(), st.integers(min_value=0, max_value=300))
def test_every_cut_is_a_valid_conversation(messages: list[Message], limit: int) -> None:
    fitted = fit(messages, limit)
    kept = fitted.messages

    assert [message for message in kept if message["role"] == "system"] == [SYSTEM]
    assert ids(kept, "calls") == ids(kept, "results")
    said = [message for message in messages if message["role"] == "user"]
    if said:
        assert kept[-1]["role"] == messages[-1]["role"] or kept[-1]["role"] == "user"
        assert [message for message in kept if message["role"] == "user"]
    assert fitted.tokens_after <= fitted.tokens_before


@given(conversations(), st.integers(min_value=40, max_value=300))
def test_a_cut_fits_its_window_unless_the_callers_words_alone_do_not(
    messages: list[Message], limit: int
) -> None:
    fitted = fit(messages, limit)

    assert fitted.tokens_after <= limit
    assert fit(fitted.messages, limit).messages == fitted.messages


@given(conversations(), st.integers(min_value=40, max_value=300))
def test_kept_messages_stay_in_order(messages: list[Message], limit: int) -> None:
    def mark(message: Message) -> tuple[Any, ...]:
        content = str(message.get("content") or "")
        return message["role"], message.get("tool_call_id"), content[:1]

    old = iter([mark(item) for item in messages])

    for item in fit(messages, limit).messages:
        wanted = mark(item)
        assert any(wanted[:2] == candidate[:2] for candidate in old)
