"""What must not be told to everyone: numbers and words."""

from dataclasses import replace
from typing import Final

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallStarted,
    PersonWanted,
    TranscriptFinal,
)

SHORT: Final = 8  # characters of a number as it is dialled at home; five shown would be most of it


def masked(number: str) -> str:
    """Return a phone number with its middle hidden: `+15551234567` is `+1555****67`."""
    if len(number) <= 6:
        return "*" * len(number)
    return f"{number[: 2 if len(number) <= SHORT else 5]}****{number[-2:]}"


def counted(text: str) -> str:
    """Return how many words there are instead of the words."""
    return f"[{len(text.split())} words]" if text else ""


def without_numbers(entry: Entry) -> Entry:
    """Return the entry as a log may have it in which words may stand."""
    match entry.event:
        case CallStarted() as event:
            hidden = replace(event, caller=masked(event.caller), called=masked(event.called))
        case _:
            return entry  # most of them, told to several: nobody changes one
    return replace(entry, event=hidden)


def without_words(entry: Entry) -> Entry:
    """Return the entry as everyone but the call's own record may see it."""
    match entry.event:
        case TranscriptFinal() as event:
            hidden = replace(event, text=counted(event.text), alternatives=())
        case AgentSaid() as event:
            hidden = replace(event, text=counted(event.text))
        case PersonWanted() as event:
            hidden = replace(event, reason=counted(event.reason))
        case CallbackWanted() as event:
            hidden = replace(event, when=counted(event.when), reason=counted(event.reason))
        case _:
            return without_numbers(entry)
    return replace(entry, event=hidden)
