"""How a campaign has been going lately, and who is still to be called: what an estimate goes by."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from operations.database.campaign_tables import CONTACTS, DIALS, SKIPPED
from operations.database.transactions import TransactionStore

RECENT: Final = 60  # dials: chosen, a pace of some minutes
SAMPLE: Final = 200  # contacts: chosen, all of a hundred thousand are too many to look at
WAITING: Final = ("waiting", "resting")
LEFT: Final = (*WAITING, "dialling")  # the last ones all are, in the end


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCourse:
    """What is known of a campaign's way so far.

    Attributes:
        intended_s: When its last dials were intended, the oldest first.
        zones: Of some contacts that are not finished, how many may be in which time zones;
            these have spaces between them.
        last_due_s: Before this moment somebody may not be called; None: nobody waits for a call.
    """

    intended_s: tuple[float, ...] = ()
    zones: Mapping[str, int]
    last_due_s: float | None = None


class CourseReader(TransactionStore):
    """Its method raises `StorageError` when it cannot."""

    async def course(self, campaign: str) -> CampaignCourse:
        """Return how a campaign has been going."""
        recent = (
            select(DIALS.c.intended_s)
            .where(DIALS.c.campaign == campaign, ~SKIPPED)
            .order_by(DIALS.c.intended_s.desc())
            .limit(RECENT)
        )
        own = CONTACTS.c.campaign == campaign
        some = select(CONTACTS.c.zones).where(own, CONTACTS.c.state.in_(LEFT)).limit(SAMPLE)
        waits = CONTACTS.c.state.in_(WAITING)
        last = select(func.max(CONTACTS.c.due_s)).where(own, waits)
        async with self._work.read() as connection:
            intended_s = (await connection.execute(recent)).scalars().all()
            zones = Counter((await connection.execute(some)).scalars().all())
            last_due_s = (await connection.execute(last)).scalar_one()
        return CampaignCourse(
            intended_s=tuple(reversed(intended_s)), zones=zones, last_due_s=last_due_s
        )
