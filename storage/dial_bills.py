"""What dials cost that have their outcome already: a carrier says it minutes later, or hours."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import or_, select, update

from calls.outbound import Dial, DialOutcome
from storage.campaign_rows import read_dial
from storage.campaign_tables import CAMPAIGNS, DIALS
from storage.transactions import Transactions

PAGE: Final = 500
BILLED: Final = (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL, DialOutcome.AGENT_FAILED)
"""Somebody picked up: what was not answered is not charged for."""


class DialBills:
    """Every method raises `StorageError` when it cannot."""

    def __init__(self, url: str) -> None:
        """Take the database's address."""
        self._work = Transactions(url)

    async def open_ones(self, campaigns: Sequence[str], *, since_s: float) -> Sequence[Dial]:
        """Return answered dials without a cost that were intended since then, the newest first."""
        answered = or_(
            DIALS.c.answered_s.is_not(None), DIALS.c.outcome.in_([each.value for each in BILLED])
        )
        owed = (
            select(DIALS)
            .where(
                DIALS.c.campaign.in_(campaigns),
                DIALS.c.intended_s >= since_s,
                DIALS.c.state == "settled",
                DIALS.c.provider_call_id != "",
                DIALS.c.cost.is_(None),
                answered,
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

    async def close(self) -> None:
        """Let the connections go."""
        await self._work.close()
