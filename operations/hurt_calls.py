"""The calls whose callers got no answer: the one query for alerts and for reports of outages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from operations.database.tables import CALLS


@dataclass(frozen=True, slots=True)
class HurtCall:
    """A call, and when its caller was first hurt."""

    id: str
    hurt_at: datetime


async def hurt_calls(
    connection: AsyncConnection, since: datetime, *, most: int | None = None
) -> Sequence[HurtCall]:
    """Return the latest `most` calls whose callers were hurt since a moment, the oldest first.

    `most` is `None` for all.
    """
    at = CALLS.c.hurt_at
    newest = select(CALLS.c.id, at).where(at >= since).order_by(at.desc()).limit(most)
    found = (await connection.execute(newest)).all()
    return [HurtCall(row.id, row.hurt_at) for row in reversed(found)]
