"""Contacts and dials as rows."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Row

from calls.outbound import CallConsent, Contact, Dial, DialOutcome

Kind = TypeVar("Kind", Contact, Dial)
INTENT: Final = (
    *("id", "campaign", "contact_id", "number", "attempt"),
    *("state", "holder", "lease_until_s", "intended_s"),
)


def read_contact(row: Row[Any], consent: CallConsent | None = None) -> Contact:
    """Return a row of `contacts`."""
    zones, about = tuple(row.zones.split()), read_fields(row.fields)
    return _read(Contact, row, zones=zones, fields=about, consent=consent)


def read_dial(row: Row[Any]) -> Dial:
    """Return a row of `dials`."""
    return _read(Dial, row)


def _read(kind: type[Kind], row: Row[Any], **converted: Any) -> Kind:
    """Return a row as a value, which has the row's names; some are converted."""
    converted["outcome"] = DialOutcome(row.outcome) if row.outcome else None
    names = (field.name for field in fields(kind) if field.name not in converted)
    return kind(**{name: getattr(row, name) for name in names}, **converted)


def write_intent(dial: Dial) -> dict[str, Any]:
    """Return the row of a dial that begins."""
    unknown = {"provider_call_id": "", "outcome": "", "counted": False, "reason": ""}
    return {name: getattr(dial, name) for name in INTENT} | unknown


def write_fields(said: Mapping[str, str]) -> str:
    """Return what a file said of a contact beside what we know, as JSON."""
    return json.dumps(dict(said), ensure_ascii=False)


def read_fields(text: str) -> dict[str, str]:
    """Return what was written."""
    said: dict[str, str] = json.loads(text)
    return said
