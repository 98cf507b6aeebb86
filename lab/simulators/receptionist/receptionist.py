"""The scripted receptionist as a language model: messages and tools in, an answer out; pure.

Like a model, it derives its memory from the messages each time. It also does what models do around
a conversation: it calls offered tools and answers their results in words, continues an answer that
was cut off, and reports a call's result.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lab.simulators.receptionist import phrases, script
from lab.simulators.receptionist.cut_off import cut_off, rest_of, words_said
from lab.simulators.receptionist.messages import Message, text_of
from lab.simulators.receptionist.notes import Notes, ReceptionistAnswer
from lab.simulators.receptionist.outcome import asks_for_outcome, outcome
from lab.simulators.receptionist.tool_use import ToolRequest, call_for, result_in_words
from lab.simulators.receptionist.understood import Understood, understand

_SUMMARISE: Final = re.compile(r"\bsummari[sz](?:e|ing|ation)\b")
_SUMMARY_FOLLOWS: Final = re.compile(
    r"\bsummary of\b|\bsummary:|\bspoke with the reception\b", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's answer: words, tool calls, or both."""

    text: str = ""
    calls: tuple[ToolRequest, ...] = ()


def reply(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    continuation: str = "clean",
) -> Reply:
    """Return the answer to a conversation.

    Args:
        messages: Chat completion messages, oldest first.
        tools: Chat completion tools, `{"type": "function", "function": {...}}`.
        continuation: The form of a continued answer; see `cut_off.rest_of`.
    """
    if not messages:
        return Reply(text=phrases.GREETING)
    if asks_for_outcome(messages):
        return Reply(text=outcome(messages))
    if _asks_for_summary(messages):
        return Reply(text=summary(messages))
    if (cut := cut_off(messages)) is not None:
        whole = _answer(messages[: cut.at], tools)
        count = words_said(whole.text, cut.said)
        if count or whole.text.startswith(cut.said.strip()):
            return replace(whole, text=rest_of(whole.text, count=count, continuation=continuation))
    return _answer(messages, tools)


def notes_of(messages: Sequence[Message]) -> Notes:
    """Return the receptionist's memory of a conversation, including the last utterance."""
    notes = Notes()
    for message in messages:
        text = text_of(message)
        if message.get("role") != "assistant" and _SUMMARY_FOLLOWS.search(text):
            notes = _notes_of_summary(text)
        elif message.get("role") == "user" and text.strip():
            notes, _ = script.step(notes, understand(text))
    return notes


def _notes_of_summary(text: str) -> Notes:
    notes = Notes()
    for sentence in text.split("."):
        heard = understand(sentence)
        if heard.slots:
            notes, _ = script.step(notes, heard)
    return notes


def summary(messages: Sequence[Message]) -> str:
    """Return a summary of the conversation in a request, as text or as messages."""
    turns = [message for message in messages if message.get("role") == "user"]
    lines = [
        {"role": "user", "content": line.partition(":")[2]}
        for message in turns
        for line in text_of(message).splitlines()
        if re.match(r"\s*(?:user|caller)\s*:", line, re.IGNORECASE)
    ]
    notes = notes_of(lines or turns)
    wants = [understand(text_of(turn)).want for turn in lines or turns]
    asked = ", ".join(dict.fromkeys(want for want in wants if want in _ASKED_ABOUT))
    return " ".join(
        part
        for part in (
            "The caller spoke with the reception.",
            f"The caller asked about: {asked}." if asked else "",
            f"I would like to book {notes.appointment}." if notes.service or notes.day else "",
            f"My name is {notes.name}." if notes.name else "",
        )
        if part
    )


_ASKED_ABOUT: Final = ("hours", "price", "address", "person", "callback")


# -- an answer


def _answer(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Reply:
    if messages and messages[-1].get("role") == "tool":
        return Reply(text=result_in_words(messages))
    spoken = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    if not spoken:
        return Reply(text=phrases.GREETING)
    before = notes_of(messages[: spoken[-1]])
    heard = understand(text_of(messages[spoken[-1]]))
    if heard.want == "repeat":
        before = replace(before, last=_last_said(messages[: spoken[-1]], before))
    _, answer = script.step(before, heard)
    return _with_tools(answer, notes=notes_of(messages), heard=heard, tools=tools)


def _with_tools(
    answer: ReceptionistAnswer,
    *,
    notes: Notes,
    heard: Understood,
    tools: Sequence[Mapping[str, Any]],
) -> Reply:
    call = call_for(answer.tool, heard, notes=notes, tools=tools)
    if call is None:
        return Reply(text=answer.text or answer.without_tool)
    return Reply(text=answer.text if answer.tool else "", calls=(call,))


def _last_said(messages: Sequence[Message], notes: Notes) -> str:
    """Return the text to repeat: what the caller heard, or all of it if it was interrupted."""
    for message in reversed(messages):
        said = text_of(message).removeprefix("I said: ").strip()
        if message.get("role") == "assistant" and said:
            return notes.last if notes.last.startswith(said) else said
    return notes.last


def _asks_for_summary(messages: Sequence[Message]) -> bool:
    first = messages[0]
    instructs = first.get("role") in ("system", "developer")
    return instructs and bool(_SUMMARISE.search(text_of(first).lower()[:400]))
