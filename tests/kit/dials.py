"""The dials in a database, as their process stored them."""

from collections.abc import Sequence

from sqlalchemy import select

from calls.outbound import Dial
from campaigns.store.claim import read_dial
from operations.database.database import Database
from operations.database.tables import DIALS


async def dials_of(database: Database | str, campaign: str) -> Sequence[Dial]:
    """Return all dials of a campaign, the oldest first; an address is opened for this alone."""
    if isinstance(database, str):
        async with Database(database) as opened:
            return await dials_of(opened, campaign)
    own = select(DIALS).where(DIALS.c.campaign == campaign)
    async with database.reading() as connection:
        rows = await connection.execute(own.order_by(DIALS.c.intended_s, DIALS.c.id))
        return [read_dial(row) for row in rows]
