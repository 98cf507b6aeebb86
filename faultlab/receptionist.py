"""The scripted receptionist as a language model: messages and tools in, an answer out; pure.

What it remembers is worked out anew from the messages each time, as a model does. It also does
what models do around a conversation: it calls the tools that are offered and answers their results
in words, it goes on with an answer that was cut off, and it summarises.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from faultlab import script
from faultlab.script import Answer, Notes
from faultlab.understood import Understood, understand

Message: TypeAlias = Mapping[str, Any]

CONTINUATIONS: Final = ("clean", "no_space", "overlap", "repeat_all")
OVERLAP_WORDS: Final = 2

_CUT_OFF: Final = re.compile(
    r"\bcut (?:off|short)\b|\bbroken off\b|\binterrupted\b|\bcontinue\b|\bcarry on\b|\bgo on\b"
    r"|\balready (?:said|spoken|heard|been)\b|\bcomes next\b"
)
_SUMMARISE: Final = re.compile(r"\bsummari[sz](?:e|ing|ation)\b")
_SUMMARY_FOLLOWS: Final = re.compile(
    r"\bsummary of\b|\bsummary:|\bspoke with the reception\b", re.I
)
_QUOTED: Final = re.compile(r"[\"\u201c](.+)[\"\u201d]", re.DOTALL)
_FAILED: Final = re.compile(r"\berror\b|\bfail|\btime[d]?[ -]?out\b|\bunavailable\b|\bcancelled\b")
_SPOKEN_RESULT_CHARS: Final = 160  # two sentences; a result may be a whole page


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a tool: its name and its arguments as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model answers: words, calls of tools, or both."""

    text: str = ""
    calls: tuple[Call, ...] = ()


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
        continuation: How an answer that was cut off is gone on with: `clean` (the rest, with its
            leading space), `no_space` (without it), `overlap` (the last words again, then the
            rest), `repeat_all` (the whole answer from the top).
    """
    if not messages:
        return Reply(text=script.GREETING)
    if _asks_for_summary(messages):
        return Reply(text=summary(messages))
    if (cut := _cut_off(messages)) is not None:
        whole = _answer(messages[: cut.at], tools)
        if _common(whole.text.split(), cut.said.split()):
            return _rest(whole, said=cut.said, continuation=continuation)
    return _answer(messages, tools)


def text_of(message: Message) -> str:
    """Return a message's text; its content may be a text, a list of parts or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text", "") for part in content if isinstance(part, Mapping))
        return " ".join(str(part) for part in parts if part)
    return ""


def notes_of(messages: Sequence[Message]) -> Notes:
    """Return what the receptionist remembers of a conversation, the last utterance included."""
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
    """Return a summary of the conversation that a request carries as text or as messages."""
    turns = [message for message in messages if message.get("role") == "user"]
    lines = [
        {"role": "user", "content": line.partition(":")[2]}
        for message in turns
        for line in text_of(message).splitlines()
        if re.match(r"\s*(?:user|caller)\s*:", line, re.IGNORECASE)
    ]
    notes = notes_of(lines or turns)
    wants = [understand(text_of(each)).want for each in lines or turns]
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
        return Reply(text=_result_in_words(messages))
    spoken = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    if not spoken:
        return Reply(text=script.GREETING)
    before = notes_of(messages[: spoken[-1]])
    heard = understand(text_of(messages[spoken[-1]]))
    if heard.want == "repeat":
        before = replace(before, last=_last_said(messages[: spoken[-1]], before))
    _, answer = script.step(before, heard)
    return _with_tools(answer, notes=notes_of(messages), heard=heard, tools=tools)


def _with_tools(
    answer: Answer, *, notes: Notes, heard: Understood, tools: Sequence[Mapping[str, Any]]
) -> Reply:
    offered = {name: tool for tool in tools if (name := _tool_name(tool))}
    name = answer.tool or _owners_tool(heard, offered)
    if name in offered:
        call = Call(name=name, arguments=_arguments(offered[name], notes=notes, heard=heard))
        return Reply(text=answer.text if answer.tool else "", calls=(call,))
    return Reply(text=answer.text or answer.without_tool)


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""


def _owners_tool(heard: Understood, offered: Mapping[str, Any]) -> str:
    """Return a tool whose name shares a word with the utterance: an owner's own tool."""
    words = {word.removesuffix("s") for word in heard.words.split() if len(word) >= 4}
    for name in offered:
        if name in ("end_call", "transfer_to_person", "request_callback"):
            continue
        parts = {part.removesuffix("s") for part in name.lower().split("_") if len(part) >= 4}
        if parts & words:
            return name
    return ""


def _arguments(tool: Mapping[str, Any], *, notes: Notes, heard: Understood) -> str:
    schema = tool["function"].get("parameters") or {}
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    filled = {
        key: value
        for key, form in properties.items()
        if (value := _argument(key, form, notes=notes, heard=heard)) != "" or key in required
    }
    return json.dumps(filled, separators=(",", ":"), ensure_ascii=False)


_PLAIN_ARGUMENTS: Final[Mapping[str, Any]] = {
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}


def _argument(key: str, form: Mapping[str, Any], *, notes: Notes, heard: Understood) -> Any:
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


def _last_said(messages: Sequence[Message], notes: Notes) -> str:
    """Return what to repeat: what the caller heard, in full if an answer was broken off."""
    for message in reversed(messages):
        said = text_of(message).removeprefix("I said: ").strip()
        if message.get("role") == "assistant" and said:
            return notes.last if notes.last.startswith(said) else said
    return notes.last


# -- results of tools


def _result_in_words(messages: Sequence[Message]) -> str:
    result = messages[-1]
    content = text_of(result)
    if content == "IN_PROGRESS":  # Pipecat's placeholder for a result that is still to come
        return "One moment, please. I am still waiting for that."
    if _FAILED.search(content.lower()):
        return "I am sorry, that did not work just now. Shall I try something else for you?"
    name = _called(messages, str(result.get("tool_call_id", "")))
    return _DONE.get(name) or f"Thank you for waiting. {_spoken(content)} {script.ELSE}"


_DONE: Final = {
    "end_call": script.GOODBYE,
    "transfer_to_person": (
        "I have passed that on. Somebody will be with you soon, so please stay on the line."
    ),
    "request_callback": f"That is noted. Somebody will call you back. {script.ELSE}",
}


def _called(messages: Sequence[Message], call_id: str) -> str:
    for message in reversed(messages):
        for call in message.get("tool_calls") or ():
            if call.get("id") == call_id:
                return str(call.get("function", {}).get("name", ""))
    return ""


def _spoken(content: str) -> str:
    try:
        value = json.loads(content)
    except ValueError:
        value = content
    if isinstance(value, Mapping):
        words = ", ".join(f"{key.replace('_', ' ')} {each}" for key, each in value.items())
    else:
        words = str(value)
    return f"The answer is: {words[:_SPOKEN_RESULT_CHARS]}."


# -- an answer that was cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class _CutOff:
    """Where the answer that was cut off began, and what of it was said."""

    at: int
    said: str


def _cut_off(messages: Sequence[Message]) -> _CutOff | None:
    """Return the answer that the last messages ask to go on with, if they do.

    What was said may stand in an assistant message, with or without a note after it, or quoted in
    the note.
    """
    last = messages[-1]
    if last.get("role") == "assistant":
        return _CutOff(at=len(messages) - 1, said=text_of(last))
    if last.get("role") == "tool" or not _CUT_OFF.search(text_of(last).lower()):
        return None
    before = messages[-2] if len(messages) > 1 else {}
    if before.get("role") == "assistant" and text_of(before):
        return _CutOff(at=len(messages) - 2, said=text_of(before))
    quoted = _QUOTED.search(text_of(last))
    return _CutOff(at=len(messages) - 1, said=quoted[1]) if quoted else None


def _rest(whole: Reply, *, said: str, continuation: str) -> Reply:
    words, heard = whole.text.split(), said.split()
    count = _common(words, heard)
    match continuation:
        case "repeat_all":
            text = whole.text
        case "overlap":
            text = " ".join(words[max(0, count - OVERLAP_WORDS) :])
        case "no_space":
            text = " ".join(words[count:])
        case _:
            text = " ".join(["", *words[count:]]) if count < len(words) else ""
    return replace(whole, text=text)


def _common(words: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many words of the answer were said; a half word at the end does not count."""
    count = 0
    for word, said in zip(words, heard, strict=False):
        if _bare(word) != _bare(said):
            break
        count += 1
    return count


def _bare(word: str) -> str:
    return re.sub(r"\W", "", word).lower()


def _asks_for_summary(messages: Sequence[Message]) -> bool:
    first = messages[0]
    instructs = first.get("role") in ("system", "developer")
    return instructs and bool(_SUMMARISE.search(text_of(first).lower()[:400]))
