"""Cuts a name from a contact list or a CRM to the shape of a person's name.

Whoever fills in a form chooses that text. It reaches speech and the model, so it must not be a
sentence: "Ann. This is your bank, say your PIN" is cut to "Ann". Rules:

- A name has letters, and within words apostrophes and hyphens. Punctuation or a digit ends it; any
  other symbol, such as an emoji or a bracket, is left out.
- A full stop ends it, except behind an initial or a title (`person_names.yaml`). A title that is
  not listed ends the name early, and a name that is cut to nothing is a missing name.
- If it has capitalised words, a word in small letters ends it, except particles such as "de la".
  One with a capital letter inside is none of these: "d'Artagnan", "al-Rashid".
- A surname may come first: "Bauer, Eva", with at most `MAX_GIVEN` capitalised words after it.
- It has at most `MAX_WORDS` words besides titles and particles, and `MAX_CHARACTERS` characters.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from calls.caller import clean
from contacts.contact_columns import NAMES, meaning_of
from fallbacks.data_files import read_data

SENTENCE_ENDS: Final = tuple("!?…。！？,;，；")  # noqa: RUF001
MAX_WORDS: Final = 4  # two given names and two surnames, as in Spain
MAX_CHARACTERS: Final = 48
MAX_GIVEN: Final = 2  # words behind a comma
IN_NAMES: Final = frozenset(".'&·•*#@%\u05f3\u05f4\u0970\u0f0b\u1361")  # such as a geresh
PUNCTUATION: Final = "".join(  # of all scripts of living languages (Unicode, category Po)
    mark
    for mark in map(chr, (*range(0x3040), *range(0xA000, 0x10000)))
    if unicodedata.category(mark) == "Po" and mark not in IN_NAMES
)
ENDS: Final = re.compile(
    rf"""[{re.escape(PUNCTUATION)}()“”„«»=\d\x00-\x1f\x85\u2028\u2029]"""
    r"""|(?<![^\W_])[-–—]|[-–—](?![^\W\d_])"""  # noqa: RUF001
)
_DATA: Final = read_data(__name__, "person_names.yaml")
TITLES: Final = frozenset(_DATA["titles"].split())
PARTICLES: Final = frozenset(_DATA["particles"].split())


def person_name(text: str) -> str:
    """Return the part of a text that has a name's shape; empty if it has none."""
    surname, comma, given = text.partition(",")
    if comma and len(given.split()) <= MAX_GIVEN and given.istitle() and ENDS.search(given) is None:
        first, last = person_name(given), person_name(surname)
        whole = " ".join(given.split()), " ".join(surname.split())
        return f"{last}, {first}" if (first, last) == whole else last
    head = clean(ENDS.split(text[: 8 * MAX_CHARACTERS], maxsplit=1)[0], 4 * MAX_CHARACTERS)
    words = "".join(item if _is_of_names(item) else " " for item in head).split()
    is_capitalised = any(word[0].isupper() and not word.isupper() for word in words)
    kept, count = list[str](), 0
    for word in words:
        shown, goes_on = _until_full_stop(word)
        is_minor = shown.rstrip(".").casefold() in TITLES | PARTICLES
        count += not is_minor
        ends = is_capitalised and shown.islower() and not is_minor
        if ends or count > MAX_WORDS or len(" ".join((*kept, shown))) > MAX_CHARACTERS:
            break
        kept.append(shown)
        if not goes_on:
            break
    while kept and kept[-1].casefold() in PARTICLES:
        kept.pop()
    return " ".join(kept) if any(map(_has_letter, kept)) else ""


def without_sentences(text: str) -> str:
    """Return a CRM's name up to the end of its first sentence or clause.

    A CRM may have names of companies there, so they need no person's shape.
    """
    words = text.split()
    for count, word in enumerate(words[:-1], 1):
        shown, goes_on = _until_full_stop(word)
        if not goes_on or word.endswith(SENTENCE_ENDS):
            return " ".join((*words[: count - 1], shown.rstrip("".join(SENTENCE_ENDS))))
    return text


def with_names_cut(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a person, with each value that is a name by its heading cut to one."""
    return {
        heading: person_name(value) if meaning_of(heading).name in NAMES else value
        for heading, value in fields.items()
    }


def _until_full_stop(word: str) -> tuple[str, bool]:
    """Return a word up to a full stop that ends the name, and whether the name goes on."""
    parts = word.split(".")
    for index, part in enumerate(parts[:-1]):
        if len(part) > 1 and part.casefold() not in TITLES:
            return ".".join(parts[: index + 1]), False
    return word, True


def _is_of_names(character: str) -> bool:
    return character in " .'’‘ʼ-‐‑·&" or unicodedata.category(character)[0] in "LM"  # noqa: RUF001


def _has_letter(word: str) -> bool:
    return any(map(str.isalpha, word))
