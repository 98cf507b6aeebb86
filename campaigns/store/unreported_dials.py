"""Which dials of the ledger a customer register was not told of yet.

Read from the ledger and the outbox together, so that no crash between the two loses one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, exists, literal, or_, select

from calls.outbound import Dial, DialOutcome
from campaigns.store.rows import read_dial, read_fields
from operations.database.campaign_tables import CONTACTS, DIALS
from operations.database.crm_tables import CRM_REPORTS
from operations.database.transactions import TransactionStore

KEY: Final = "dial-"  # begins the keys of such reports
PAGE: Final = 200
TALKED: Final = (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL, DialOutcome.AGENT_FAILED)
NO_AGENT: Final = "no_agent"  # somebody picked up, and no call of ours was there


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreportedDial:
    """A dial, and what else is known of its contact."""

    dial: Dial
    fields: Mapping[str, str]


class UnreportedDials(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def page(
        self, campaigns: Sequence[str], *, since_s: float, talked: bool
    ) -> Sequence[UnreportedDial]:
        """Return some of them, the oldest first: those that the carrier was asked for.

        Args:
            campaigns: Whose.
            since_s: Not intended before that.
            talked: Also those in which a call of ours was; it is reported by itself.
        """
        told = exists().where(CRM_REPORTS.c.key == literal(KEY) + DIALS.c.id)
        asked = or_(DIALS.c.provider_call_id != "", DIALS.c.outcome == DialOutcome.FAILED.value)
        wanted = and_(
            DIALS.c.campaign.in_(campaigns),
            DIALS.c.intended_s >= since_s,
            DIALS.c.state == "settled",
            asked,
            ~told,
        )
        if not talked:
            quiet = DIALS.c.outcome.not_in([each.value for each in TALKED])
            wanted = and_(wanted, or_(quiet, DIALS.c.reason == NO_AGENT))
        found = (
            select(DIALS, CONTACTS.c.fields)
            .join(CONTACTS, CONTACTS.c.id == DIALS.c.contact_id, isouter=True)
            .where(wanted)
            .order_by(DIALS.c.intended_s, DIALS.c.id)
            .limit(PAGE)
        )
        async with self._work.read() as connection:
            rows = (await connection.execute(found)).all()
        return [
            UnreportedDial(dial=read_dial(row), fields=read_fields(row.fields or "{}"))
            for row in rows
        ]
