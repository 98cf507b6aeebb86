"""The reasons why a row is refused or a contact cannot be called, in words and with the cure."""

from collections.abc import Mapping
from typing import Final

from campaigns.model import Campaign

DATES: Final = "2026-03-31, 31.03.2026, 31 Mar 2026 or a spreadsheet's day number"
CURES: Final = {
    # of rows
    "no_number": "the row has no number",
    "not_a_number": "this is not a telephone number; write it as +4930901820",
    "too_short": "the number has too few digits; write all of it, with its area code",
    "too_long": "the number has too many digits; write it as +4930901820",
    "no_country_code": "the country code is missing or unknown; write +49… or set `region`",
    "no_area_code": "the area code is missing; write the whole number",
    "ambiguous": "the digits may be two numbers; write the number with + and its country code",
    "digits_lost": "a spreadsheet has rounded the number; format the column as text",
    "has_extension": "the number has an extension, without which another person would answer",
    "has_letters": "the number has letters; write digits only",
    "cost_class": "the number is costly (premium, satellite, …), and its class is not in "
    "outbound.cost_classes; add it there if you want to pay for such calls",
    "country": "the number is in a country that is not in outbound.countries; add the country "
    "there, and import again",
    "emergency": "this is an emergency number; Holdline never calls one",
    "prefix_not_allowed": "the number does not begin with one of the campaign's `prefixes`",
    "too_many_cells": "the row has more cells than the header; quote cells with separators in them",
    "unknown_zone": "there is no such time zone; write one such as Europe/Berlin",
    "wrong_priority": "the priority must be a whole number from -1000 to 1000",
    "too_much_text": "the columns of the row have more than 8,000 characters",
    "no_consent": "kind, date or source of the consent is missing; fill consent_kind, consent_date "
    "and consent_source, or set `consent_required: false`",
    "wrong_consent_date": f"the date of the consent cannot be read; write {DATES}",
    "ambiguous_consent_date": f"the date of the consent may be two days; write {DATES}",
    "consent_in_future": "the date of the consent is after today",
    "duplicate": "the number is twice in the file; the first row counts",
    "opted_out": "a column of the file says that the person does not want calls; leave the row out",
    "do_not_call": "the number is on the do-not-call list",
    "line_too_long": "the line has more than 65,536 characters",
    "quote_not_closed": "a quotation mark is not closed",
    "zero_byte": "the line has a zero byte; save the file as CSV UTF-8",
    "wrong_encoding": "the line has bytes that are not text in this encoding; give --encoding",
    "not_csv": "the line cannot be read as CSV",
    # of contacts
    "no_zone": "the time zone of the number is unknown; add a column `zone`, or set "
    "`window.default_zone`",
    "refused": "the number cannot be called",
    "taken_out": "an operator has taken the contact out of the campaign",
}
LACKS: Final = "lacks_"


def reason_lines(counts: Mapping[str, int], campaign: Campaign) -> list[str]:
    """Return a line for each reason with its count and the cure, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [f"{count} ({code}): {cure_of(code, campaign)}" for code, count in ordered]


def cure_of(code: str, campaign: Campaign) -> str:
    """Return a code in words, with the cure if there is one."""
    if code.startswith(LACKS):
        return f"nothing fills {{{code.removeprefix(LACKS)}}} of the campaign's texts"
    if code == "no_common_hour":
        window = campaign.window
        hours = f"{clock_time(window.opens_s)} to {clock_time(window.closes_s)}"
        return (
            f"the number may be in several time zones, and {hours} is at no time in all of them; "
            "add a column `zone` such as Europe/Moscow and import again, or widen `window`"
        )
    return CURES.get(code) or code.replace("_", " ")


def clock_time(seconds: float) -> str:
    """Return seconds since midnight as a time of day, such as 08:00."""
    return f"{int(seconds // 3600):02}:{int(seconds % 3600 // 60):02}"
