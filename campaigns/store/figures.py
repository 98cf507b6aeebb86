"""What came of a campaign, as numbers and as a line for each contact."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from calls.outbound import DialOutcome
from campaigns.store.dial_costs import DialCosts, cost_columns, read_costs
from operations.database.campaign_tables import CONTACTS, DIALS, SKIPPED
from operations.database.transactions import TransactionStore

PAGE: Final = 500  # contacts that are read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFigures:
    """All settled dials of one outcome; a contact that was skipped is none, here and below."""

    outcome: str
    dials: int
    length_s: float  # of all together
    costs: DialCosts

    @property
    def cost(self) -> float:
        """Both parts, as far as they are known."""
        return self.costs.total


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedContacts:
    """How many contacts were dialled, and how many of them had a completed call.

    Attributes:
        talked: Dials of which a call of ours is known.
        abandoned: Of those: they hung up before they had heard one answer.
    """

    dialled: int
    completed: int
    talked: int = 0
    abandoned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFigures:
    """What came of one contact, over all its dials."""

    number: str
    name: str
    state: str
    outcome: str  # of the last dial; empty: none
    attempts: int
    dials: int
    length_s: float
    costs: DialCosts
    last_s: float | None  # when the last dial was settled

    @property
    def cost(self) -> float:
        """Both parts, as far as they are known."""
        return self.costs.total


class CampaignFigures(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def outcomes(self, campaign: str) -> Sequence[OutcomeFigures]:
        """Return the figures of each outcome that there was, the most frequent first."""
        count = func.count().label("dials")
        figures = (
            select(
                DIALS.c.outcome,
                count,
                func.coalesce(func.sum(DIALS.c.length_s), 0.0).label("length_s"),
                *cost_columns(),
            )
            .where(DIALS.c.campaign == campaign, DIALS.c.state == "settled", ~SKIPPED)
            .group_by(DIALS.c.outcome)
            .order_by(count.desc(), DIALS.c.outcome)
        )
        async with self._work.read() as connection:
            rows = (await connection.execute(figures)).all()
        return [
            OutcomeFigures(
                outcome=row.outcome,
                dials=row.dials,
                length_s=float(row.length_s),
                costs=read_costs(row),
            )
            for row in rows
        ]

    async def reached(self, campaign: str) -> ReachedContacts:
        """Return how many contacts were dialled, and with how many a call was completed."""
        own = (DIALS.c.campaign == campaign) & (DIALS.c.state == "settled") & ~SKIPPED
        each = func.count(DIALS.c.contact_id.distinct())
        dialled = select(each).where(own, DIALS.c.outcome != DialOutcome.REFUSED.value)
        completed = select(each).where(own, DIALS.c.outcome == DialOutcome.COMPLETED.value)
        known = select(func.count()).select_from(DIALS).where(own)
        talked = known.where(DIALS.c.abandoned.is_not(None))
        abandoned = known.where(DIALS.c.abandoned.is_(True))
        async with self._work.read() as connection:
            return ReachedContacts(
                dialled=(await connection.execute(dialled)).scalar_one(),
                completed=(await connection.execute(completed)).scalar_one(),
                talked=(await connection.execute(talked)).scalar_one(),
                abandoned=(await connection.execute(abandoned)).scalar_one(),
            )

    async def contacts(self, campaign: str) -> AsyncIterator[ContactFigures]:
        """Return the figures of each contact, in the order in which they were imported."""
        after = 0
        while True:
            page = (
                select(
                    CONTACTS,
                    func.count(DIALS.c.id).label("made"),
                    func.coalesce(func.sum(DIALS.c.length_s), 0.0).label("length_s"),
                    *cost_columns(),
                    func.max(DIALS.c.ended_s).label("last_s"),
                )
                .join(DIALS, (DIALS.c.contact_id == CONTACTS.c.id) & ~SKIPPED, isouter=True)
                .where(CONTACTS.c.campaign == campaign, CONTACTS.c.id > after)
                .group_by(CONTACTS.c.id)
                .order_by(CONTACTS.c.id)
                .limit(PAGE)
            )
            async with self._work.read() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield ContactFigures(
                    number=row.number,
                    name=row.name,
                    state=row.state,
                    outcome=row.outcome,
                    attempts=row.attempts,
                    dials=row.made,
                    length_s=float(row.length_s),
                    costs=read_costs(row),
                    last_s=row.last_s,
                )
            if len(rows) < PAGE:
                return
            after = rows[-1].id
