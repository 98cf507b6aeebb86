"""Parses a phone number as people write it: E.164 and its possible zones, or an error code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.timezone import time_zones_for_geographical_number, time_zones_for_number

UNKNOWN: Final = "Etc/Unknown"  # the library's answer for an unknown zone
LONGEST: Final = 60  # characters; longer texts are no numbers
# A spreadsheet's additions to a number that it keeps as text.
SCIENTIFIC: Final = re.compile(r"\d[.,]?\d*[eE]\+?\d+")
AS_TEXT: Final = re.compile(r"""^(?:'|=\s*"?|")\s*|"\s*$""")
DECIMAL: Final = re.compile(r"(\d{7,})\.0+")
SPOILT: Final = {
    SCIENTIFIC: "digits_lost",  # "4.93012E+11": the file has no more digits
    re.compile(r"\d{4}-\d{2}-\d{2}"): "not_a_number",  # a date; in Germany it could be called
}
# Invisible characters: direction marks, joiners, a soft hyphen (Unicode, category Cf).
UNSEEN: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
BEGIN: Final = re.compile(r"[+\uff0b\d]")
WORD_LETTERS: Final = 3  # at least this many stand for digits; the library drops fewer
COSTLY: Final = frozenset(
    {
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.PAGER,
        PhoneNumberType.VOICEMAIL,
    }
)
PARSE_REASONS: Final = {
    NumberParseException.INVALID_COUNTRY_CODE: "no_country_code",
    NumberParseException.NOT_A_NUMBER: "not_a_number",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too_short",
    NumberParseException.TOO_SHORT_NSN: "too_short",
    NumberParseException.TOO_LONG: "too_long",
}
LENGTH_REASONS: Final = {
    phonenumbers.ValidationResult.TOO_SHORT: "too_short",
    phonenumbers.ValidationResult.TOO_LONG: "too_long",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "no_area_code",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallableNumber:
    """A number that can be called from anywhere."""

    e164: str
    zones: tuple[str, ...]


def read_number(text: str, *, region: str) -> CallableNumber | str:
    """Parse a number; return it, or an error code.

    Args:
        text: From a file or a person.
        region: ISO 3166-1, for numbers without a country code; empty to refuse those.
    """
    if len(text) > LONGEST:  # before any pattern: some take quadratic time
        return "too_long"
    plain = " ".join(UNSEEN.sub("", text).split())  # the library does not treat a thin space as one
    bare = DECIMAL.sub(r"\1", AS_TEXT.sub("", plain))
    if not bare:
        return "no_number"
    if spoilt := next((why for form, why in SPOILT.items() if form.fullmatch(bare)), ""):
        return spoilt
    try:
        number = phonenumbers.parse(bare, region or None)
    except NumberParseException as error:
        return PARSE_REASONS.get(error.error_type, "not_a_number")
    kind = phonenumbers.number_type(number)
    return (
        _trouble(number, kind)
        or _letters(bare, number, kind)
        or CallableNumber(
            e164=phonenumbers.format_number(number, PhoneNumberFormat.E164),
            zones=tuple(_zones(number, kind)),
        )
    )


def _zones(number: PhoneNumber, kind: int) -> Sequence[str]:
    # Finding the kind is half the work of parsing: the library would repeat it.
    if phonenumbers.is_number_type_geographical(kind, number.country_code or 0):
        return time_zones_for_geographical_number(number)
    return time_zones_for_number(number)


def _trouble(number: PhoneNumber, kind: int) -> str:
    if number.extension:
        return "has_extension"  # another person answers the main number
    if kind == PhoneNumberType.UNKNOWN:  # the library's answer for all invalid numbers
        length = phonenumbers.is_possible_number_with_reason(number)
        return LENGTH_REASONS.get(length, "not_a_number")
    return "costly" if kind in COSTLY else ""


def _letters(text: str, number: PhoneNumber, kind: int) -> str:
    """Refuse letters that do not mean digits: the library would dial or drop them.

    `030 901820 (Ada)` would become another number. Words are dialled in North America, where all
    numbers have the same length, and for toll-free numbers.
    """
    begin = BEGIN.search(text)
    if begin is None:
        return ""
    inside = text[max(0, begin.start() - 1) :]
    letters = sum(item.isalpha() for item in inside)
    worded = number.country_code == 1 or kind == PhoneNumberType.TOLL_FREE
    return "has_letters" if letters and not (worded and letters >= WORD_LETTERS) else ""


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo | None:
    """Return a zone by its name; `None` if the name is unknown."""
    if name in ("", UNKNOWN):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a valid name; the name of a folder
        return None


def zone_of(number: str, *, region: str) -> str:
    """Return a zone that a number is in; empty if unknown."""
    read = read_number(number, region=region)
    zones = read.zones if isinstance(read, CallableNumber) else ()
    return next((zone for zone in zones if "/" in zone and not zone.startswith("Etc/")), "")
