"""Reads phone numbers as people, spreadsheets and carriers write them.

Rules: a number with a plus or an international prefix has one reading. Other digits have up to two:
a national number of the region, and a number with a country code that lost its plus. Invalid
readings do not count. If both are valid, the national one wins if numbers are written that way in
the region (in Germany with a 0 first, in America with the area code first) and the digits do not
begin with the region's own country code. Otherwise the number is ambiguous, and nothing is called,
listed or erased on a guess.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import (
    CountryCodeSource,
    Leniency,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberMatcher,
    PhoneNumberType,
)
from phonenumbers.timezone import time_zones_for_geographical_number, time_zones_for_number

from calls.caller import AROUND, MIN_DIGITS, is_dialable

UNKNOWN: Final = "Etc/Unknown"  # the library's answer for an unknown zone
MAX_LENGTH: Final = 60  # characters; a longer text is not a number
# What spreadsheets turn numbers into.
SCIENTIFIC: Final = re.compile(r"\d[.,]?\d*[eE]\+?\d+")
AS_TEXT: Final = re.compile(r"""^(?:'|=\s*"?|")\s*|"\s*$""")
DECIMAL: Final = re.compile(r"(\d{7,})\.0+")
MANGLED: Final = {
    SCIENTIFIC: "digits_lost",  # "4.93012E+11": the file has no more digits
    re.compile(r"\d{4}-\d{2}-\d{2}"): "not_a_number",  # a date; a valid number in Germany
}
# Invisible characters: direction marks, joiners, a soft hyphen (Unicode, category Cf).
UNSEEN: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
BEGIN: Final = re.compile(r"[+\uff0b\d]")
ABROAD: Final = "00"  # the usual international prefix (ITU-T E.164); some regions have another
ENDING_DIGITS: Final = 6  # the same in every notation of a number
AMBIGUOUS: Final = "ambiguous"
# Until August 2019, Mexican numbers had extra digits before the last ten (IFT).
MEXICO: Final = "MX"
OLD_MEXICAN: Final = re.compile(r"(\+|00)?52(?:0?1|04[45])(\d{10})|(?:01|04[45])(\d{10})")
WORD_LETTERS: Final = 3  # at least this many are dialled as digits; the library drops fewer
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

    The code of an ambiguous number is followed by its readings: `ambiguous: +49… or +4949…`.

    Args:
        text: From a file or a person.
        region: ISO 3166-1, for numbers without a country code; empty to refuse those.
    """
    if len(text) > MAX_LENGTH:  # before any pattern: some take quadratic time
        return "too_long"
    bare = _remove_spreadsheet_marks(text)
    if not bare:
        return "no_number"
    if problem := next((why for form, why in MANGLED.items() if form.fullmatch(bare)), ""):
        return problem
    try:
        readings = _plausible_readings(bare, region or None)
    except NumberParseException as error:
        return PARSE_REASONS.get(error.error_type, "not_a_number")
    number, kind = readings[0], phonenumbers.number_type(readings[0])
    return (
        _describe_ambiguity(readings, kind)
        or _problem_of(number, kind)
        or _letter_problem(bare, number, kind)
        or CallableNumber(
            e164=_format_e164(number),
            zones=tuple(_time_zones(number, kind)),
        )
    )


def readings_of(text: str, *, region: str | None) -> tuple[str, ...]:
    """Return the numbers, in E.164, that a text may mean: several if it is ambiguous.

    Unlike `read_number`, it also accepts numbers that may not be callable from everywhere: invalid
    numbers of a plausible length, and any digits after a plus.

    Args:
        text: A number, or a SIP address whose user is one.
        region: ISO 3166 code of the country whose numbers are written without a country code.
    """
    bare = _strip_address(_remove_spreadsheet_marks(text[: MAX_LENGTH + 1]))
    if (
        len(text) > MAX_LENGTH
        or any(form.fullmatch(bare) for form in MANGLED)
        or not is_dialable(bare)
    ):
        return ()
    try:
        possible = list(filter(phonenumbers.is_possible_number, _plausible_readings(bare, region)))
    except NumberParseException:
        possible = []
    if possible:
        return tuple(map(_format_e164, possible))
    digits = _digits_only(bare)
    return (f"+{digits}",) if bare.startswith("+") and len(digits) >= MIN_DIGITS else ()


def as_dialled(text: str, *, region: str | None) -> tuple[str, ...]:
    """Return the readings of a carrier's number, as for dialling; in E.164 where possible.

    Empty if the text is not a number; several readings if it is ambiguous.

    Args:
        text: A number, or a SIP address whose user is one.
        region: As for `readings_of`.
    """
    bare = _strip_address(text)
    with_plus = (_with_plus(bare),) if is_dialable(bare) else ()
    return readings_of(bare, region=region) or with_plus


def one_reading(text: str, *, region: str | None) -> str:
    """Return a carrier's number as for dialling; unchanged if it is ambiguous or not a number."""
    readings = as_dialled(text, region=region)
    return readings[0] if len(readings) == 1 else text


def same_as(wanted: str, *, region: str | None) -> Callable[[str], bool]:
    """Return a predicate: whether a number from a carrier may be the wanted one.

    Args:
        wanted: The wanted number, in E.164.
        region: As for `readings_of`.
    """

    def same(text: str) -> bool:
        bare = _strip_address(text)
        return wanted in (*readings_of(bare, region=region), _with_plus(bare), bare)

    return same


def last_digits(number: str) -> str:
    """Return a number's last digits, at most `ENDING_DIGITS`."""
    return number[-ENDING_DIGITS:].lstrip("+")


def _strip_address(text: str) -> str:
    """Return the number in a telephone address, with its plus and separators."""
    return unquote(AROUND.sub("", text.strip()))  # "%2B" is a plus (RFC 3261, section 19.1.2)


def _with_plus(bare: str) -> str:
    """Add the plus: many carriers omit it, or write it as most countries dial it (ITU-T E.164)."""
    return f"+{_digits_only(bare).removeprefix(ABROAD)}"


def _digits_only(text: str) -> str:
    return "".join(item for item in text if item.isdigit())


def _format_e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _plausible_readings(bare: str, region: str | None) -> Sequence[PhoneNumber]:
    """Return the plausible readings of a text; if there are none, an invalid one.

    Raises:
        NumberParseException: It is not a number.
    """
    bare = _without_old_digits(bare, region)
    number = phonenumbers.parse(bare, region, keep_raw_input=True)
    if number.country_code_source != CountryCodeSource.FROM_DEFAULT_COUNTRY:
        return (number,)
    abroad = _with_lost_plus(bare)
    if abroad is None:
        return (number,)
    for is_plausible in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        plausible = list(filter(is_plausible, (number, abroad)))
        if len(plausible) == 2 and _is_usual_here(bare, region, number, abroad):
            return (number,)
        if plausible:
            return plausible
    return (number,)


def _without_old_digits(bare: str, region: str | None) -> str:
    """Drop the extra digits that Mexican mobile numbers had until 2019."""
    old = OLD_MEXICAN.fullmatch(re.sub(r"[^\d+]", "", bare))
    if old is None or not (old[1] or region == MEXICO):
        return bare
    return f"+52{old[2] or old[3]}"


def _with_lost_plus(bare: str) -> PhoneNumber | None:
    """Return the reading as a number that lost its plus; `None` if it cannot be one."""
    begin = BEGIN.search(bare)
    if begin is None or bare[begin.start()] == "0" or "(" in bare[: begin.start()]:
        return None
    try:
        number = phonenumbers.parse(f"+{bare[begin.start() :]}", None)
    except NumberParseException:
        return None
    letters = any(item.isalpha() for item in bare[begin.start() :])
    return None if letters or number.extension else number


def _is_usual_here(bare: str, region: str | None, number: PhoneNumber, abroad: PhoneNumber) -> bool:
    """Return whether the region's national numbers are written in this way."""
    if number.country_code == abroad.country_code:
        # The digits begin with the region's own country code: both readings must be one number.
        return _format_e164(number) == _format_e164(abroad)
    written = PhoneNumberMatcher(_digits_only(bare), region, leniency=Leniency.VALID)
    return any(found.number.national_number == number.national_number for found in written)


def _time_zones(number: PhoneNumber, kind: int) -> Sequence[str]:
    # `time_zones_for_number` would determine the kind again, which takes half as long as parsing.
    if phonenumbers.is_number_type_geographical(kind, number.country_code or 0):
        return time_zones_for_geographical_number(number)
    return time_zones_for_number(number)


def _remove_spreadsheet_marks(text: str) -> str:
    """Remove what spreadsheets add to a number, such as `'`, `="…"` and `.0`, and hidden signs."""
    plain = " ".join(UNSEEN.sub("", text).split())  # to the library, a thin space is not a space
    return DECIMAL.sub(r"\1", AS_TEXT.sub("", plain))


def _describe_ambiguity(readings: Sequence[PhoneNumber], kind: int) -> str:
    ambiguous = len(readings) > 1 and kind != PhoneNumberType.UNKNOWN
    return f"{AMBIGUOUS}: {' or '.join(map(_format_e164, readings))}" if ambiguous else ""


def _problem_of(number: PhoneNumber, kind: int) -> str:
    """Return why a number cannot be called, as a code; empty if it can."""
    if number.extension:
        return "has_extension"  # another person answers the main number
    if kind == PhoneNumberType.UNKNOWN:  # the library's answer for all invalid numbers
        length = phonenumbers.is_possible_number_with_reason(number)
        return LENGTH_REASONS.get(length, "not_a_number")
    return ""


def _letter_problem(text: str, number: PhoneNumber, kind: int) -> str:
    """Return an error code if letters do not mean digits: the library would dial or drop them.

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
    """Return a time zone by its name; `None` if the name is unknown."""
    if name in ("", UNKNOWN):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a valid name; the name of a folder
        return None


def zone_of(number: str, *, region: str) -> str:
    """Return the name of a number's time zone, the first of several; empty if unknown."""
    read = read_number(number, region=region)
    zones = read.zones if isinstance(read, CallableNumber) else ()
    return next((zone for zone in zones if "/" in zone and not zone.startswith("Etc/")), "")
