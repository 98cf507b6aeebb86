"""Cleans a caller's words, and detects callers without a number that can be called.

Carriers replace a withheld number with a word, with zeros, or with the digits that spell a word on
a telephone keypad, as Twilio does (+266696687 spells "anonymous"). Some callers have a name instead
of a number, and a name may contain digits, such as client:anna2024.
"""

import re
import unicodedata
from typing import Final, Literal, TypeAlias, cast

LIMIT: Final = 2_000  # characters of one turn; at 150 words per minute, more than two minutes
_REMOVED: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that cannot be spoken: control, format, private use, surrogate, unassigned,
line and paragraph separator."""
_JOINERS: Final = frozenset("\u200c\u200d")  # needed to spell words in Persian, Hindi and others


def clean(text: str, limit: int = LIMIT) -> str:
    """Return `text` as one line of speech with at most `limit` characters.

    Control and format characters, except joiners, become spaces, so that no text can imitate a
    message delimiter. Runs of white space become one space. All other text is data, and stays as
    it is.
    """
    head = text[: 2 * limit]  # limits the work: a faulty recogniser may send megabytes
    spoken = "".join(item if _is_sayable(item) else " " for item in head)
    return " ".join(spoken.split())[:limit].rstrip()


def without_halves(text: str) -> str:
    """Return `text` without lone surrogates, which cannot be encoded as UTF-8."""
    return text.encode("utf-8", "ignore").decode()


def _is_sayable(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _REMOVED


Attestation: TypeAlias = Literal["A", "B", "C", "failed", "unknown"]
"""The attestation by the caller's carrier (ATIS-1000074). `A`: it knows its customer and the right
to use the number. `B`: it knows its customer. `C`: it knows neither. `failed`: the signature is
wrong. None of these identifies the person on the telephone."""
VERSTAT: Final = re.compile(r"TN-Validation-(?:Passed-([ABC])|(Failed)(?:-[ABC])?)")


def attestation_from(verstat: str) -> Attestation:
    """Return the attestation in a carrier's `verstat`, such as `TN-Validation-Passed-A`.

    Other values, such as those of a diverted call, say nothing about this caller: `unknown`.
    """
    found = VERSTAT.fullmatch(verstat)
    if found is None:
        return "unknown"
    return cast("Attestation", found[1]) if found[1] else "failed"


AROUND: Final = re.compile(r"^(?:sips?|tel|whatsapp):|[@;].*$", re.IGNORECASE)  # RFC 3261, RFC 3966
NAME: Final = re.compile(r"client:|[a-z][a-z._-]*\d", re.IGNORECASE)  # at the beginning
# Letters between digits or after a dot belong to a device or a name, as in a UUID or in
# "0301234567.anna". An extension ("x12") does not, nor does a word at the end, which is dialled by
# its letters.
_LETTERS_INSIDE: Final = r"\d.*?(?<![a-z])(?!x|ext)[a-z]+[._-]*\d|\d[._](?!x|ext)[a-z]"
ID: Final = re.compile(_LETTERS_INSIDE, re.IGNORECASE)
MIN_DIGITS: Final = 5  # a number with fewer digits cannot be called
MAX_CHARS: Final = 200  # of the number, or of the address's user
MAX_DIGITS: Final = 20  # 15 (ITU-T E.164), and a prefix for calls abroad
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ON_KEYS: Final = str.maketrans(_LETTERS, "22233344455566677778889999")  # ITU-T E.161
WITHHELD: Final = frozenset(
    word.translate(_ON_KEYS)
    for word in ("anonymous", "restricted", "blocked", "unknown", "unavailable", "private")
)


def is_dialable(text: str) -> bool:
    """Return whether a caller's number can be called: not withheld, no name, and long enough.

    Args:
        text: A number, or a SIP address with a number as its user.
    """
    user = AROUND.sub("", text.strip()).replace("%2B", "+").replace("%2b", "+")
    digits = "".join(char for char in user if char.isdigit())
    if len(user) > MAX_CHARS or NAME.match(user) or ID.search(user):
        return False
    if digits.lstrip("0") in WITHHELD or len(digits) > MAX_DIGITS:
        return False
    return len(digits.strip("0")) >= MIN_DIGITS and len(set(digits)) > 1


def digit_by_digit(text: str) -> str:
    """Return a caller's number as separate digits, to be read out; empty if there is none."""
    user = AROUND.sub("", text.strip()).replace("%2B", "+").replace("%2b", "+")
    return " ".join(char for char in user if char.isdigit() or char == "+")
