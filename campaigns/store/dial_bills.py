"""What dials cost that have their outcome already: a carrier says it minutes later, or hours."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select, update

from calls.outbound import Dial
from campaigns.store.dial_costs import picked_up
from campaigns.store.rows import read_dial
from operations.database.campaign_tables import CAMPAIGNS, DIALS
from operations.database.transactions import TransactionStore

PAGE: Final = 500


class DialBills(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def open_ones(self, campaigns: Sequence[str], *, since_s: float) -> Sequence[Dial]:
        """Return answered dials without a cost that were intended since then, the newest first."""
        owed = (
            select(DIALS)
            .where(
                DIALS.c.campaign.in_(campaigns),
                DIALS.c.intended_s >= since_s,
                DIALS.c.cost.is_(None),
                picked_up(),
            )
            .order_by(DIALS.c.intended_s.desc())
            .limit(PAGE)
        )
        async with self._work.read() as connection:
            return [read_dial(row) for row in (await connection.execute(owed)).all()]

    async def charge(self, dial: Dial, cost: float) -> bool:
        """Keep what a dial cost; False: it has a cost already.

        The day's spending grows by it if the dial was of that day.
        """
        unpriced = (DIALS.c.id == dial.id) & DIALS.c.cost.is_(None)
        its_day = (CAMPAIGNS.c.name == dial.campaign) & (CAMPAIGNS.c.day_s <= dial.intended_s)
        spent = {"day_spent": CAMPAIGNS.c.day_spent + cost}
        async with self._work.write() as connection:
            if not (
                await connection.execute(update(DIALS).where(unpriced).values(cost=cost))
            ).rowcount:
                return False
            await connection.execute(update(CAMPAIGNS).where(its_day).values(**spent))
            return True
