"""The ledger of dials as others read it: whom one is about, and all of a campaign."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select, update
from sqlalchemy.engine import Row

from calls.outbound import Claim, Dial, DialOutcome
from campaigns.store.claim import read_contact, read_dial, read_fields
from operations.database.tables import CALLS, CAMPAIGNS, CONTACTS, CRM_REPORTS, DIALS, HAPPENINGS
from operations.database.transactions import TransactionStore

# Which dials of the ledger a customer register was not told of yet.
#
# Read from the ledger and the outbox together, so that no crash between the two loses one.

KEY: Final = "dial-"  # begins the keys of such reports
REPORTS_PAGE: Final = 200
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
            quiet = DIALS.c.outcome.not_in([item.value for item in TALKED])
            wanted = and_(wanted, or_(quiet, DIALS.c.reason == NO_AGENT))
        found = (
            select(DIALS, CONTACTS.c.fields)
            .join(CONTACTS, CONTACTS.c.id == DIALS.c.contact_id, isouter=True)
            .where(wanted)
            .order_by(DIALS.c.intended_s, DIALS.c.id)
            .limit(REPORTS_PAGE)
        )
        async with self._work.read() as connection:
            rows = (await connection.execute(found)).all()
        return [
            UnreportedDial(dial=read_dial(row), fields=read_fields(row.fields or "{}"))
            for row in rows
        ]


# What dials cost, added up in the database: the carrier's part, the providers', what is missing.
#
# Nothing that is missing is guessed: it is counted, and said beside the sum.

BILLED: Final = (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL, DialOutcome.AGENT_FAILED)
"""Somebody picked up: what was not answered is not charged for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialCosts:
    """What some dials cost together, as far as it is known.

    Attributes:
        carrier: Of those whose price the carrier has said.
        providers: What was used in our side of those whose use is wholly priced.
        carrier_owed: Answered dials of which the carrier has not said the price.
        providers_owed: The same of which nothing is known of our side.
        unpriced: Of which a part of our side has no known price.
    """

    carrier: float = 0.0
    providers: float = 0.0
    carrier_owed: int = 0
    providers_owed: int = 0
    unpriced: int = 0

    @property
    def total(self) -> float:
        """Both parts, as far as they are known."""
        return self.carrier + self.providers

    def __add__(self, other: "DialCosts") -> "DialCosts":
        return DialCosts(
            carrier=self.carrier + other.carrier,
            providers=self.providers + other.providers,
            carrier_owed=self.carrier_owed + other.carrier_owed,
            providers_owed=self.providers_owed + other.providers_owed,
            unpriced=self.unpriced + other.unpriced,
        )


def picked_up() -> ColumnElement[bool]:
    """Return whether a dial is over that the carrier had, and that somebody answered."""
    billed = DIALS.c.outcome.in_([item.value for item in BILLED])
    return and_(
        DIALS.c.state == "settled",
        DIALS.c.provider_call_id != "",
        or_(DIALS.c.answered_s.is_not(None), billed),
    )


def cost_columns() -> Sequence[ColumnElement[Any]]:
    """Return what `read_costs` wants of a query that groups dials."""
    owed = picked_up()
    silent = and_(owed, DIALS.c.unpriced.is_(None), DIALS.c.reason != NO_AGENT)
    return (
        func.coalesce(func.sum(DIALS.c.cost), 0.0).label("carrier"),
        func.coalesce(func.sum(DIALS.c.providers_cost), 0.0).label("providers"),
        _count(and_(owed, DIALS.c.cost.is_(None))).label("carrier_owed"),
        _count(silent).label("providers_owed"),
        _count(DIALS.c.unpriced.is_(True)).label("unpriced"),
    )


def read_costs(row: Row[Any]) -> DialCosts:
    """Return the sums of a row."""
    return DialCosts(
        carrier=float(row.carrier),
        providers=float(row.providers),
        carrier_owed=int(row.carrier_owed),
        providers_owed=int(row.providers_owed),
        unpriced=int(row.unpriced),
    )


def _count(which: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((which, 1), else_=0)), 0)


BILLS_PAGE: Final = 500


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
            .limit(BILLS_PAGE)
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


# What the record says of the calls behind dials, taken over into the ledger of dials.
#
# A dial and a call of ours know each other by the dial's id. What is taken over is a whole, which
# takes the place of what stood there: doing it again changes nothing, and a call that costs more
# behind its end costs the difference.

CALLS_PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DialledCall:
    """A call of ours that is over, and of which dial it was."""

    dial_id: str
    reason: str  # of its end
    turns: int  # answers that were heard
    cost: float | None  # None: a part has no known price


@dataclass(frozen=True, slots=True, kw_only=True)
class DialUse:
    """What a dial is to be known for."""

    dial_id: str
    cost: float | None  # of the providers; None: a part has no known price
    abandoned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEnd:
    """How the call of a dial ended, as its process or another one wrote it down.

    Attributes:
        interrupted: Its process was gone before the call was over.
        facts: Of the kinds that were asked for, in their order: the kind, and what it says.
    """

    interrupted: bool
    reason: str
    length_s: float
    facts: Sequence[tuple[str, Mapping[str, Any]]]


class DialCalls(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def news(self, campaigns: Sequence[str], *, since_s: float) -> Sequence[DialledCall]:
        """Return ended calls whose dials, intended since then, know less of them, some of them."""
        differs = or_(
            DIALS.c.unpriced.is_(None), DIALS.c.providers_cost.is_distinct_from(CALLS.c.cost)
        )
        own = and_(
            DIALS.c.campaign.in_(campaigns),
            DIALS.c.intended_s >= since_s,
            DIALS.c.state == "settled",
        )
        told = (
            select(DIALS.c.id)
            .join(CALLS, CALLS.c.dial_id == DIALS.c.id)
            .where(own, differs, CALLS.c.state != "live")
            .order_by(DIALS.c.intended_s.desc())
            .limit(CALLS_PAGE)
        )
        # All of a dial's: one that was cut and taken up again may be two calls of the record.
        wanted = select(CALLS.c.dial_id, CALLS.c.reason, CALLS.c.turns, CALLS.c.cost).where(
            CALLS.c.dial_id.in_(told)
        )
        async with self._work.read() as connection:
            rows = (await connection.execute(wanted.order_by(CALLS.c.started_at))).all()
        return [
            DialledCall(dial_id=row.dial_id, reason=row.reason, turns=row.turns, cost=row.cost)
            for row in rows
        ]

    async def any_ended(self, campaigns: Sequence[str], *, since_s: float) -> bool:
        """Say whether a dial has ended since then that somebody had answered."""
        answered = exists().where(
            DIALS.c.campaign.in_(campaigns), DIALS.c.ended_s >= since_s, picked_up()
        )
        async with self._work.read() as connection:
            return bool((await connection.execute(select(answered))).scalar_one())

    async def end(self, dial_id: str, kinds: Sequence[str]) -> RecordedEnd | None:
        """Return how a dial's last call ended, and its facts of these kinds; None: it has not."""
        last = select(CALLS).where(CALLS.c.dial_id == dial_id).order_by(CALLS.c.started_at.desc())
        async with self._work.read() as connection:
            call = (await connection.execute(last.limit(1))).first()
            if call is None or call.state == "live":
                return None
            own = and_(HAPPENINGS.c.call_id == call.id, HAPPENINGS.c.kind.in_(kinds))
            said = select(HAPPENINGS.c.kind, HAPPENINGS.c.data).where(own).order_by(HAPPENINGS.c.id)
            rows = (await connection.execute(said)).all()
        return RecordedEnd(
            interrupted=call.state == "interrupted",
            reason=call.reason,
            length_s=call.length_s or 0.0,
            facts=[(row.kind, row.data) for row in rows],
        )

    async def note(self, use: DialUse) -> bool:
        """Keep what is known of a dial's call; False: nothing is new.

        The day's spending grows by what is new if the dial was of that day.
        """
        own = DIALS.c.id == use.dial_id
        found = select(DIALS).where(own).with_for_update()
        values = {
            "providers_cost": use.cost,
            "unpriced": use.cost is None,
            "abandoned": use.abandoned,
        }
        async with self._work.write() as connection:
            dial = (await connection.execute(found)).first()
            if dial is None or all(getattr(dial, name) == each for name, each in values.items()):
                return False
            await connection.execute(update(DIALS).where(own).values(**values))
            more = (use.cost or 0.0) - (dial.providers_cost or 0.0)
            its_day = (CAMPAIGNS.c.name == dial.campaign) & (CAMPAIGNS.c.day_s <= dial.intended_s)
            spent = update(CAMPAIGNS).where(its_day)
            await connection.execute(spent.values(day_spent=CAMPAIGNS.c.day_spent + more))
            return True


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
