"""A call by text: the agent's words, its tool calls, and what a failing model leaves."""

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bot.call.text_call import open_text_call
from calls.caller import LIMIT
from configuration.settings import Settings
from tests.bot.tools import typed_functions
from tests.providers.scripted_model import Served, choosing, chunk, streaming, writing
from transports.leg import LegFacts

pytestmark = pytest.mark.virtual_time

CALLER = "+15550142"
ORDER = {"size": "small", "crust": "thin", "toppings": ["ham"], "day": "2026-05-03"}
AGENT = {
    "greeting": "Hello, the bakery.",
    "disclosure": "I am a machine.",
    "farewell": "Goodbye.",
    "tools": [{"entry_point": f"{typed_functions.__name__}:order"}],
    "destinations": {"desk": {"number": "+15550100"}},
}
OTHERS = {stage: [{"kind": "local", "name": stage}] for stage in ("stt", "tts")}
Shown = list[tuple[str, str]]


def calling(*calls: tuple[str, dict[str, Any]]) -> Sequence[dict[str, Any]]:
    pieces = [
        {
            "index": index,
            "id": f"{name}{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(calls)
    ]
    return [chunk({"tool_calls": pieces}), chunk({}, "tool_calls")]


def saying(text: str) -> Sequence[dict[str, Any]]:
    return [chunk({"content": text}), chunk({}, "stop")]


def last(body: dict[str, Any]) -> dict[str, Any]:
    return body["messages"][-1]


async def shown(*models: Served, lines: Sequence[str], **agent: Any) -> tuple[Shown, bool]:
    """Return what a conversation shows, and whether the last line was answered and left it open."""
    seen: Shown = []
    async with AsyncExitStack() as opened:
        urls = [await opened.enter_async_context(model) for model in models]
        ladder = [
            {"name": f"m{number}", "kind": "openai", "url": url, "api_key": "KEY"}
            for number, url in enumerate(urls)
        ]
        tree = {"agent": {**AGENT, **agent}, "stages": {"llm": ladder, **OTHERS}}
        facts = LegFacts(transport="text", sample_rate_hz=8000, caller=CALLER)
        settings = Settings.model_validate(tree)
        call = await opened.enter_async_context(
            open_text_call(settings, facts, lambda what, text: seen.append((what, text)))
        )
        call.greet()
        goes_on = True
        for line in lines:
            goes_on = await call.say(line)
        return seen, goes_on and not call.failed


async def test_the_agent_answers_with_its_instructions_and_all_that_was_said() -> None:
    asked: list[dict[str, Any]] = []

    def choose(body: dict[str, Any]) -> Sequence[Any]:
        asked.append(body)
        return saying(f"**You** said {last(body)['content']}.")

    seen, goes_on = await shown(
        choosing(choose), lines=["one\n", "\n", "two\x1b\n"], instructions="You bake."
    )

    assert seen == [
        ("agent", "I am a machine."),
        ("agent", "Hello, the bakery."),
        ("agent", "You said one."),  # cleaned as for a voice
        ("agent", "You said two."),
    ]
    assert goes_on
    said = [(item["role"], item.get("content")) for item in asked[-1]["messages"]]
    assert said[0][1].startswith("You bake.")
    assert said[1:] == [
        ("assistant", "I am a machine."),
        ("assistant", "Hello, the bakery."),
        ("user", "one"),
        ("assistant", "You said one."),
        ("user", "two"),
    ]
    tools = {tool["function"]["name"] for tool in asked[-1]["tools"]}
    assert tools == {"order", "end_call", "request_callback", "transfer_to_person"}


async def test_tool_calls_are_shown_with_arguments_and_results_and_checked_as_in_a_call() -> None:
    def choose(body: dict[str, Any]) -> Sequence[Any]:
        if last(body)["role"] == "tool":
            return saying("Done.")
        wrong = {**ORDER, "size": "huge"}
        return [chunk({"content": "Let me see."}), *calling(("order", ORDER), ("order", wrong))]

    seen, goes_on = await shown(choosing(choose), lines=["A pizza, please."])

    kinds = [what for what, _ in seen]
    assert kinds[2:] == ["agent", *kinds[3:7], "agent"]
    assert sorted(kinds[3:7]) == ["result", "result", "tool", "tool"]
    assert ("tool", f"order {json.dumps(ORDER)}") in seen
    results = [text for what, text in seen if what == "result"]
    assert sum("error" in text and "size" in text for text in results) == 1
    assert seen[-1] == ("agent", "Done.")
    assert goes_on


@pytest.mark.parametrize("words", ["", "See you.", "I shall end this.</think>"])
async def test_a_goodbye_ends_the_call_and_is_shown_once(words: str) -> None:
    before = [chunk({"content": f"{word} "}) for word in words.split()]
    seen, goes_on = await shown(
        streaming(*before, *calling(("end_call", {"goodbye": "Bye."}))), lines=["Bye.", "Still?"]
    )

    goodbye = "See you." if words == "See you." else "Bye."
    assert [text for what, text in seen if what == "agent"][2:] == [goodbye]
    assert not goes_on


async def test_nobody_is_connected_and_nothing_is_kept() -> None:
    def choose(body: dict[str, Any]) -> Sequence[Any]:
        if last(body)["role"] == "tool":
            return saying("Is that right?")
        if last(body)["content"] == "A person!":
            return calling(("transfer_to_person", {"destination": "desk"}))
        return calling(("request_callback", {"confirmed": last(body)["content"] == "Yes."}))

    seen, goes_on = await shown(choosing(choose), lines=["Call me.", "Yes.", "A person!"])

    results = [text for what, text in seen if what == "result"]
    assert " ".join(CALLER) in results[0]
    assert "is noted" in results[1]
    assert "is being connected" in results[2]
    assert goes_on


async def test_the_next_model_continues_and_every_word_is_shown_once() -> None:
    broken = streaming(chunk({"content": "We open at "}), chunk({"content": "ni"}), resets=True)
    seen, goes_on = await shown(broken, writing("We open at nine.", finish="stop"), lines=["When?"])

    assert [text for what, text in seen if what == "agent"][2:] == ["We open at nine."]
    assert [what for what, _ in seen].count("failed") == 1
    assert goes_on


async def test_a_line_without_an_answer_is_told_and_the_next_one_is_asked() -> None:
    hangs = writing(finish=None)
    seen, was_answered = await shown(hangs, lines=["Hello?", "Hello?"])

    assert [text for what, text in seen if what == "failed"].count(
        "no model has answered; in a call, the outage menu begins"
    ) == 2
    assert not was_answered


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Dr. Smith is in room 2. He can see you at", "Dr. Smith is in room 2."),
        ("And on Sunday we", None),
    ],
)
async def test_a_sentence_that_no_model_finishes_is_neither_shown_nor_remembered(
    written: str, kept: str | None
) -> None:
    asked: list[dict[str, Any]] = []

    def choose(body: dict[str, Any]) -> Sequence[Any]:
        asked.append(body)
        if "Thanks." in last(body)["content"]:
            return saying("Bye.")
        words = [chunk({"content": f"{word} "}) for word in written.split(" ")]
        return [*words, {"error": {"code": 503, "message": "overloaded"}}]

    seen, _ = await shown(choosing(choose), lines=["When?", "Thanks."])

    shown_words = [text for what, text in seen if what == "agent"][2:]
    assert shown_words == [*([kept] if kept else []), "Bye."]
    remembered = [item["content"] for item in asked[-1]["messages"] if item["role"] == "assistant"]
    assert remembered[2:] == ([kept] if kept else [])


async def test_a_line_is_cut_to_the_length_of_a_turn() -> None:
    asked: list[str] = []

    def choose(body: dict[str, Any]) -> Sequence[Any]:
        asked.append(last(body)["content"])
        return saying("Yes.")

    await shown(choosing(choose), lines=["a" * 50_000])

    assert asked == ["a" * LIMIT]


async def test_words_are_cleaned_as_the_agent_says() -> None:
    seen, _ = await shown(
        writing("**Yes**", finish="stop"), lines=["Open?"], spoken_text={"markdown": False}
    )

    assert seen[-1] == ("agent", "**Yes**")
