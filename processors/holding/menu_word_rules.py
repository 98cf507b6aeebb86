"""What can be said to the menu: the few words, and what each of them means."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias


class Choice(StrEnum):
    """What the menu offers."""

    CALLBACK = "callback"
    MESSAGE = "message"
    PERSON = "person"


class Consent(StrEnum):
    """An answer to a question of ours."""

    YES = "yes"
    NO = "no"


Meaning: TypeAlias = Choice | Consent | str
"""What the caller meant: a choice by its name, a reply, or the key with that digit."""

DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PHRASES: Final[Mapping[str, Meaning]] = {
    **{word: str(digit) for digit, word in enumerate(DIGITS)},
    "callback": Choice.CALLBACK,
    "call me back": Choice.CALLBACK,
    "message": Choice.MESSAGE,
    "person": Choice.PERSON,
    "yes": Consent.YES,
    "no": Consent.NO,
}
LANGUAGE: Final = "en"  # of the phrases, and of the one model that comes with us


def heard_here(language: str) -> bool:
    """Say whether the phrases are in this language, a tag such as `en-GB`."""
    return language.partition("-")[0].lower() == LANGUAGE
