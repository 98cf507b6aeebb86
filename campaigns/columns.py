"""What each column of a file of contacts is, by its header, and a row as a contact."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from calls.outbound import CallConsent
from campaigns.window import zone_of
from operations.numbers import CallableNumber, read_number

KNOWN: Final[Mapping[str, tuple[str, ...]]] = {  # ours, and what others call it
    "number": ("phone", "phone_number", "telephone", "mobile", "tel", "cell", "msisdn"),
    "name": ("full_name", "contact", "contact_name"),
    "zone": ("timezone", "time_zone", "tz"),
    "priority": (),
    "consent_kind": ("consent", "consent_type"),
    "consent_date": ("consent_given_on", "consented_on"),
    "consent_source": (),
}
NAMES: Final = {each: ours for ours, others in KNOWN.items() for each in (ours, *others)}
PRIORITIES: Final = 1000  # at most, on either side of 0
MOST_FIELDS: Final = 8000  # characters, of all that we do not know together


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRow:
    """A row that can become a contact."""

    number: str
    zones: tuple[str, ...]
    name: str = ""
    priority: int = 0
    consent: CallConsent | None = None
    fields: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What a row must be like.

    Attributes:
        region: Of numbers without a country code.
        consent_required: Whether a row without consent is refused.
        today: No consent is younger.
        prefixes: A number begins with one of these; none: all may be called.
    """

    region: str
    consent_required: bool
    today: date
    prefixes: tuple[str, ...] = ()


class HeaderError(Exception):
    """The columns do not say where the number stands; one line with the cure."""


def read_header(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each column, ours where we know it.

    Raises:
        HeaderError: None of them is the number's, or two are.
    """
    plain = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    names = tuple(NAMES.get(name, cell) for name, cell in zip(plain, cells, strict=True))
    twice = {name for name in names if name in KNOWN and names.count(name) > 1}
    if twice:
        raise HeaderError(f"names the column {sorted(twice)[0]} twice; rename one of them")
    if "number" not in names:
        raise HeaderError(
            "has no column for the number in its first line; let it begin with a line such as "
            "number,name,consent_kind,consent_date,consent_source, or name them with --columns"
        )
    return names


def read_contact_row(
    names: Sequence[str], cells: Sequence[str], rules: RowRules
) -> ContactRow | str:
    """Return a row as a contact, or the code of why it is refused."""
    if any(cells[len(names) :]):
        return "too_many_cells"
    said = dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=False))
    number = read_number(said["number"], region=rules.region)
    if isinstance(number, str):
        return number
    if rules.prefixes and not number.e164.startswith(rules.prefixes):
        return "prefix_not_allowed"
    consent = _consent(said, rules)
    if isinstance(consent, str):
        return consent
    return _contact(said, number, consent)


def _contact(
    said: Mapping[str, str], number: CallableNumber, consent: CallConsent | None
) -> ContactRow | str:
    zone, priority = said.get("zone", ""), said.get("priority", "") or "0"
    if zone and zone_of(zone) is None:
        return "unknown_zone"
    if not re.fullmatch(r"[+-]?\d{1,4}", priority) or abs(int(priority)) > PRIORITIES:
        return "wrong_priority"
    fields = {name: cell for name, cell in said.items() if name and name not in KNOWN and cell}
    if _length(fields.items()) > MOST_FIELDS:
        return "too_much_text"
    return ContactRow(
        number=number.e164,
        zones=(zone,) if zone else number.zones,
        name=said.get("name", ""),
        priority=int(priority),
        consent=consent,
        fields=fields,
    )


def _consent(said: Mapping[str, str], rules: RowRules) -> CallConsent | str | None:
    kind, given, source = (said.get(f"consent_{part}", "") for part in ("kind", "date", "source"))
    if not (kind and given and source):
        return "no_consent" if rules.consent_required else None
    try:
        day = datetime.fromisoformat(given).date()
    except ValueError:
        return "wrong_consent_date"
    if day > rules.today:
        return "consent_in_future"
    return CallConsent(kind=kind, given_on=day.isoformat(), source=source)


def _length(pairs: Iterable[tuple[str, str]]) -> int:
    return sum(len(name) + len(cell) for name, cell in pairs)
