"""The choices of the outage menu, and what the caller's words mean.

All that is particular to a choice is in its entry. What is said is in `utterances.yaml`; how the
words sound, in `providers/data/menu_words.dict` and `menu_words.gram`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias, assert_never

from processors.holding.utterance_rules import Situation


class Choice(StrEnum):
    """The menu's choices."""

    CALLBACK = "callback"
    MESSAGE = "message"
    PERSON = "person"


DeskChoice: TypeAlias = Literal[Choice.CALLBACK, Choice.PERSON]
"""Choices that `ChoiceActions` carries out; the line itself records a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One choice.

    Attributes:
        key: The digit.
        words: The phrases, in `LANGUAGE`.
        question: Asks for a yes after a word, which may be misheard.
        ask_number: The same, with the caller's number, if the choice depends on it.
        confirm_number: After the key: the caller's number, and to press the key again.
        said_after: Said once it is carried out; `None` if it announces itself.
        substitute: The choice that is tried if this one fails.
    """

    key: str
    words: tuple[str, ...]
    question: Situation
    ask_number: Situation | None = None
    confirm_number: Situation | None = None
    said_after: Situation | None = None
    substitute: Choice | None = None


def _entry_of(choice: Choice) -> MenuEntry:
    """Return the entry of a choice: its key, its words, what is said for it, what replaces it."""
    match choice:
        case Choice.CALLBACK:
            return MenuEntry(
                key="1",
                words=("callback", "call me back"),
                question=Situation.ASK_CALLBACK,
                ask_number=Situation.ASK_NUMBER,
                confirm_number=Situation.CONFIRM_NUMBER,
                said_after=Situation.CALLBACK,
                substitute=Choice.MESSAGE,
            )
        case Choice.MESSAGE:
            return MenuEntry(key="2", words=("message",), question=Situation.ASK_MESSAGE)
        case Choice.PERSON:
            return MenuEntry(
                key="0",
                words=("person",),
                question=Situation.ASK_PERSON,
                substitute=Choice.CALLBACK,
            )
        case _:
            assert_never(choice)


CHOICES: Final[Mapping[Choice, MenuEntry]] = {choice: _entry_of(choice) for choice in Choice}
KEYS: Final[Mapping[str, Choice]] = {entry.key: choice for choice, entry in CHOICES.items()}


class Consent(StrEnum):
    """A reply to a confirmation."""

    YES = "yes"
    NO = "no"


Meaning: TypeAlias = Choice | Consent | str
"""The meaning of a caller's word: a choice, a reply, or a digit."""

DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PHRASES: Final[Mapping[str, Meaning]] = {
    **{word: str(digit) for digit, word in enumerate(DIGITS)},
    **{phrase: choice for choice, entry in CHOICES.items() for phrase in entry.words},
    **{reply.value: reply for reply in Consent},
}
LANGUAGE: Final = "en"  # of the phrases, and of the one model included


def is_recognised_here(language: str) -> bool:
    """Return whether the phrases are in this language; `language` is a tag such as `en-GB`."""
    return language.partition("-")[0].lower() == LANGUAGE
