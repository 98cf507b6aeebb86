"""The scripted receptionist as a language model: a pure function of messages and tools.

Like a model, it derives its memory from the messages each time. It also does other things that
models do: it calls offered tools and puts their results into words, continues an answer that was
cut off, and reports the result of a call.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from lab.simulators.receptionist import phrases, script
from lab.simulators.receptionist.notes import Message, Notes, ReceptionistAnswer, text_of
from lab.simulators.receptionist.tool_use import ToolRequest, call_for, result_in_words
from lab.simulators.receptionist.understood import Understood, understand

OUTCOME_REQUEST: Final = re.compile(
    r"one JSON object.*\"outcome\": exactly one of ([a-z0-9_, ]+)\.", re.S
)
CALL_ENDED_AT: Final = re.compile(r"call ended at (\d{4}-\d\d-\d\dT[\d:]+(?:[+-]\d\d:\d\d)?)")
OUTCOME_WORDS: Final = (
    ("do_not_call", re.compile(r"(?:not|never|stop) call|off (?:your|the) list", re.I)),
    ("callback", re.compile(r"call (?:me )?back|callback|call me (?:later|tomorrow)", re.I)),
    ("wrong_person", re.compile(r"wrong (?:number|person)", re.I)),
    ("", re.compile(r"that is right|\byes\b|confirm", re.I)),  # "": the first offered code
)
CALLBACK_HOUR: Final = 9  # of a callback tomorrow, if no time is named


def asks_for_outcome(messages: Sequence[Message]) -> bool:
    """Return whether the first message asks for a call's result."""
    return bool(messages) and OUTCOME_REQUEST.search(text_of(messages[0])) is not None


def outcome(messages: Sequence[Message]) -> str:
    """Return the result of a call, as JSON with the fields that the first message asks for."""
    asked = text_of(messages[0])
    found = OUTCOME_REQUEST.search(asked)
    codes = [word.strip() for word in (found[1] if found else "unclear").split(",")]
    lines = "\n".join(text_of(message) for message in messages[1:]).splitlines()
    said = [line.partition(":")[2].strip() for line in lines if line.startswith("Person:")]
    code = _choose_code(" ".join(said), codes)
    return json.dumps(
        {
            "summary": f"The person said: {said[-1]}" if said else "Nothing was said.",
            "outcome": code,
            "callback_at": _tomorrow_morning(asked, " ".join(said)) if code == "callback" else None,
            "notes": "",
        }
    )


def _choose_code(said: str, codes: Sequence[str]) -> str:
    """Return the first offered code whose words the person said; else `unclear`, or the last."""
    for code, words in OUTCOME_WORDS:
        wanted = code or codes[0]
        if words.search(said) and wanted in codes:
            return wanted
    return "unclear" if "unclear" in codes else codes[-1]


def _tomorrow_morning(asked: str, said: str) -> str | None:
    """Return 9:00 on the day after the call if the person said "tomorrow", otherwise `None`."""
    ended = CALL_ENDED_AT.search(asked)
    if ended is None or "tomorrow" not in said.lower():
        return None
    morning = datetime.fromisoformat(ended[1]) + timedelta(days=1)
    return morning.replace(hour=CALLBACK_HOUR, minute=0).isoformat(timespec="minutes")


CONTINUATIONS: Final = ("clean", "no_space", "overlap", "repeat_all")
OVERLAP_WORDS: Final = 2

_CONTINUE_REQUEST: Final = re.compile(
    r"\bcut (?:off|short)\b|\bbroken off\b|\binterrupted\b|\bcontinue\b|\bcarry on\b|\bgo on\b"
    r"|\balready (?:said|spoken|heard|been)\b|\bcomes next\b"
)
_QUOTED: Final = re.compile(r"[\"\u201c](.+)[\"\u201d]", re.DOTALL)
_NO_MESSAGE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """An answer that was cut off: the index of its message, and its spoken part."""

    at: int
    said: str


def find_cut_off(messages: Sequence[Message]) -> CutOff | None:
    """Return the answer that the last messages ask to continue, if any.

    The spoken part may be in an assistant message, with or without an instruction after it, or
    quoted in the instruction.
    """
    last = messages[-1]
    if last.get("role") == "assistant":
        return CutOff(at=len(messages) - 1, said=text_of(last))
    if last.get("role") == "tool" or not _CONTINUE_REQUEST.search(text_of(last).lower()):
        return None
    before = messages[-2] if len(messages) > 1 else _NO_MESSAGE
    if before.get("role") == "assistant" and text_of(before):
        return CutOff(at=len(messages) - 2, said=text_of(before))
    quoted = _QUOTED.search(text_of(last))
    return CutOff(at=len(messages) - 1, said=quoted[1]) if quoted else None


def count_words_said(whole: str, said: str) -> int:
    """Return how many words of an answer were spoken; an incomplete last word does not count."""
    pairs = zip(whole.split(), said.split(), strict=False)
    differing = (
        at for at, (word, heard) in enumerate(pairs) if _bare_word(word) != _bare_word(heard)
    )
    return next(differing, min(len(whole.split()), len(said.split())))


def continue_answer(whole: str, *, count: int, continuation: str) -> str:
    """Return a model's continuation after `count` words of an answer.

    Args:
        whole: The complete answer.
        count: The number of spoken words.
        continuation: `clean` (the rest, with its leading space), `no_space` (without it),
            `overlap` (the last words again, then the rest), `repeat_all` (the whole answer).
    """
    words = whole.split()
    match continuation:
        case "repeat_all":
            return whole
        case "overlap":
            return " ".join(words[max(0, count - OVERLAP_WORDS) :])
        case "no_space":
            return " ".join(words[count:])
        case _:
            return "".join(f" {word}" for word in words[count:])


def _bare_word(word: str) -> str:
    return re.sub(r"\W", "", word).lower()


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
        continuation: The form of a continued answer, one of `CONTINUATIONS`.
    """
    if not messages:
        return Reply(text=phrases.GREETING)
    if asks_for_outcome(messages):
        return Reply(text=outcome(messages))
    if _asks_for_summary(messages):
        return Reply(text=summary(messages))
    if (cut := find_cut_off(messages)) is not None:
        whole = _answer_by_script(messages[: cut.at], tools)
        count = count_words_said(whole.text, cut.said)
        # Only the beginning of this very answer can be continued.
        if count or whole.text.startswith(cut.said.strip()):
            return replace(
                whole, text=continue_answer(whole.text, count=count, continuation=continuation)
            )
    return _answer_by_script(messages, tools)


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
    """Return the notes that the sentences of a summary give, each taken as an utterance."""
    notes = Notes()
    for sentence in text.split("."):
        heard = understand(sentence)
        if heard.slots:
            notes, _ = script.step(notes, heard)
    return notes


def summary(messages: Sequence[Message]) -> str:
    """Return a summary of a conversation, which the request has as text or as messages."""
    turns = [message for message in messages if message.get("role") == "user"]
    lines = [
        {"role": "user", "content": line.partition(":")[2]}
        for message in turns
        for line in text_of(message).splitlines()
        if re.match(r"\s*(?:user|caller)\s*:", line, re.IGNORECASE)
    ]
    notes = notes_of(lines or turns)
    wants = [understand(text_of(turn)).want for turn in lines or turns]
    asked = ", ".join(dict.fromkeys(want for want in wants if want in _SUMMARISED_WANTS))
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


_SUMMARISED_WANTS: Final = ("hours", "price", "address", "person", "callback")


# -- an answer


def _answer_by_script(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Reply:
    """Return the script's answer to the caller's last message, or to a tool's result."""
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
    """Return the answer with a tool's call if one is offered; else with its other words.

    An owner's tool, which the script does not name, replaces the words.
    """
    call = call_for(answer.tool, heard, notes=notes, tools=tools)
    if call is None:
        return Reply(text=answer.text or answer.without_tool)
    return Reply(text=answer.text if answer.tool else "", calls=(call,))


def _last_said(messages: Sequence[Message], notes: Notes) -> str:
    """Return the last answer, to repeat it: as it was heard, or all of it if it was cut off."""
    for message in reversed(messages):
        said = text_of(message).removeprefix("I said: ").strip()
        if message.get("role") == "assistant" and said:
            return notes.last if notes.last.startswith(said) else said
    return notes.last


def _asks_for_summary(messages: Sequence[Message]) -> bool:
    first = messages[0]
    instructs = first.get("role") in ("system", "developer")
    return instructs and bool(_SUMMARISE.search(text_of(first).lower()[:400]))
