"""The queue of requested callbacks, which survives the process."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from operations.database.database import Database
from operations.database.storable import storable
from operations.database.tables import CALLBACKS, NUMBER_LENGTH, REASON_LENGTH

REASON_SEPARATOR: Final = " / "  # between the reasons, if a call has several requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A caller who waits for a callback."""

    call_id: str
    number: str
    reason: str
    asked_at: datetime  # UTC


@dataclass(slots=True)
class Callbacks:
    """The queue, oldest first; every method raises `StorageError` when the database fails."""

    database: Database

    async def add(self, wanted: Callback) -> bool:
        """Store a request, and commit it.

        A caller who asks again in the same call still has one request, with the new reason after
        the earlier one. A completed request is open again.

        Returns:
            Whether it is the call's first request.
        """
        async with self.database.transaction(tries=1) as connection:  # a caller waits
            return await _put_callback(connection, wanted)

    async def waiting(self) -> Sequence[Callback]:
        """Return the callbacks that are not done, oldest first."""
        pending = CALLBACKS.select().where(CALLBACKS.c.done_at.is_(None)).order_by(CALLBACKS.c.id)
        async with self.database.reading() as connection:
            found = await connection.execute(pending)
        return [
            Callback(
                call_id=row.call_id,
                number=row.number,
                reason=row.reason,
                asked_at=row.asked_at,
            )
            for row in found
        ]


async def _put_callback(connection: AsyncConnection, wanted: Callback) -> bool:
    """Store a call's callback; return False if it had one, which is reopened with both reasons.

    After a reopening, the notice to the staff is pending again.
    """
    of_call = CALLBACKS.c.call_id == wanted.call_id
    query = select(CALLBACKS.c.reason).where(of_call)
    earlier_reason = (await connection.execute(query)).scalar_one_or_none()
    values = {
        "number": storable(wanted.number)[:NUMBER_LENGTH],
        "reason": _join_reasons(earlier_reason, storable(wanted.reason)),
        "asked_at": wanted.asked_at,
        "done_at": None,
        "told_at": None,
    }
    if earlier_reason is None:
        await connection.execute(insert(CALLBACKS).values(call_id=wanted.call_id, **values))
    else:
        await connection.execute(update(CALLBACKS).where(of_call).values(**values))
    return earlier_reason is None


def _join_reasons(earlier: str | None, new: str) -> str:
    """Return both reasons in one text, cut at its beginning to fit; no reason is repeated."""
    kept = [reason for reason in (earlier or "").split(REASON_SEPARATOR) if reason not in ("", new)]
    return REASON_SEPARATOR.join([*kept, new])[-REASON_LENGTH:]
