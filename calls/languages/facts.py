"""The facts about each language: what all other code knows about words of a language.

Each language has one file in this folder, named by its tag. A file may leave out any key; its
language then lacks that fact, and what needs the fact does without. The keys are the attributes of
`LanguageFacts`. Words are separated by spaces, and the phrases of `backchannels` by `|`. `numbers`
and `repeats` list the words by number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fallbacks.data_files import read_data

PACKAGE: Final = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFacts:
    """The facts about one language; words are in lower case.

    Attributes:
        tag: The language as a BCP 47 tag without a region.
        name: Its name in English.
        region: The language with the region that carriers expect, such as `de-DE`.
        caller_said: A sentence with the caller's words in place of `{words}`. Like the next one, a
            person hears it before a transfer if no model can write it.
        caller_silent: A sentence that says that the caller said nothing.
        months: The words for the months, in each form that follows a number.
        ordinal_after: Words before an ordinal, in languages that write it as "3.".
        ordinal_before: Words after an ordinal, besides the months.
        abbreviations: Abbreviations that end no sentence; with inner stops: `z.b`. This key and the
            next five say whether a full stop ends a sentence (`sentence_rules.py`).
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
        machines: What people and machines say when they answer, as patterns with points, by what
            they indicate (`processors/answerer/phrase_rules.py`).
        numbers: The digits, and larger numbers that are one word, by word: `{"null": 0}`.
        hesitations: Words between two parts of a number: "and then".
        corrections: Words between a number and its correction: "no sorry".
        correction_fillers: Words beside those, which alone correct nothing: "that's right".
        repeats: How many equal digits a word announces: `{"doppel": 2}`; "double five" is 55.
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
    hesitations: frozenset[str] = frozenset()
    corrections: frozenset[str] = frozenset()
    correction_fillers: frozenset[str] = frozenset()
    repeats: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def digits(self) -> Mapping[str, int]:
        """The words for the digits 0 to 9."""
        return {word: number for word, number in self.numbers.items() if number < 10}


NO_FACTS: Final = LanguageFacts(tag="", name="")  # an unknown language


NORWEGIAN: Final = ("nb", "nn")  # its written forms, which tags name rather than `no`


def base_of(tag: str) -> str:
    """Return the language of a tag without region or script: `pt` for `pt-BR`."""
    return tag.replace("_", "-").partition("-")[0].casefold()


def language_of(tag: str) -> LanguageFacts | None:
    """Return the facts about the language of a tag such as `pt-BR`; `None` if there are none."""
    base = base_of(tag)
    return languages().get("no" if base in NORWEGIAN else base)


@cache
def languages() -> Mapping[str, LanguageFacts]:
    """Return all languages by tag. The files are part of the program, and read once."""
    names = sorted(item.name for item in files(PACKAGE).iterdir() if item.name.endswith(".yaml"))
    tags = [name.removesuffix(".yaml") for name in names]
    return {tag: _facts_in_file(tag, read_data(__name__, f"{tag}.yaml")) for tag in tags}


def _facts_in_file(tag: str, values: Mapping[str, Any]) -> LanguageFacts:
    """Return the facts in a file about the language `tag`.

    Raises:
        KeyError: A key is no attribute of `LanguageFacts`.
        AttributeError, ValueError: A value has the wrong form.
    """
    known = {key.name: key.default for key in fields(LanguageFacts)}
    facts: dict[str, Any] = {
        key: frozenset(value.split()) if isinstance(known[key], frozenset) else value
        for key, value in values.items()
    }
    facts |= {key: dict(_words_with_numbers(values.get(key, {}))) for key in ("numbers", "repeats")}
    phrases = values.get("backchannels", "").split("|")
    facts["backchannels"] = frozenset(phrase.strip() for phrase in phrases) - {""}
    facts["machines"] = {
        cue: {pattern: int(points) for pattern, points in patterns.items()}
        for cue, patterns in values.get("machines", {}).items()
    }
    return LanguageFacts(tag=tag, **facts)


def _words_with_numbers(words: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield each word with its number, from lists of words by number."""
    for number, alternatives in words.items():
        yield from ((word, int(number)) for word in alternatives.split())
