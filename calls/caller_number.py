"""Tells a caller's number from the values that carriers put in its place.

Carriers put something in the place of a number that was withheld: a word, zeros, or the digits of a
word on a telephone's keys, as Twilio does (+266696687 spells "anonymous"). Some callers have no
number but a name, in which there may be digits, such as client:anna2024.
"""

import re
from typing import Final

AROUND: Final = re.compile(r"^(?:sips?|tel|whatsapp):|[@;].*$", re.IGNORECASE)  # RFC 3261, RFC 3966
NAME: Final = re.compile(r"client:|[a-z][a-z._-]*\d", re.IGNORECASE)  # at the beginning
LEAST_DIGITS: Final = 5  # a number with fewer is none that could be called
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ON_KEYS: Final = str.maketrans(_LETTERS, "22233344455566677778889999")  # ITU-T E.161
WITHHELD: Final = frozenset(
    word.translate(_ON_KEYS)
    for word in ("anonymous", "restricted", "blocked", "unknown", "unavailable", "private")
)


def is_dialable(text: str) -> bool:
    """Return whether a caller's number could be called.

    Args:
        text: A number, or a SIP address whose user is one.
    """
    user = AROUND.sub("", text.strip()).replace("%2B", "+").replace("%2b", "+")
    digits = "".join(char for char in user if char.isdigit())
    if NAME.match(user) or digits.lstrip("0") in WITHHELD:
        return False
    return len(digits.strip("0")) >= LEAST_DIGITS and len(set(digits)) > 1
