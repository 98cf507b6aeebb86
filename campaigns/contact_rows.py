"""Reads one row of a contacts file: a contact of the campaign, or why the row is refused."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from calls.outbound import CallConsent
from campaigns.order_gate import read_called
from campaigns.order_rules import OrderRules, judge_contact
from campaigns.placeholders import lacking
from contacts.contact_files import ContactCells
from contacts.numbers import CallableNumber, read_number, readings_of, zone_named

OPTED_OUT: Final = "opted_out"
MAX_PRIORITY: Final = 1000  # the largest absolute value
MAX_FIELDS: Final = 8000  # characters, for all additional columns together


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRow:
    """A row that can become a contact.

    Attributes:
        zone_given: Whether the file names the zone.
    """

    number: str
    zones: tuple[str, ...]
    zone_given: bool = False
    name: str = ""
    priority: int = 0
    consent: CallConsent | None = None
    fields: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOutRow:
    """A row of a person who does not want to be called, according to a column of the file.

    Attributes:
        reason: The code of the reason, with the column's heading.
        numbers: The person's numbers, if the column says so clearly.
    """

    reason: str
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """Rules that a row must pass.

    Attributes:
        region: The country of numbers without a country code.
        consent_required: Whether a row without consent is refused.
        today: The current day; later consent dates are refused.
        prefixes: A number must begin with one of these; empty allows all numbers.
        order_rules: The rules of the gate, which the number must pass as well.
        headings: The placeholder that a column fills, by the column's heading in the file.
        needed: The placeholders for which each row must have a value.
    """

    region: str
    consent_required: bool
    today: date
    prefixes: tuple[str, ...] = ()
    order_rules: OrderRules = field(default_factory=OrderRules)
    headings: Mapping[str, str] = field(default_factory=dict[str, str])
    needed: tuple[str, ...] = ()


def read_contact_row(cells: ContactCells, rules: RowRules) -> ContactRow | OptedOutRow | str:
    """Return the row as a contact, or the code of the reason for its refusal.

    An opt-out decides first. A code may have a detail after a colon, such as the country.
    """
    if cells.opt_out:
        reason = f"{OPTED_OUT}: {cells.opt_out}"
        numbers = cells.numbers if cells.opted_out else ()
        readings = (readings_of(number, region=rules.region or None) for number in numbers)
        return OptedOutRow(
            reason=reason, numbers=tuple(one for (one,) in filter(_is_one, readings))
        )
    if not cells.fits:
        return "too_many_cells"
    number = _first_usable(cells, rules)
    if isinstance(number, str):
        return number
    consent = _consent_or_refusal(cells.more, rules)
    if isinstance(consent, str):
        return consent
    return _contact_or_refusal(cells, number, consent, rules)


def _is_one(readings: Sequence[str]) -> bool:
    return len(readings) == 1  # an ambiguous number is not listed on a guess


def _first_usable(cells: ContactCells, rules: RowRules) -> CallableNumber | str:
    """Return the first number that may be called; if there is none, why the first one may not."""
    reasons = list[str]()
    for text in cells.numbers or ("",):
        number = read_number(text, region=rules.region)
        if not isinstance(number, CallableNumber):
            reasons.append(number)
        elif rules.prefixes and not number.e164.startswith(rules.prefixes):
            reasons.append("prefix_not_allowed")
        elif refusal := _gate_refusal(number.e164, rules.order_rules):
            reasons.append(refusal)
        else:
            return number
    return reasons[0]


def _gate_refusal(number: str, order_rules: OrderRules) -> str:
    """Return why the gate refuses a number, with its class or country; empty if it does not."""
    called = read_called(number, "")
    refusal = judge_contact(called, order_rules)
    if refusal is None:
        return ""
    detail = {"cost_class": called.cost_class, "country": called.country}.get(refusal.reason, "")
    return f"{refusal.reason}: {detail}" if detail else refusal.reason


def _contact_or_refusal(
    cells: ContactCells, number: CallableNumber, consent: CallConsent | None, rules: RowRules
) -> ContactRow | str:
    """Return the contact of a row with this number, or the code of the reason for its refusal.

    A zone in the file replaces those in which the number may be.
    """
    zone, priority = cells.more.get("zone", ""), cells.more.get("priority", "") or "0"
    if zone and zone_named(zone) is None:
        return "unknown_zone"
    if not re.fullmatch(r"[+-]?\d{1,4}", priority) or abs(int(priority)) > MAX_PRIORITY:
        return "wrong_priority"
    fields = {rules.headings.get(name, name): cell for name, cell in cells.fields.items()}
    if _total_length(fields.items()) > MAX_FIELDS:
        return "too_much_text"
    if missing := lacking(rules.needed, cells.name, fields):
        return f"lacks_{missing[0]}"
    return ContactRow(
        number=number.e164,
        zones=(zone,) if zone else number.zones,
        zone_given=bool(zone),
        name=cells.name,
        priority=int(priority),
        consent=consent,
        fields=fields,
    )


def _total_length(pairs: Iterable[tuple[str, str]]) -> int:
    return sum(len(name) + len(cell) for name, cell in pairs)


def _consent_or_refusal(more: Mapping[str, str], rules: RowRules) -> CallConsent | str | None:
    """Return a row's consent, `None` if it has and needs none, or the code of the refusal.

    A consent without its kind, date or source counts as none.
    """
    kind, given, source = (more.get(f"consent_{part}", "") for part in ("kind", "date", "source"))
    if not (kind and given and source):
        return "no_consent" if rules.consent_required else None
    day = read_day(given)
    if isinstance(day, str):
        return day
    if day > rules.today:
        return "consent_in_future"
    return CallConsent(kind=kind, given_on=day.isoformat(), source=source)


YEAR_FIRST: Final = re.compile(r"(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})\.?")
YEAR_LAST: Final = re.compile(r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4})")
NAMED_MONTH: Final = re.compile(r"(\d{1,2})[ .-]{0,2}([a-z]{3,9})[ .,-]{1,2}(\d{4}|\d{2})")
MONTH_FIRST: Final = re.compile(r"([a-z]{3,9})[ .-]{0,2}(\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")
EAST_ASIAN: Final = re.compile(r"(\d{4})[年년] ?(\d{1,2})[月월] ?(\d{1,2})[日일]")
TIME_OF_DAY: Final = re.compile(r",?[ T]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?$", re.IGNORECASE)
SERIAL: Final = re.compile(r"([2-6]\d{4})([.,]\d+)?")  # a spreadsheet's days since 1899-12-30
SERIAL_BEGAN: Final = date(1899, 12, 30)
MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


def read_day(text: str) -> date | str:
    """Return the date in a text, or `wrong_consent_date` or `ambiguous_consent_date`.

    People and spreadsheets write dates in many forms. With dots, the day comes first everywhere.
    With slashes or dashes, the order depends on the country, so an ambiguous date is refused. A
    number of five digits is a spreadsheet's count of days.
    """
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        day = TIME_OF_DAY.sub("", text.strip()).lower()
    if parts := YEAR_LAST.fullmatch(day):
        first, separator, second, year = int(parts[1]), parts[2], int(parts[3]), int(parts[4])
        return _choose_order(
            _date_if_valid(year, second, first),
            _date_if_valid(year, first, second),
            dots=separator == ".",
        )
    if serial := SERIAL.fullmatch(day):
        return SERIAL_BEGAN + timedelta(days=int(serial[1]))
    return _in_one_order(day) or "wrong_consent_date"


def _choose_order(day_first: date | None, month_first: date | None, *, dots: bool) -> date | str:
    """Return the date that is meant, or an error code; an argument that is no date is `None`.

    With `dots`, the day comes first. Otherwise two different dates are ambiguous.
    """
    if dots or month_first is None:
        return day_first or "wrong_consent_date"
    return month_first if day_first in (None, month_first) else "ambiguous_consent_date"


def _in_one_order(text: str) -> date | None:
    """Return the date in a text of a form in which the order of day and month is fixed.

    `None` if the text has no such form, or if there is no such day.
    """
    for form in (YEAR_FIRST, EAST_ASIAN):
        if found := form.fullmatch(text):
            return _date_if_valid(int(found[1]), int(found[2]), int(found[3]))
    if found := NAMED_MONTH.fullmatch(text):
        year = int(found[3])
        return _date_if_valid(
            year + 2000 if year < 100 else year, _month_number(found[2]), int(found[1])
        )
    if found := MONTH_FIRST.fullmatch(text):
        return _date_if_valid(int(found[3]), _month_number(found[1]), int(found[2]))
    return None


def _month_number(name: str) -> int:
    return MONTHS.index(name[:3]) + 1 if name[:3] in MONTHS else 0


def _date_if_valid(year: int, month: int, day: int) -> date | None:
    """Return a date; `None` if there is no such day."""
    try:
        return date(year, month, day)
    except ValueError:
        return None
