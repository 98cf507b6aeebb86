"""The valid values of a fault's fields, in words and as a check."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The valid values of one field.

    Attributes:
        takes: The valid values in words, for messages and for the page.
        accepts: Whether a value is one of them.
        choices: The values, if there are only a few.
    """

    takes: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


SECONDS: Final = Form(
    takes="seconds, 0 or more", accepts=lambda value: _number(value) and value >= 0
)
MAYBE_SECONDS: Final = Form(
    takes="seconds, 0 or more, or null",
    accepts=lambda value: value is None or SECONDS.accepts(value),
)
WORDS: Final = Form(
    takes="a whole number, 0 or more", accepts=lambda value: _whole(value) and value >= 0
)
STATUS: Final = Form(
    takes="an HTTP status from 400 to 599",
    accepts=lambda value: _whole(value) and 400 <= value <= 599,
)
SHARE: Final = Form(
    takes="a number above 0 and at most 1",
    accepts=lambda value: _number(value) and 0 < value <= 1,
)
MAYBE_TEXT: Final = Form(
    takes="a text or null", accepts=lambda value: value is None or isinstance(value, str)
)
SWITCH: Final = Form(takes="true or false", accepts=lambda value: isinstance(value, bool))


def one_of(*choices: str) -> Form:
    """Return the form of a field with a few valid words."""
    return Form(takes=" or ".join(choices), accepts=lambda value: value in choices, choices=choices)


def suggestion(key: object, known: Mapping[str, Any]) -> str:
    """Return an unknown word in quotes with the nearest known ones, for the end of a message."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{key!r}{hint} ({', '.join(known) or 'none here'})"
