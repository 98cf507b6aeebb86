"""Finds telephone numbers in text, with the tables of libphonenumber."""

import re
from collections.abc import Sequence
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberMatcher

from operations.privacy import masked

REGIONS: Final = ("US", "RU")  # whose own way of writing numbers is known
MOST_ASKED: Final = 8  # candidates of a text; of more, each is masked: a stranger may write many
NATIONAL_DIGITS: Final = 9  # of one without a plus: fewer are amounts, times, sizes
# Cheap, and wide: the tables are asked about what this finds alone. A plus may stand anywhere,
# and of what may stand around a number the underscore is no letter: rooms are named call-_NUMBER_x.
SHAPED: Final = re.compile(
    r"(?:(?P<plus>(?:\+|%2[Bb]))|(?<![^\W_])(?<!\d[.:]))\(?\d"
    r"(?:[ \-/().\u00a0\u2010-\u2015]{0,3}\d){6,18}"
    r"(?![^\W_])(?!\.\d)(?!:\d\d)"
)
ABROAD: Final = "00"
ADDRESS: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")  # of the network
FRACTION: Final = re.compile(r"\d+\.\d+")
DATE: Final = re.compile(r"[12]\d{3}[-/.][01]\d[-/.][0-3]\d(?!\d)")


def without_phones(text: str) -> str:
    """Return text with the middle of each telephone number hidden.

    Those with a plus are always known, those without of the countries in `REGIONS` alone.
    """
    found = [each for each in SHAPED.finditer(text) if _may_be_one(each)]
    if not found:
        return text
    parts, at = [], 0
    for number, each in enumerate(found):
        parts.append(text[at : each.start()])
        parts.append(_shown(each, REGIONS if number < MOST_ASKED else None))
        at = each.end()
    return "".join((*parts, text[at:]))


def _may_be_one(found: re.Match[str]) -> bool:
    if found["plus"]:
        return True
    digits = _digits(found[0])
    return len(digits) >= NATIONAL_DIGITS and not (
        ADDRESS.fullmatch(found[0]) or FRACTION.fullmatch(found[0]) or DATE.match(found[0])
    )


def _shown(found: re.Match[str], regions: Sequence[str] | None) -> str:
    digits = _digits(found[0].removeprefix(found["plus"] or ""))
    if found["plus"]:  # whatever it is, nothing else is written like that
        return masked(f"+{digits}")
    if regions is None:
        return masked(digits)
    if digits == found[0]:
        return masked(digits) if _is_number(digits, regions) else digits
    holds = _is_abroad(digits) or any(_holds_number(found[0], each) for each in regions)
    return masked(digits) if holds else found[0]


def _is_number(digits: str, regions: Sequence[str]) -> bool:
    """Return whether a bare row of digits is somebody's: with a country's code, or without."""
    return (
        _is_abroad(digits)
        or _is_valid(f"+{digits}", None)
        or any(_is_valid(digits, each) for each in regions)
    )


def _is_abroad(digits: str) -> bool:
    """Return whether they are a number as most countries dial it from outside (ITU-T E.164)."""
    return digits.startswith(ABROAD) and _is_valid(f"+{digits.removeprefix(ABROAD)}", None)


def _is_valid(text: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except NumberParseException:
        return False


def _holds_number(text: str, region: str) -> bool:
    """Return whether digits and marks are, or have in them, a number as people there write it."""
    possible = PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.POSSIBLE)
    return any(len(_digits(each.raw_string)) >= NATIONAL_DIGITS for each in possible)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
