"""The receptionist's tool calls, and the words for their results."""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.receptionist import phrases
from lab.simulators.receptionist.notes import Message, Notes, text_of
from lab.simulators.receptionist.understood import Understood

OWN_TOOLS: Final = ("end_call", "transfer_to_person", "request_callback")

_FAILED: Final = re.compile(r"\berror\b|\bfail|\btime[d]?[ -]?out\b|\bunavailable\b|\bcancelled\b")
_CONFIRMATION_QUESTION: Final = re.compile(r"Shall we call you back on [^?]{1,80}\?")
_SPOKEN_RESULT_CHARS: Final = 160  # two sentences; a result may be a whole page


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """A tool call: its name and its arguments as JSON."""

    name: str
    arguments: str


def call_for(
    wanted: str, heard: Understood, *, notes: Notes, tools: Sequence[Mapping[str, Any]]
) -> ToolRequest | None:
    """Return the tool call for an utterance, if a suitable tool is offered.

    Args:
        wanted: The tool that the script calls; if "", an owner's tool that the utterance mentions.
        heard: The utterance.
        notes: The known facts, for the arguments.
        tools: Chat completion tools.
    """
    offered = {name: tool for tool in tools if (name := _tool_name(tool))}
    name = wanted or _owners_tool(heard, offered)
    if name not in offered:
        return None
    return ToolRequest(
        name=name, arguments=_filled_arguments(offered[name], notes=notes, heard=heard)
    )


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""


def _owners_tool(heard: Understood, offered: Iterable[str]) -> str:
    """Return an owner's own tool whose name shares a word with the utterance, or an empty text."""
    words = {word.removesuffix("s") for word in heard.words.split() if len(word) >= 4}
    for name in offered:
        if name in OWN_TOOLS:
            continue
        parts = {part.removesuffix("s") for part in name.lower().split("_") if len(part) >= 4}
        if parts & words:
            return name
    return ""


def _filled_arguments(tool: Mapping[str, Any], *, notes: Notes, heard: Understood) -> str:
    """Return arguments as JSON: all that are required, and others whose value is not empty."""
    schema = tool["function"].get("parameters") or {}
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    filled = {
        key: value
        for key, form in properties.items()
        if (value := _fitting_value(key, form, notes=notes, heard=heard)) != "" or key in required
    }
    return json.dumps(filled, separators=(",", ":"), ensure_ascii=False)


_PLAIN_ARGUMENTS: Final[Mapping[str, Any]] = {
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}


def _fitting_value(key: str, form: Mapping[str, Any], *, notes: Notes, heard: Understood) -> Any:
    """Return a value that fits the type, or else the key: a known fact, or all words heard."""
    if form.get("enum"):
        return form["enum"][0]
    if form.get("type") in _PLAIN_ARGUMENTS:
        return _PLAIN_ARGUMENTS[form["type"]]
    known = {
        r"number|phone": notes.number or "the number of this call",
        r"when|time|day|date": " ".join(part for part in (heard.day, heard.time) if part)
        or "as soon as possible",
        r"name": notes.name,
    }
    found = next((value for words, value in known.items() if re.search(words, key.lower())), None)
    return heard.words if found is None else found


def result_in_words(messages: Sequence[Message]) -> str:
    """Return the answer to the last message, which is a tool's result."""
    result = messages[-1]
    content = text_of(result)
    if content == "IN_PROGRESS":  # Pipecat's placeholder for a pending result
        return "One moment, please. I am still waiting for that."
    name = _name_of_call(messages, str(result.get("tool_call_id", "")))
    if _FAILED.search(content.lower()):
        return _NOT_DONE.get(name, phrases.DID_NOT_WORK)
    if question := _CONFIRMATION_QUESTION.search(content):  # the tool demands a confirmation
        return question[0]
    return _DONE.get(name) or f"Thank you for waiting. {_as_sentence(content)} {phrases.ELSE}"


_DONE: Final = {
    "end_call": phrases.GOODBYE,
    "transfer_to_person": (
        "I have passed that on. Somebody will be with you soon, so please stay on the line."
    ),
    "request_callback": f"That is noted. Somebody will call you back. {phrases.ELSE}",
}

_NOT_DONE: Final = {
    "request_callback": f"I am sorry, I could not note that you want a call. {phrases.ELSE}",
}


def _name_of_call(messages: Sequence[Message], call_id: str) -> str:
    """Return the name of the tool that was called with this id; empty if none was."""
    for message in reversed(messages):
        for call in message.get("tool_calls") or ():
            if call.get("id") == call_id:
                return str(call.get("function", {}).get("name", ""))
    return ""


def _as_sentence(content: str) -> str:
    """Return a result as a sentence; a result that is already a sentence is unchanged."""
    try:
        value = json.loads(content)
    except ValueError:
        value = content
    if isinstance(value, Mapping) and set(value) == {"result"}:
        value = value["result"]  # a client's envelope around a plain result
    if isinstance(value, Mapping):
        words = ", ".join(f"{key.replace('_', ' ')} {item}" for key, item in value.items())
    else:
        words = str(value).strip()
    words = textwrap.shorten(words, _SPOKEN_RESULT_CHARS, placeholder="")
    if words.endswith((".", "!", "?")):
        return words if words[0].isupper() else f"The answer is: {words}"
    return f"The answer is: {words}."
