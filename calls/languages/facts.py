"""The facts about each language: what all other code knows about words of a language.

Each language has one file in this folder, named by its tag. A file may leave out any key; its
language then lacks that fact, and what needs the fact does without. Keys:

- `name`: in English.
- `months`: the words for the months, in each form that follows a number.
- `numbers`: the words for a number, by number: the digits, and larger numbers that are one word.
- `repeats`: the words for several equal digits, by their number: "double five" is 55.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

FOLDER: Final = "calls.languages"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFacts:
    """The facts about one language; words are in lower case.

    Attributes:
        tag: The language as a BCP 47 tag without a region.
        name: Its name in English.
        months: The words for the months.
        numbers: The numbers by word: `{"null": 0, "eins": 1}`.
        repeats: How many equal digits a word announces: `{"doppel": 2}`.
    """

    tag: str
    name: str
    months: frozenset[str]
    numbers: Mapping[str, int]
    repeats: Mapping[str, int]

    @property
    def digits(self) -> Mapping[str, int]:
        """The words for the digits 0 to 9."""
        return {word: number for word, number in self.numbers.items() if number < 10}


def base_of(tag: str) -> str:
    """Return the language of a tag without region or script: `pt` for `pt-BR`."""
    return tag.replace("_", "-").partition("-")[0].casefold()


def language_of(tag: str) -> LanguageFacts | None:
    """Return the facts about the language of a tag such as `pt-BR`; `None` if there are none."""
    return languages().get(base_of(tag))


@cache
def languages() -> Mapping[str, LanguageFacts]:
    """Return all languages by tag. The files are part of the program, and read once."""
    found = (item for item in files(FOLDER).iterdir() if item.name.endswith(".yaml"))
    # The base loader reads every value as text: `no` is a word and a language, not "false".
    read = {
        item.name.removesuffix(".yaml"): yaml.load(item.read_text("utf-8"), _LOADER)  # noqa: S506
        for item in found
    }
    return {tag: _language(tag, values) for tag, values in sorted(read.items())}


_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _language(tag: str, values: Mapping[str, Any]) -> LanguageFacts:
    return LanguageFacts(
        tag=tag,
        name=values["name"],
        months=frozenset(values.get("months", "").split()),
        numbers=dict(_numbered(values.get("numbers", {}))),
        repeats=dict(_numbered(values.get("repeats", {}))),
    )


def _numbered(words: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield each word with its number."""
    for number, alternatives in words.items():
        yield from ((word, int(number)) for word in alternatives.split())
