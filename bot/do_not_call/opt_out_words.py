"""Patterns of requests about calls, by language, for `opt_out_rules`; from `opt_out_words.yaml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from fallbacks.data_files import read_data

_NAME: Final = re.compile(r"<(\w+)>")
_GROUP: Final = re.compile(r"\((?!\?)")


@dataclass(frozen=True, slots=True)
class Language:
    """Patterns of a language, each a group of alternatives; the file says what they mean."""

    calls: str
    lists: str
    limits: str
    asks: str
    begs: str
    denies: str
    others: str
    begins: str
    governs: str
    threats: str
    channels: str
    back: str
    suspects: str
    agrees: str


def _text_of(value: str | list[str]) -> str:
    """Return a pattern whose groups capture nothing.

    Python 3.11 raises `SystemError` in possessive repeats (`*+`) of groups that capture.
    """
    text = "|".join(value) if isinstance(value, list) else str(value)
    return _GROUP.sub("(?:", text)


def _patterns_of_language(entries: dict[str, Any]) -> Language:
    """Return a language's patterns; in an entry, `<name>` stands for the entry of that name."""

    def pattern(name: str) -> str:
        return _NAME.sub(lambda found: f"(?:{pattern(found[1])})", _text_of(entries[name]))

    return Language(**{field.name: f"(?:{pattern(field.name)})" for field in fields(Language)})


_DATA: Final = read_data(__name__, "opt_out_words.yaml")
ANY: Final[Mapping[str, str]] = {name: _text_of(value) for name, value in _DATA.pop("any").items()}
"""Patterns of words of all languages, by name; the file says what they mean."""
LANGUAGES: Final = {tag: _patterns_of_language(entries) for tag, entries in _DATA.items()}
