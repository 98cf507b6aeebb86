"""The ledger of dials as others read it: whom one is about, and all of a campaign."""

from collections.abc import Sequence

from sqlalchemy import select

from calls.outbound import Claim, Dial
from campaigns.store.rows import read_contact, read_dial
from operations.database.campaign_tables import CONTACTS, DIALS
from operations.database.transactions import TransactionStore


class DialReader(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def find(self, dial_id: str) -> Claim | None:
        """Return a dial and its contact; None: there is no such dial, or no contact."""
        async with self._work.read() as connection:
            row = (await connection.execute(select(DIALS).where(DIALS.c.id == dial_id))).first()
            if row is None:
                return None
            dial = read_dial(row)
            own = select(CONTACTS).where(CONTACTS.c.id == dial.contact_id)
            contact = (await connection.execute(own)).first()
            return Claim(contact=read_contact(contact), dial=dial) if contact else None

    async def of_campaign(self, campaign: str) -> Sequence[Dial]:
        """Return every dial of a campaign, in the order in which they were intended."""
        own = select(DIALS).where(DIALS.c.campaign == campaign)
        async with self._work.read() as connection:
            rows = await connection.execute(own.order_by(DIALS.c.intended_s, DIALS.c.id))
            return [read_dial(row) for row in rows]
