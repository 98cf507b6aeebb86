"""Rows that are about a number and belong to no call, and who of them is being called.

A contact who is being called stays, with its consent and its dial, until the dial has its outcome.
Without the contact nobody could see the dial to its end; and SQLite may give the contact's id to
somebody else, whose first dial would then be, in the ledger, one that is there. A dial that nobody
has renewed for as long as one may last is of a campaign that is no more: nobody sees it to its end.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Executable, Table, delete, exists, select, true
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from campaigns.store.claim import LONGEST_S
from operations.database.campaign_tables import CONSENTS, CONTACTS, DIALS
from operations.database.crm_tables import CRM_REPORTS
from operations.database.result_tables import CALL_RESULTS, CALLBACK_CONTACTS
from operations.database.tables import CALLBACKS

SameNumber: TypeAlias = Callable[[str], bool]
"""Whether a number, however it was written, is the one that is meant."""

AT_A_TIME: Final[Sequence[Sequence[Table]]] = (
    (CALLBACKS,),
    (CALL_RESULTS,),
    (CRM_REPORTS,),
    # Contacts before their dials: one that gets its outcome in between is still named as left.
    (CONTACTS, CONSENTS, CALLBACK_CONTACTS, DIALS),
)
"""The tables, by the transactions in which they are erased from."""


def _over(now: float) -> Mapping[str, ColumnElement[bool]]:
    """Return by table which rows belong to nobody who is being called."""
    settled = DIALS.c.state == "settled"
    left = ~settled & (DIALS.c.lease_until_s < now - LONGEST_S)
    # Not "there is none that goes on": PostgreSQL does not see the one of a claim of this moment.
    left_alone = exists().where(DIALS.c.contact_id == CONTACTS.c.id, left)
    return {
        CONTACTS.name: (CONTACTS.c.state != "dialling") | left_alone,
        CONSENTS.name: ~exists().where(
            CONTACTS.c.campaign == CONSENTS.c.campaign, CONTACTS.c.number == CONSENTS.c.number
        ),
        CALLBACK_CONTACTS.name: ~exists().where(CONTACTS.c.id == CALLBACK_CONTACTS.c.contact_id),
        DIALS.name: settled | left,
    }


async def erase_rows(
    connection: AsyncConnection,
    tables: Sequence[Table],
    ending: str,
    same: SameNumber,
    *,
    now: float,
) -> Mapping[str, int]:
    """Erase what tables know of a number; return how many rows of each.

    Args:
        connection: In a transaction.
        tables: One of `AT_A_TIME`.
        ending: The number's last digits, which every way of writing it has, in this order.
        same: Looks at each number that has them.
        now: In seconds since 1970.
    """
    over = _over(now)
    erased: dict[str, int] = {}
    for table in tables:
        found = select(table.c.number).where(_about(table, ending)).distinct()
        numbers = [each for each in (await connection.execute(found)).scalars() if same(each)]
        own = (table.c.number.in_(numbers), over.get(table.name, true()))
        erased[table.name] = (await connection.execute(delete(table).where(*own))).rowcount
    return erased


async def count_called(
    connection: AsyncConnection, ending: str, same: SameNumber, *, besides: Collection[str]
) -> int:
    """Return how many contacts with a number are left, since they are being called.

    Args:
        connection: To read with.
        ending: As above.
        same: As above.
        besides: Dials whose calls are counted already.
    """
    contacts = select(CONTACTS.c.id, CONTACTS.c.number)
    dials = select(DIALS.c.contact_id.label("id"), DIALS.c.number, DIALS.c.id.label("dial_id"))
    left = await _rows(connection, contacts.where(_about(CONTACTS, ending)), same)
    called = await _rows(connection, dials.where(_about(DIALS, ending)), same)
    counted = {each.id for each in called if each.dial_id in besides}
    return len({each.id for each in (*left, *called)} - counted)


async def _rows(
    connection: AsyncConnection, wanted: Executable, same: SameNumber
) -> Sequence[Row[Any]]:
    return [each for each in (await connection.execute(wanted)).all() if same(each.number)]


def _about(table: Table, ending: str) -> ColumnElement[bool]:
    return may_be(table.c.number, ending)


def may_be(number: ColumnElement[str], ending: str) -> ColumnElement[bool]:
    """Say of a column which of its numbers have these digits, whatever marks stand between them."""
    return number.like(f"%{'%'.join(ending)}%")
