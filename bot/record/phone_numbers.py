"""One form for a telephone number, however somebody writes it: E.164."""

import re
from collections.abc import Callable
from typing import Final

import phonenumbers

AROUND: Final = re.compile(r"^(?:sips?|tel|whatsapp):|[@;].*$", re.IGNORECASE)  # RFC 3261, RFC 3966
LEAST_DIGITS: Final = 5  # a number with fewer is none that could be called
ENDING_DIGITS: Final = 6  # that every way of writing a number has at its end


def e164(text: str, *, region: str | None) -> str | None:
    """Return a number as +CCNNN; None: it is none, or without a region it could be anybody's.

    Args:
        text: A number, or a SIP address whose user is one.
        region: ISO 3166 code of the country whose numbers are written without a country code.
    """
    bare = AROUND.sub("", text.strip())
    try:
        number = phonenumbers.parse(bare, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    digits = "".join(each for each in bare if each.isdigit())
    return f"+{digits}" if bare.startswith("+") and len(digits) >= LEAST_DIGITS else None


def same_as(wanted: str, *, region: str | None) -> Callable[[str], bool]:
    """Return what says whether a number that a carrier gave is this one.

    Args:
        wanted: E.164.
        region: As above.
    """

    def same(text: str) -> bool:
        bare = AROUND.sub("", text.strip())
        return wanted in (e164(bare, region=region), f"+{bare}", bare)

    return same


def ending_of(number: str) -> str:
    """Return a number's last digits."""
    return number[-ENDING_DIGITS:].lstrip("+")
