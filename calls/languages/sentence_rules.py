"""Decides whether a full stop ends a sentence, and cuts complete texts into sentences.

A sentence that is cut at an abbreviation or an ordinal is spoken wrongly ("in the 2nd." for "im 2.
Stock"), while two sentences in one piece only sound a little flatter. So in doubt, a stop ends
nothing. The words that decide are in the file of each language (`facts.py`):

- `abbreviations` never end a sentence ("M. Dupont"), nor do words with one of the `endings`
  ("Bahnhofstr. 5"). `before_number` are words that abbreviate only
  if a number follows ("No. 5"), like the first letters of a month if it is a year or a number
  precedes them ("3 févr. à 2 h", but not the Polish "Mam list. 3 dni temu"). `closing`
  ends one if a capital letter follows ("etc. Then"), and
  `words` are ordinary words that a library takes for abbreviations ("No. Hoy no").
- Languages with `ordinal_after` or `ordinal_before` write ordinals with a stop. A number is an
  ordinal if a small letter, a month or one of `ordinal_before` follows ("3. Mai"), if it begins the
  sentence, or if one of `ordinal_after` precedes it ("im 2. Stock").
- A single letter is an initial or part of an abbreviation ("z. B."), unless it is in `one_letter`
  ("you and I"). A word without a vowel is an abbreviation, unless it is in capitals ("bd. Foch",
  but "SMS."). After a number and before a capital letter, both are units ("à 14 h. Merci").
- Before another mark or the next letter of an abbreviation, no stop ends a sentence ("T.T.C.").
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from calls.languages.facts import NO_FACTS, LanguageFacts, language_of

_GOES_ON: Final = re.compile(r"[,;:/\u2013\u2014-]|[^\W\d_](?:\.|$)")  # directly after a stop
_PART: Final = re.compile(r"[/\u2013\u2014-]")  # between the words of a compound
_YEAR: Final = re.compile(r"(19|20)\d{0,2}(?!\d)")  # or its first digits
_MONTH_LETTERS: Final = 3  # of a month's name, at least
_NUMBER: Final = re.compile(r"\d{1,4}|[IVX]{2,}")
_LOOK_BACK: Final = 80  # characters; the longest abbreviation has 15
_MARKS: Final = "\"'\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019()[]\u00bf\u00a1*,;:"
_VOWEL: Final = re.compile("[aeiouy\u00e6\u00f8\u0153\u0131аеиоуыэюяіє]")  # noqa: RUF001
_VOWELED: Final = re.compile(r"[a-z\u00df-\u024f\u0430-\u045f]{2,5}")  # scripts with such letters
_MURMUR: Final = re.compile(r"m?h?m+|h+m+|ps+t|s{2,}t|br+|tz+")  # "hm", "mhm", "pst"
_BEFORE_LETTER: Final = re.compile(r"\.\s+[\u00bf\u00a1\"\u00ab\u201c\u201e]?(?=[^\W\d_])")
_INITIALS: Final = re.compile(r"^(?:[^\W\d_]\.-)+(?=[^\W\d_]$)")  # all but the last of "J.-P"
_ELISION: Final = re.compile("^[^\\W\\d_]{1,4}['\u2019]")  # "l'av", "dell'ing"
_SUFFIX: Final = re.compile("['\u2019]\\w+$")  # of Turkish: "May\u0131s'ta"
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]{1,3}")
_END: Final = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)"
    r"|[\u3002\uff01\uff1f\u0964\u061f\u06d4]+[\u300d\u300f\u201d]*"
)


def stop_ends(before: str, after: str, tag: str) -> bool:
    """Return whether the stop at the end of `before` ends its sentence; any other end does.

    Args:
        before: The sentence so far, with the stop at its end.
        after: The text that follows; empty if it is not known yet.
        tag: The language, as a tag such as `de-AT`; an unknown one has no lists of words.
    """
    if not before.endswith("."):
        return True
    if _GOES_ON.match(after):
        return False
    facts = language_of(tag) or NO_FACTS
    words = before[-_LOOK_BACK:].rstrip(".").split()
    word = words[-1].strip(_MARKS) if words else ""
    following = after.split(maxsplit=1)[0] if after.strip() else ""
    if not word or before.endswith(".."):
        return True
    if _NUMBER.fullmatch(word):
        grows = after.strip() == following and after[-1:].isalnum()
        return not _is_ordinal(words, following, facts, grows=grows)
    word = _INITIALS.sub("", word).casefold()
    parts = {_ELISION.sub("", word), _PART.split(word)[-1]}  # "dell'ing", "Bestell-Nr"
    word = next(iter(parts & (facts.abbreviations | facts.before_number)), word)
    return not _is_abbreviation(words, word, following.strip(_MARKS), facts)


def known_end(text: str, tag: str) -> int:
    """Return the index after the first stop that ends a sentence although it abbreviates a word.

    0 if there is none. A library that takes "etc." or the Spanish "No." for an abbreviation only
    misses these.
    """
    facts = language_of(tag) or NO_FACTS
    known = facts.closing | facts.words
    for found in _BEFORE_LETTER.finditer(text):
        before, after = text[: found.start() + 1], text[found.end() :]
        words = before[-_LOOK_BACK:].rstrip(".").split()
        if not words or not after[0].isupper() or _is_initial(words):
            continue
        if {_without_marks(words[-1]), _joined_abbreviation(words)} & known and stop_ends(
            before, after, tag
        ):
            return len(before)
    return 0


def _is_ordinal(words: list[str], following: str, facts: LanguageFacts, *, grows: bool) -> bool:
    """Return whether a number before a stop is an ordinal.

    Args:
        words: The words before the stop.
        following: The next word; empty if it is not known yet.
        facts: The facts about the language.
        grows: Whether more letters of the next word may follow.
    """
    first = _SUFFIX.sub("", following.strip(_MARKS + ".!?")).casefold()
    if following.strip(_MARKS)[:1].islower():
        return True
    is_year = len(words[-1].strip(_MARKS)) > 3
    if is_year or not (facts.ordinal_after or facts.ordinal_before):
        return False
    # "3. M" is not over before "M" cannot become "Mai".
    counted = facts.months | facts.ordinal_before
    is_counted = any(word.startswith(first) if grows else word == first for word in counted)
    if len(words) == 1 or first[:1].isdigit() or is_counted:
        return True
    previous = words[-2]
    return previous.endswith(",") or previous.strip(_MARKS + ".").casefold() in facts.ordinal_after


def _is_abbreviation(words: list[str], word: str, following: str, facts: LanguageFacts) -> bool:
    """Return whether a word before a stop is an abbreviation that ends no sentence here.

    Args:
        words: The words before the stop.
        word: The last one in lower case, without its prefix.
        following: The next word without marks around it; empty if there is none.
        facts: The facts about the language.
    """
    first = following[:1]
    spelled = _joined_abbreviation(words)
    closes = spelled in facts.closing and not _is_initial(words)
    may_end = closes or (word in facts.closing - facts.abbreviations)
    if may_end or (len(word) > 1 and _DOTTED.fullmatch(word)):
        return word in facts.abbreviations - {spelled[-1:]} or not first or first.islower()
    if {word, spelled} & facts.abbreviations or word.endswith(tuple(facts.endings)):
        return True
    if _abbreviates_before_number(word, facts) and not _is_initial(words):
        has_day = len(words) > 1 and any(map(str.isdigit, words[-2]))  # "1er févr. 2026"
        is_dated = has_day or _YEAR.match(following) or word in facts.before_number
        return not first or first.islower() or bool(first.isdigit() and is_dated)
    measured = len(words) > 1 and words[-2][-1:].isdigit() and first.isupper()
    if len(word) == 1 and word.upper() != word.lower():
        return word not in facts.one_letter and not measured
    return _has_no_vowel(words[-1].strip(_MARKS)) and not measured


def _abbreviates_before_number(word: str, facts: LanguageFacts) -> bool:
    """Return whether a word is one of `before_number`, or the first letters of a month."""
    begins_month = any(month.startswith(word) and month != word for month in facts.months)
    return word in facts.before_number or (len(word) >= _MONTH_LETTERS and begins_month)


def _is_initial(words: list[str]) -> bool:
    """Return whether the last word is one capital letter, or initials joined by dashes."""
    word = _INITIALS.sub("", words[-1].strip(_MARKS))
    return len(word) == 1 and word.isupper()


def _without_marks(word: str) -> str:
    """Return a word without the marks around it, in lower case."""
    return word.strip(_MARKS).casefold()


def _joined_abbreviation(words: list[str]) -> str:
    """Return the abbreviation at the end, written together: `z.b` for `z. B`."""
    last = words[-1].strip(_MARKS)
    if len(words) > 1 and len(words[-2].strip(_MARKS)) <= 3 and words[-2].endswith("."):
        return f"{_joined_abbreviation(words[:-1])}.{last}".casefold()
    return last.rstrip(".").casefold()


def _has_no_vowel(word: str) -> bool:
    """Return whether a short word in small letters has no vowel, and so is an abbreviation."""
    small = word.casefold()
    if word[1:].isupper() or _MURMUR.fullmatch(small) or not _VOWELED.fullmatch(small):
        return False
    return not _VOWEL.search(unicodedata.normalize("NFD", small))


def sentences_of(text: str, tag: str = "") -> Iterator[str]:
    """Yield the sentences of a complete text, each with the space before it.

    In a sentence that begins with a capital letter, no stop before a small letter ends it.
    """
    begin = 0
    for found in _END.finditer(text):
        sentence, after = text[begin : found.end()], text[found.end() :].lstrip()
        if sentence.endswith(".") and after[:1].islower() and sentence.lstrip()[:1].isupper():
            continue
        if stop_ends(sentence.rstrip("\"'\u201d\u2019\u00bb)]"), text[found.end() :], tag):
            yield sentence
            begin = found.end()
    if text[begin:].strip():
        yield text[begin:]
