"""A summary for a person who takes over, made without a model, from the caller's last words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from calls.caller import clean
from calls.languages.facts import language_of, languages
from processors.answering.spoken_text_rules import spoken_part

LAST_UTTERANCES: Final = 2  # of the caller
MAX_CHARACTERS: Final = 240  # they take about fifteen seconds to say


def plain_summary(messages: Sequence[Mapping[str, Any]], *, reason: str, language: str) -> str:
    """Return a sentence with the caller's last words, or else with the reason for the transfer.

    Without either, it says that the caller has not said what the call is about.

    Args:
        messages: The conversation, oldest first.
        reason: The model's reason; may be empty.
        language: A tag such as `es-MX`; English if it has no texts.
    """
    facts = language_of(language)
    if facts is None or not facts.caller_said:
        facts = languages()["en"]
    by_caller = [
        text.strip()
        for message in messages
        if message.get("role") == "user" and isinstance(text := message.get("content"), str)
    ]
    words = " ".join(filter(None, by_caller[-LAST_UTTERANCES:])) or spoken_part(reason)
    if not words:
        return facts.caller_silent
    return facts.caller_said.format(words=words[-MAX_CHARACTERS:])


def transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the words of both sides, one line for each message."""
    names = {"user": "Caller", "assistant": "Agent"}
    return "\n".join(
        f"{names[role]}: {words}"
        for message in messages
        if (role := str(message.get("role"))) in names
        and isinstance(text := message.get("content"), str)
        and (words := clean(text))  # one line, so that no text can imitate the other side
    )
