"""The facts about each language: what all other code knows about words of a language.

Each language has one file in this folder, named by its tag. A file may leave out any key; its
language then lacks that fact, and what needs the fact does without. Keys:

- `name`: in English. `region`: the language as carriers name it.
- `caller_said`, `caller_silent`: what a person hears before a transfer if no model can write it.
- `months`: the words for the months, in each form that follows a number.
- `ordinal_after`, `ordinal_before`, `abbreviations`, `endings`, `before_number`, `closing`,
  `words`, `one_letter`:  whether a full stop ends a sentence (`sentence_rules.py`).
- `backchannels`: what a listener says while another speaks, separated by `|`.
- `dictated_leads` (a pattern), `dictated_joins`, `dictated_counts` and `dictated_letters`: words
  around a dictated number or name. `dictated_ordinary`: words of `numbers` with another meaning.
- `answers`: words with which people pick up. `machines`: what people and machines say when they
  answer, as patterns with points (`processors/answerer/phrase_rules.py`).
- `numbers`: the words for a number, by number: the digits, and larger numbers that are one word.
- `repeats`: the words for several equal digits, by their number: "double five" is 55.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
        region: The language with the region that carriers expect, such as `de-DE`.
        caller_said: A sentence with the caller's words in place of `{words}`.
        caller_silent: A sentence that says that the caller said nothing.
        months: The words for the months.
        ordinal_after: Words before an ordinal, in languages that write it as "3.".
        ordinal_before: Words after an ordinal, besides the months.
        abbreviations: Abbreviations that end no sentence; with inner stops: `z.b`.
        endings: The last letters of words that are abbreviations, such as `str`.
        before_number: Words that are abbreviations if a number follows.
        closing: Abbreviations that may end a sentence.
        words: Words of `before_number` that are often a sentence of their own.
        one_letter: Words of one letter that may end a sentence.
        backchannels: What a listener says while another speaks.
        dictated_leads: A pattern of words before a dictated number or name.
        dictated_joins: Words inside an address or a code: "at".
        dictated_counts: Words before a number that is a time or an amount: "at five".
        dictated_letters: Words of one letter, which are spelled only after other letters.
        dictated_ordinary: Words that are numbers only after another digit: "on" is ten in Turkish.
        answers: Words with which people pick up.
        machines: Patterns by what they indicate, with their points.
        numbers: The numbers by word: `{"null": 0, "eins": 1}`.
        repeats: How many equal digits a word announces: `{"doppel": 2}`.
    """

    tag: str
    name: str
    region: str = ""
    caller_said: str = ""
    caller_silent: str = ""
    months: frozenset[str] = frozenset()
    ordinal_after: frozenset[str] = frozenset()
    ordinal_before: frozenset[str] = frozenset()
    abbreviations: frozenset[str] = frozenset()
    endings: frozenset[str] = frozenset()
    before_number: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    one_letter: frozenset[str] = frozenset()
    backchannels: frozenset[str] = frozenset()
    dictated_leads: str = ""
    dictated_joins: frozenset[str] = frozenset()
    dictated_counts: frozenset[str] = frozenset()
    dictated_letters: frozenset[str] = frozenset()
    dictated_ordinary: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    machines: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    numbers: Mapping[str, int] = field(default_factory=dict[str, int])
    repeats: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def digits(self) -> Mapping[str, int]:
        """The words for the digits 0 to 9."""
        return {word: number for word, number in self.numbers.items() if number < 10}


NO_FACTS: Final = LanguageFacts(tag="", name="")  # an unknown language


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


_WORDS: Final = (
    *("months", "ordinal_after", "ordinal_before", "abbreviations", "before_number", "closing"),
    *("one_letter", "endings", "words", "answers"),
    *("dictated_joins", "dictated_counts", "dictated_letters", "dictated_ordinary"),
)
_TEXTS: Final = ("name", "region", "caller_said", "caller_silent", "dictated_leads")
_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _language(tag: str, values: Mapping[str, Any]) -> LanguageFacts:
    facts: dict[str, Any] = {key: values[key] for key in _TEXTS if key in values}
    facts |= {key: frozenset(values[key].split()) for key in _WORDS if key in values}
    facts |= {key: dict(_numbered(values.get(key, {}))) for key in ("numbers", "repeats")}
    phrases = values.get("backchannels", "").split("|")
    facts["backchannels"] = frozenset(phrase.strip() for phrase in phrases) - {""}
    facts["machines"] = {
        cue: {pattern: int(points) for pattern, points in patterns.items()}
        for cue, patterns in values.get("machines", {}).items()
    }
    return LanguageFacts(tag=tag, **facts)


def _numbered(words: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield each word with its number."""
    for number, alternatives in words.items():
        yield from ((word, int(number)) for word in alternatives.split())
