"""Contacts that campaigns may call: imports, consent, the do-not-call list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import CallConsent
from campaigns.store.claim import write_fields
from campaigns.store.office import make_campaign
from operations.database.database import Database
from operations.database.many_rows import insert_missing, is_one_of, work_by_index
from operations.database.tables import CONSENTS, CONTACTS, DIALS, DO_NOT_CALL

ImportedAs: TypeAlias = Literal["added", "known", "duplicate", "do_not_call"]
"""New; in the campaign before this import; twice in this import; on the do-not-call list."""

BATCH: Final = 1000  # rows of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContact:
    """A contact to be stored; the number is E.164."""

    number: str
    name: str = ""
    zones: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict[str, str])
    consent: CallConsent | None = None
    priority: int = 0
    due_s: float = 0.0  # set for a callback


@dataclass(slots=True)
class ContactStore:
    """Stores contacts; every method raises `StorageError` when the database fails."""

    database: Database

    async def add(
        self, campaign: str, contacts: Sequence[NewContact], *, now: float
    ) -> Sequence[ImportedAs]:
        """Store at most `BATCH` contacts; return the result for each, in order.

        All batches of one import share `now`, which tells a number that occurs twice in the import
        from one that was there before. The campaign is created if it does not exist.
        """
        numbers = [contact.number for contact in contacts]
        async with self.database.transaction() as connection:
            # Otherwise two imports of one file could both take a number for new.
            await work_by_index(connection, f"contacts of {campaign}")
            await make_campaign(self.database, connection, campaign, now)
            known = await _known(connection, campaign, numbers)
            barred = await _barred_of(connection, numbers)
            told: list[ImportedAs] = []
            new: dict[str, NewContact] = {}
            for contact in contacts:
                told.append(_become(contact.number, new, known, barred, now))
                if told[-1] == "added":
                    new[contact.number] = contact
            await _insert(connection, campaign, list(new.values()), now)
        return told

    async def do_not_call(self, numbers: Iterable[str]) -> frozenset[str]:
        """Return the numbers that are on the do-not-call list."""
        async with self.database.reading() as connection:
            return await _barred_of(connection, list(numbers))

    async def add_do_not_call(
        self, number: str, *, source: str, now: float, dial_id: str = ""
    ) -> bool:
        """Put a number on the list and exclude its contacts; return False if it was listed before.

        A contact that is being called is excluded when that call has its outcome.

        Args:
            number: E.164, or as a carrier wrote it.
            source: Where the request came from.
            now: Since when.
            dial_id: The dial of a campaign that called them. The number of its contact is listed
                too, because the carrier may have written it in another way.
        """
        dialled = select(DIALS.c.number).where(DIALS.c.id == dial_id)
        async with self.database.transaction() as connection:
            numbers = {number, *(await connection.execute(dialled)).scalars()}
            row = {"source": source[:100], "added_s": now}
            rows = [{"number": item, **row} for item in sorted(numbers)]
            listed = self.database.insert(DO_NOT_CALL).values(rows).on_conflict_do_nothing()
            new = (await connection.execute(listed)).rowcount > 0
            theirs = CONTACTS.c.number.in_(numbers)
            open_ones = CONTACTS.c.state.in_(("waiting", "resting")) & theirs
            await connection.execute(update(CONTACTS).where(open_ones).values(state="excluded"))
        return new


async def _insert(
    connection: AsyncConnection, campaign: str, new: Sequence[NewContact], now: float
) -> None:
    await insert_missing(
        connection, CONTACTS, [contact_row(campaign, new_contact, now) for new_contact in new]
    )
    consents = [_consent(campaign, new_contact, now) for new_contact in new if new_contact.consent]
    await insert_missing(connection, CONSENTS, consents)


def _become(
    number: str,
    new: Iterable[str],
    known: dict[str, float],
    barred: frozenset[str],
    now: float,
) -> ImportedAs:
    if number in barred:
        return "do_not_call"
    if number in new or known.get(number) == now:
        return "duplicate"
    return "known" if number in known else "added"


async def _known(
    connection: AsyncConnection, campaign: str, numbers: Sequence[str]
) -> dict[str, float]:
    # By number first, in a CTE of its own. With both conditions at once, PostgreSQL reads the whole
    # campaign for each thousand numbers: before ANALYZE it assumes that a campaign has few
    # contacts.
    found = (
        select(CONTACTS.c.campaign, CONTACTS.c.number, CONTACTS.c.imported_s)
        .where(is_one_of(connection, CONTACTS.c.number, numbers))
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    own = select(found.c.number, found.c.imported_s).where(found.c.campaign == campaign)
    return {row.number: row.imported_s for row in await connection.execute(own)}


async def _barred_of(connection: AsyncConnection, numbers: Sequence[str]) -> frozenset[str]:
    among = is_one_of(connection, DO_NOT_CALL.c.number, numbers)
    own = select(DO_NOT_CALL.c.number).where(among)
    return frozenset((await connection.execute(own)).scalars())


def contact_row(campaign: str, contact: NewContact, now: float) -> dict[str, Any]:
    """Return the row of a contact that was never dialled."""
    return {
        "campaign": campaign,
        "number": contact.number,
        "name": contact.name[:200],
        "zones": " ".join(contact.zones),
        "fields": write_fields(contact.fields),
        "priority": contact.priority,
        "state": "waiting",
        "due_s": contact.due_s,
        "attempts": 0,
        "dials": 0,
        "uncounted": 0,
        "outcome": "",
        "imported_s": now,
    }


def _consent(campaign: str, contact: NewContact, now: float) -> dict[str, Any]:
    consent = contact.consent or CallConsent(kind="", given_on="", source="")
    return {
        "campaign": campaign,
        "number": contact.number,
        "kind": consent.kind[:64],
        "given_on": consent.given_on[:32],
        "source": consent.source[:300],
        "recorded_s": now,
    }
