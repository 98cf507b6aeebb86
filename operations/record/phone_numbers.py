"""One form for a telephone number, however somebody writes it: E.164."""

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import phonenumbers

from calls.caller import AROUND, LEAST_DIGITS, is_dialable

ABROAD: Final = "00"  # before a country code (ITU-T E.164); elsewhere `server.region` knows it
ENDING_DIGITS: Final = 6  # that every way of writing a number has at its end


def e164(text: str, *, region: str | None) -> str | None:
    """Return a number as +CCNNN; None: it is none, or without a region it could be anybody's.

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
    return f"+{digits}" if bare.startswith("+") and len(digits) >= LEAST_DIGITS else None


def as_dialled(text: str, *, region: str | None) -> str:
    """Return a number that a carrier gave as it is dialled: E.164, as far as that can be told.

    Empty: it is nobody's.

    Args:
        text: A number, or a SIP address whose user is one.
        region: As above.
    """
    bare = _bare(text)
    return e164(bare, region=region) or (_whole(bare) if is_dialable(bare) else "")


def same_as(wanted: str, *, region: str | None) -> Callable[[str], bool]:
    """Return what says whether a number that a carrier gave is this one.

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
    """Return what stands in an address of a telephone for its number, marks and all."""
    return unquote(AROUND.sub("", text.strip()))  # "%2B" is a plus (RFC 3261, section 19.1.2)


def _whole(bare: str) -> str:
    # Many carriers leave the plus out, or write it as most countries dial it (ITU-T E.164).
    return f"+{_digits(bare).removeprefix(ABROAD)}"


def _digits(text: str) -> str:
    return "".join(item for item in text if item.isdigit())
