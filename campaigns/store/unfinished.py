"""Counts a campaign's unfinished contacts for the summary before its start."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, case, func, or_, select

from calls.outbound import RULED_OUT
from campaigns.store.claim import OPEN_STATES
from operations.database.database import Database
from operations.database.tables import CONSENTS, CONTACTS

UNDECIDED: Final = or_(
    CONTACTS.c.state.in_(OPEN_STATES),
    and_(CONTACTS.c.state == "excluded", CONTACTS.c.reason.in_(RULED_OUT)),
)
OWN_CONSENT: Final = and_(
    CONSENTS.c.campaign == CONTACTS.c.campaign, CONSENTS.c.number == CONTACTS.c.number
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactGroup:
    """Unfinished contacts that the campaign's rules treat alike.

    Attributes:
        contacts: How many contacts there are in the group.
        zones: The time zones in which their numbers may be.
        example: One of their numbers, which all begin with the same digits.
        agreed: Whether their consent is recorded.
        due_s: When the first contact is due.
    """

    contacts: int
    zones: tuple[str, ...]
    example: str
    agreed: bool
    due_s: float


@dataclass(slots=True)
class UnfinishedContacts:
    """Reads unfinished contacts; every method raises `StorageError` if the database fails."""

    database: Database

    async def groups(self, campaign: str, *, digits: int) -> Sequence[ContactGroup]:
        """Return groups of contacts that may be called or that the campaign's rules have excluded.

        Args:
            campaign: The campaign's name.
            digits: How many first characters of the numbers are the same in a group.
        """
        agreed = CONSENTS.c.number.is_not(None).label("agreed")
        head = func.substr(CONTACTS.c.number, 1, digits)
        # A stored reason comes from the rules at the last check, which may have changed since. So
        # the due time of such a contact does not count.
        due_s = case((CONTACTS.c.reason == "", CONTACTS.c.due_s), else_=0.0)
        found = (
            select(
                func.count().label("many"),
                CONTACTS.c.zones,
                func.min(CONTACTS.c.number).label("example"),
                agreed,
                func.min(due_s).label("due"),
            )
            .select_from(CONTACTS.outerjoin(CONSENTS, OWN_CONSENT))
            .where(CONTACTS.c.campaign == campaign, UNDECIDED)
            .group_by(CONTACTS.c.zones, head, agreed)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(found)).all()
        return [
            ContactGroup(
                contacts=row.many,
                zones=tuple(row.zones.split()),
                example=row.example,
                agreed=bool(row.agreed),
                due_s=row.due,
            )
            for row in rows
        ]

    async def excluded(self, campaign: str) -> Mapping[str, int]:
        """Return how many contacts are excluded, by the code of the reason."""
        own = (CONTACTS.c.campaign == campaign) & (CONTACTS.c.state == "excluded")
        found = select(CONTACTS.c.reason, func.count()).where(own).group_by(CONTACTS.c.reason)
        async with self.database.reading() as connection:
            rows = (await connection.execute(found)).all()
        return {str(reason): int(count) for reason, count in rows}

    async def lacking(self, campaign: str, placeholder: str) -> int:
        """Return how many unfinished contacts have no value for a placeholder: name or field."""
        if placeholder == "name":
            lacks = CONTACTS.c.name == ""
        else:  # the fields are JSON without empty values
            lacks = ~CONTACTS.c.fields.contains(
                f"{json.dumps(placeholder, ensure_ascii=False)}: ", autoescape=True
            )
        found = select(func.count()).where(CONTACTS.c.campaign == campaign, UNDECIDED, lacks)
        async with self.database.reading() as connection:
            return (await connection.execute(found)).scalar_one()

    async def some_names(self, campaign: str, *, most: int) -> Sequence[str]:
        """Return the names of the first few imported contacts that are still to be called."""
        own = (CONTACTS.c.campaign == campaign) & CONTACTS.c.state.in_(OPEN_STATES)
        found = select(CONTACTS.c.name).where(own, CONTACTS.c.name != "")
        async with self.database.reading() as connection:
            return (
                (await connection.execute(found.order_by(CONTACTS.c.id).limit(most)))
                .scalars()
                .all()
            )
