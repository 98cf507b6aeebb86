"""Rows that are about a number and belong to no call, and who of them is being called.

A contact who is being called stays, with its consent and its dial, until the dial has its outcome.
Without the contact nobody could see the dial to its end; and SQLite may give the contact's id to
somebody else, whose first dial would then have the id of a dial that is there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Executable, Table, delete, exists, select, true
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.campaign_tables import CONSENTS, CONTACTS, DIALS
from storage.crm_tables import CRM_REPORTS
from storage.result_tables import CALL_RESULTS, CALLBACK_CONTACTS
from storage.tables import CALLBACKS

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

OVER: Final[Mapping[str, ColumnElement[bool]]] = {
    CONTACTS.name: CONTACTS.c.state != "dialling",
    CONSENTS.name: ~exists().where(
        CONTACTS.c.campaign == CONSENTS.c.campaign, CONTACTS.c.number == CONSENTS.c.number
    ),
    CALLBACK_CONTACTS.name: ~exists().where(CONTACTS.c.id == CALLBACK_CONTACTS.c.contact_id),
    DIALS.name: DIALS.c.state == "settled",
}
"""By table: which rows belong to nobody who is being called."""


async def erase_rows(
    connection: AsyncConnection, tables: Sequence[Table], ending: str, same: SameNumber
) -> Mapping[str, int]:
    """Erase what tables know of a number; return how many rows of each.

    Args:
        connection: In a transaction.
        tables: One of `AT_A_TIME`.
        ending: The number's last digits, which every way of writing it has, in this order.
        same: Looks at each number that has them.
    """
    erased: dict[str, int] = {}
    for table in tables:
        found = select(table.c.number).where(_about(table, ending)).distinct()
        numbers = [each for each in (await connection.execute(found)).scalars() if same(each)]
        own = (table.c.number.in_(numbers), OVER.get(table.name, true()))
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
