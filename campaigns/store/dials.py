"""The ledger of dials: their calls, their costs, and which of them were not reported to the CRM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select, update
from sqlalchemy.engine import Row

from calls.outbound import Claim, Dial, DialOutcome
from campaigns.store.claim import read_contact, read_dial, read_fields
from operations.database.database import Database
from operations.database.tables import (
    CALLS,
    CAMPAIGNS,
    CONTACTS,
    CRM_REPORTS,
    DIALS,
    HAPPENINGS,
    MESSAGES,
)

KEY: Final = "dial-"  # the prefix of the idempotency keys of reports on dials
REPORTS_PAGE: Final = 200  # rows
BILLS_PAGE: Final = 500
CALLS_PAGE: Final = 500
TALKED: Final = (
    DialOutcome.COMPLETED,
    DialOutcome.SILENT,
    DialOutcome.VOICEMAIL,
    DialOutcome.AGENT_FAILED,
)
"""Outcomes of answered calls; carriers do not charge for others."""
NO_AGENT: Final = "no_agent"  # the reason of an answered dial without a call on our side


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreportedDial:
    """A dial with the additional fields of its contact."""

    dial: Dial
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialledCall:
    """A call on our side, and the dial it belongs to."""

    dial_id: str
    reason: str  # why it ended; empty while it is live
    turns: int  # answers of the agent that the callee heard
    cost: float | None  # of the providers; `None` if any part has no known price


@dataclass(frozen=True, slots=True, kw_only=True)
class DialUse:
    """Costs and abandonment of a dial."""

    dial_id: str
    cost: float | None  # of the providers; `None` if any part has no known price
    abandoned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEnd:
    """How the call of a dial ended, from its record.

    Attributes:
        interrupted: Whether its process died before the call ended.
        facts: The kind and the fields of each event of the requested kinds, in order.
        spoke: Whether the callee said anything, or pressed a key.
    """

    interrupted: bool
    reason: str
    length_s: float
    facts: Sequence[tuple[str, Mapping[str, Any]]]
    spoke: bool = True


@dataclass(slots=True)
class Ledger:
    """The dials of all campaigns; every method raises `StorageError` if the database fails."""

    database: Database

    async def find(self, dial_id: str) -> Claim | None:
        """Return a dial with its contact; `None` if one of them does not exist."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(DIALS).where(DIALS.c.id == dial_id))).first()
            if row is None:
                return None
            dial = read_dial(row)
            own = select(CONTACTS).where(CONTACTS.c.id == dial.contact_id)
            contact = (await connection.execute(own)).first()
            return Claim(contact=read_contact(contact), dial=dial) if contact else None

    async def unreported(
        self, campaigns: Sequence[str], *, since_s: float, talked: bool
    ) -> Sequence[UnreportedDial]:
        """Return a page of settled dials without a report in the outbox, the oldest first.

        Ledger and outbox are read in one query, so that no crash between the two loses a dial.
        Dials that the carrier never had are left out, unless their outcome is `failed`.

        Args:
            campaigns: The names of the campaigns.
            since_s: Dials that were intended earlier are left out.
            talked: Whether to include dials with a call on our side, which has its own report.
        """
        reported = exists().where(CRM_REPORTS.c.key == literal(KEY) + DIALS.c.id)
        reached_carrier = or_(
            DIALS.c.provider_call_id != "", DIALS.c.outcome == DialOutcome.FAILED.value
        )
        wanted = and_(
            DIALS.c.campaign.in_(campaigns),
            DIALS.c.intended_s >= since_s,
            DIALS.c.state == "settled",
            reached_carrier,
            ~reported,
        )
        if not talked:
            without_call = DIALS.c.outcome.not_in([item.value for item in TALKED])
            wanted = and_(wanted, or_(without_call, DIALS.c.reason == NO_AGENT))
        found = (
            select(DIALS, CONTACTS.c.fields)
            .join(CONTACTS, CONTACTS.c.id == DIALS.c.contact_id, isouter=True)
            .where(wanted)
            .order_by(DIALS.c.intended_s, DIALS.c.id)
            .limit(REPORTS_PAGE)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(found)).all()
        return [
            UnreportedDial(dial=read_dial(row), fields=read_fields(row.fields or "{}"))
            for row in rows
        ]

    async def unpriced(self, campaigns: Sequence[str], *, since_s: float) -> Sequence[Dial]:
        """Return answered dials without the carrier's price, the newest first.

        At most `BILLS_PAGE`, of those that were intended at `since_s` or later.
        """
        unpriced = (
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
        async with self.database.reading() as connection:
            return [read_dial(row) for row in (await connection.execute(unpriced)).all()]

    async def charge(self, dial: Dial, cost: float) -> bool:
        """Store the carrier's price of a dial; return False if the dial has one already.

        If the dial belongs to the current day, the price is added to the day's spending.
        """
        unpriced = (DIALS.c.id == dial.id) & DIALS.c.cost.is_(None)
        its_day = (CAMPAIGNS.c.name == dial.campaign) & (CAMPAIGNS.c.day_s <= dial.intended_s)
        spent = {"day_spent": CAMPAIGNS.c.day_spent + cost}
        async with self.database.transaction() as connection:
            if not (
                await connection.execute(update(DIALS).where(unpriced).values(cost=cost))
            ).rowcount:
                return False
            await connection.execute(update(CAMPAIGNS).where(its_day).values(**spent))
            return True

    async def ended_calls(
        self, campaigns: Sequence[str], *, since_s: float
    ) -> Sequence[DialledCall]:
        """Return all calls of settled dials whose row may lack costs, in the order of their start.

        Such a dial has an ended call with another cost than its row. If the call was resumed, this
        is always so, because the row has the sum. Only the newest dials, at most `CALLS_PAGE`.
        """
        differs = or_(
            DIALS.c.unpriced.is_(None), DIALS.c.providers_cost.is_distinct_from(CALLS.c.cost)
        )
        own = and_(
            DIALS.c.campaign.in_(campaigns),
            DIALS.c.intended_s >= since_s,
            DIALS.c.state == "settled",
        )
        outdated = (
            select(DIALS.c.id)
            .join(CALLS, CALLS.c.dial_id == DIALS.c.id)
            .where(own, differs, CALLS.c.state != "live")
            .order_by(DIALS.c.intended_s.desc())
            .limit(CALLS_PAGE)
        )
        # All calls of these dials: a call that was cut off and resumed has two records.
        wanted = select(CALLS.c.dial_id, CALLS.c.reason, CALLS.c.turns, CALLS.c.cost).where(
            CALLS.c.dial_id.in_(outdated)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(wanted.order_by(CALLS.c.started_at))).all()
        return [
            DialledCall(dial_id=row.dial_id, reason=row.reason, turns=row.turns, cost=row.cost)
            for row in rows
        ]

    async def any_ended(self, campaigns: Sequence[str], *, since_s: float) -> bool:
        """Return whether an answered dial has ended since `since_s`."""
        answered = exists().where(
            DIALS.c.campaign.in_(campaigns), DIALS.c.ended_s >= since_s, picked_up()
        )
        async with self.database.reading() as connection:
            return bool((await connection.execute(select(answered))).scalar_one())

    async def recorded_end(self, dial_id: str, kinds: Sequence[str]) -> RecordedEnd | None:
        """Return how a dial's last call ended, with its events of `kinds`.

        `None` if there is no call, or if it is still in progress.
        """
        last = select(CALLS).where(CALLS.c.dial_id == dial_id).order_by(CALLS.c.started_at.desc())
        async with self.database.reading() as connection:
            call = (await connection.execute(last.limit(1))).first()
            if call is None or call.state == "live":
                return None
            own = and_(HAPPENINGS.c.call_id == call.id, HAPPENINGS.c.kind.in_(kinds))
            seen = select(HAPPENINGS.c.kind, HAPPENINGS.c.data).where(own).order_by(HAPPENINGS.c.id)
            rows = (await connection.execute(seen)).all()
            words = (MESSAGES.c.call_id == call.id) & (MESSAGES.c.role == "caller")
            spoke = (await connection.execute(select(exists().where(words)))).scalar_one()
        return RecordedEnd(
            interrupted=call.state == "interrupted",
            reason=call.reason,
            length_s=call.length_s or 0.0,
            facts=[(row.kind, row.data) for row in rows],
            spoke=bool(spoke or call.turns),
        )

    async def note_use(self, use: DialUse) -> bool:
        """Store a dial's providers' costs and abandonment; return False if nothing has changed.

        The values replace the former ones. If the dial belongs to the current day, the day's
        spending changes by the difference.
        """
        own = DIALS.c.id == use.dial_id
        found = select(DIALS).where(own).with_for_update()
        values = {
            "providers_cost": use.cost,
            "unpriced": use.cost is None,
            "abandoned": use.abandoned,
        }
        async with self.database.transaction() as connection:
            dial = (await connection.execute(found)).first()
            if dial is None or all(getattr(dial, name) == value for name, value in values.items()):
                return False
            await connection.execute(update(DIALS).where(own).values(**values))
            added_cost = (use.cost or 0.0) - (dial.providers_cost or 0.0)
            its_day = (CAMPAIGNS.c.name == dial.campaign) & (CAMPAIGNS.c.day_s <= dial.intended_s)
            spent = update(CAMPAIGNS).where(its_day)
            await connection.execute(spent.values(day_spent=CAMPAIGNS.c.day_spent + added_cost))
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class DialCosts:
    """Total costs of some dials; missing prices are counted separately, never guessed.

    Attributes:
        carrier: The sum of the prices that the carrier has reported.
        providers: The sum of the model and speech costs of dials whose prices are all known.
        carrier_owed: How many answered dials have no price from the carrier yet.
        providers_owed: How many answered dials have no costs of our side yet.
        unpriced: How many dials used a model or service without a known price.
    """

    carrier: float = 0.0
    providers: float = 0.0
    carrier_owed: int = 0
    providers_owed: int = 0
    unpriced: int = 0

    @property
    def total(self) -> float:
        """The cost for carrier and providers together, as far as it is known."""
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
    """Return the SQL condition for a settled dial that was answered."""
    billed = DIALS.c.outcome.in_([item.value for item in TALKED])
    return and_(
        DIALS.c.state == "settled",
        DIALS.c.provider_call_id != "",
        or_(DIALS.c.answered_s.is_not(None), billed),
    )


def cost_columns() -> Sequence[ColumnElement[Any]]:
    """Return the columns that `read_costs` needs, for a query that groups dials."""
    answered = picked_up()
    unrecorded = and_(answered, DIALS.c.unpriced.is_(None), DIALS.c.reason != NO_AGENT)
    return (
        func.coalesce(func.sum(DIALS.c.cost), 0.0).label("carrier"),
        func.coalesce(func.sum(DIALS.c.providers_cost), 0.0).label("providers"),
        _count_rows_where(and_(answered, DIALS.c.cost.is_(None))).label("carrier_owed"),
        _count_rows_where(unrecorded).label("providers_owed"),
        _count_rows_where(DIALS.c.unpriced.is_(True)).label("unpriced"),
    )


def read_costs(row: Row[Any]) -> DialCosts:
    """Return the costs in a row of a query with `cost_columns`."""
    return DialCosts(
        carrier=float(row.carrier),
        providers=float(row.providers),
        carrier_owed=int(row.carrier_owed),
        providers_owed=int(row.providers_owed),
        unpriced=int(row.unpriced),
    )


def _count_rows_where(which: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((which, 1), else_=0)), 0)
