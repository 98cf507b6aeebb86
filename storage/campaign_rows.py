"""Contacts and dials as rows."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Row

from calls.outbound import CallConsent, Contact, Dial, DialOutcome


def read_contact(row: Row[Any], consent: CallConsent | None = None) -> Contact:
    """Return a row of `contacts`."""
    return Contact(
        id=row.id,
        campaign=row.campaign,
        number=row.number,
        name=row.name,
        zones=tuple(row.zones.split()),
        fields=read_fields(row.fields),
        consent=consent,
        priority=row.priority,
        state=row.state,
        due_s=row.due_s,
        attempts=row.attempts,
        dials=row.dials,
        uncounted=row.uncounted,
        outcome=DialOutcome(row.outcome) if row.outcome else None,
        imported_s=row.imported_s,
    )


def read_dial(row: Row[Any]) -> Dial:
    """Return a row of `dials`."""
    return Dial(
        id=row.id,
        campaign=row.campaign,
        contact_id=row.contact_id,
        number=row.number,
        attempt=row.attempt,
        holder=row.holder,
        lease_until_s=row.lease_until_s,
        intended_s=row.intended_s,
        state=row.state,
        confirmed_s=row.confirmed_s,
        provider_call_id=row.provider_call_id,
        answered_s=row.answered_s,
        ended_s=row.ended_s,
        outcome=DialOutcome(row.outcome) if row.outcome else None,
        reason=row.reason,
        length_s=row.length_s,
        cost=row.cost,
        providers_cost=row.providers_cost,
        unpriced=row.unpriced,
        abandoned=row.abandoned,
    )


def write_intent(dial: Dial) -> dict[str, Any]:
    """Return the row of a dial that begins."""
    return {
        "id": dial.id,
        "campaign": dial.campaign,
        "contact_id": dial.contact_id,
        "number": dial.number,
        "attempt": dial.attempt,
        "state": dial.state,
        "holder": dial.holder,
        "lease_until_s": dial.lease_until_s,
        "intended_s": dial.intended_s,
        "provider_call_id": "",
        "outcome": "",
        "counted": False,
        "reason": "",
    }


def write_fields(fields: Mapping[str, str]) -> str:
    """Return what a file said of a contact beside what we know, as JSON."""
    return json.dumps(dict(fields), ensure_ascii=False)


def read_fields(text: str) -> dict[str, str]:
    """Return what was written."""
    said: dict[str, str] = json.loads(text)
    return said
