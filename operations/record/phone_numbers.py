"""Normalises phone numbers to E.164."""

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import phonenumbers

from calls.caller import AROUND, MIN_DIGITS, is_dialable

ABROAD: Final = "00"  # before a country code (ITU-T E.164); `server.region` decides on others
ENDING_DIGITS: Final = 6  # at the end of every notation of a number


def e164(text: str, *, region: str | None) -> str | None:
    """Return a number as +CCNNN; `None` if invalid or ambiguous without a region.

    Args:
        text: A number, or a SIP address whose user is one.
        region: ISO 3166 code of the country whose numbers are written without a country code.
    """
    bare = _bare(text)
    if not is_dialable(bare):
        return None
    try:
        number = phonenumbers.parse(bare, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    digits = _digits(bare)
    return f"+{digits}" if bare.startswith("+") and len(digits) >= MIN_DIGITS else None


def as_dialled(text: str, *, region: str | None) -> str:
    """Return a carrier's number as it is dialled: E.164, if that can be determined.

    Empty if it is no number.

    Args:
        text: A number, or a SIP address whose user is one.
        region: As above.
    """
    bare = _bare(text)
    return e164(bare, region=region) or (_whole(bare) if is_dialable(bare) else "")


def same_as(wanted: str, *, region: str | None) -> Callable[[str], bool]:
    """Return a function that tells whether a carrier's number is this one.

    Args:
        wanted: E.164.
        region: As above.
    """

    def same(text: str) -> bool:
        bare = _bare(text)
        return wanted in (e164(bare, region=region), _whole(bare), bare)

    return same


def ending_of(number: str) -> str:
    """Return a number's last digits."""
    return number[-ENDING_DIGITS:].lstrip("+")


def _bare(text: str) -> str:
    """Return the number part of a telephone address, including its marks."""
    return unquote(AROUND.sub("", text.strip()))  # "%2B" is a plus (RFC 3261, section 19.1.2)


def _whole(bare: str) -> str:
    # Many carriers leave out the plus, or write it as most countries dial it (ITU-T E.164).
    return f"+{_digits(bare).removeprefix(ABROAD)}"


def _digits(text: str) -> str:
    return "".join(item for item in text if item.isdigit())
