"""Reads the words of a call on record, for reports and the work after it."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select

from calls.state import CallState
from operations.database.database import Database
from operations.database.tables import MESSAGES

_SPEAKERS: Final[Mapping[str, str]] = {"caller": "Person", "agent": "Agent"}


async def add_recorded_words(database: Database, call: CallState) -> None:
    """Add to a resumed call's words those that are on record, which other processes have heard.

    Does nothing for a call that began in this process.

    Raises:
        StorageError: The database does not answer.
    """
    if not (call.started and call.started.began_at):
        return
    async with database.reading() as connection:
        rows = await connection.execute(
            select(MESSAGES.c.role, MESSAGES.c.text)
            .where(MESSAGES.c.call_id == call.call_id)
            .order_by(MESSAGES.c.id)
        )
        call.add_record([(_SPEAKERS[row.role], row.text) for row in rows])
