"""A telephone number as people write it: E.164 and the zones it may be in, or why it is none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.timezone import time_zones_for_geographical_number, time_zones_for_number

LONGEST: Final = 60  # characters; what is longer is no number, however it is read
# A spreadsheet that took a number for one, or a text for a formula.
SCIENTIFIC: Final = re.compile(r"\d[.,]?\d*[eE]\+?\d+")
AS_TEXT: Final = re.compile(r"""^(?:'|=\s*"?|")\s*|"\s*$""")
DECIMAL: Final = re.compile(r"(\d{7,})\.0+")
SPOILT: Final = {
    SCIENTIFIC: "digits_lost",  # "4.93012E+11": the file holds no more than these
    re.compile(r"\d{4}-\d{2}-\d{2}"): "not_a_number",  # a day; in Germany it could be called
}
# What is written and not seen: marks of direction, joiners, a soft hyphen (Unicode, category Cf).
UNSEEN: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
BEGIN: Final = re.compile(r"[+\uff0b\d]")
WORD_LETTERS: Final = 3  # that many stand for digits; fewer are left out by the library
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
    """Return a number, or the code of what is wrong with it.

    Args:
        text: As a file or a person has it.
        region: ISO 3166-1, of numbers without a country code; empty: they are refused.
    """
    if len(text) > LONGEST:  # before any pattern looks at it: some take the square of its length
        return "too_long"
    plain = " ".join(UNSEEN.sub("", text).split())  # a thin space is none to the library
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
    # To know the kind is half the work of reading a number: the library would find it out again.
    if phonenumbers.is_number_type_geographical(kind, number.country_code or 0):
        return time_zones_for_geographical_number(number)
    return time_zones_for_number(number)


def _trouble(number: PhoneNumber, kind: int) -> str:
    if number.extension:
        return "has_extension"  # whoever answers the main number is somebody else
    if kind == PhoneNumberType.UNKNOWN:  # so it says of all that are not valid
        length = phonenumbers.is_possible_number_with_reason(number)
        return LENGTH_REASONS.get(length, "not_a_number")
    return "costly" if kind in COSTLY else ""


def _letters(text: str, number: PhoneNumber, kind: int) -> str:
    """Refuse letters that nobody means as digits: the library dials them, or leaves them out.

    `030 901820 (Ada)` is somebody else's number otherwise. Words are dialled in North America,
    where all numbers are of one length, and where the call is free of charge.
    """
    begin = BEGIN.search(text)
    if begin is None:
        return ""
    inside = text[max(0, begin.start() - 1) :]
    letters = sum(item.isalpha() for item in inside)
    worded = number.country_code == 1 or kind == PhoneNumberType.TOLL_FREE
    return "has_letters" if letters and not (worded and letters >= WORD_LETTERS) else ""
