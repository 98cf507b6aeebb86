"""Figures of a campaign: its state, progress, outcomes, contacts; health of the worker pool."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import case, func, or_, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import CampaignState, DialOutcome
from campaigns.store.claim import OPEN_STATES, UNFINISHED
from campaigns.store.dials import DialCosts, cost_columns, read_costs
from operations.database.database import Database
from operations.database.tables import (
    ALERTS,
    BREAKER_MOVES,
    CAMPAIGNS,
    CONTACTS,
    DIALS,
    RECORD_WRITERS,
    SKIPPED,
)
from operations.notify.alert import Alert
from operations.notify.alert_outbox import read_alert

RECENT: Final = 60  # dials that show the pace (chosen): those of a few minutes
SAMPLE: Final = 200  # contacts, chosen: reading a hundred thousand would take too long
PAGE: Final = 500  # contacts that are read at a time
OPEN: Final = "open"
# Transitions this long before and after a span are read, too. A spell is found by its beginning or
# its end, and usually lasts for minutes: then the breaker's rest is over (chosen).
SPELL_MARGIN_S: Final = 3_600.0
MAX_ROWS: Final = 200_000  # rows of one table; no readable report needs more


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStanding:
    """The state of a campaign.

    Attributes:
        changed_s: When the state last changed.
        contacts: The number of contacts in each state.
        outcomes: The number of settled dials with each outcome, without skipped contacts.
        calls_now: How many dials have no outcome yet.
        claimed_s: When the campaign last had a turn.
        cost: What its dials have cost, carrier and providers, as far as prices are known.
        day_s: When the day of `day_calls` and `day_spent` began; a new day may have begun since.
        day_calls: Calls on that day.
        day_spent: Cost of that day, as far as prices are known.
    """

    name: str
    state: CampaignState
    reason: str = ""
    changed_s: float = 0.0
    contacts: Mapping[str, int]
    outcomes: Mapping[str, int]
    calls_now: int = 0
    claimed_s: float = 0.0
    cost: float = 0.0
    day_s: float = 0.0
    day_calls: int = 0
    day_spent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCourse:
    """The course of a campaign so far.

    Attributes:
        intended_s: When its last dials were intended, the oldest first.
        zones: How many of the sampled unfinished contacts have the possible time zones in the key,
            which separates them by spaces.
        last_due_s: The latest due time of a waiting or resting contact; `None` without one.
    """

    intended_s: tuple[float, ...] = ()
    zones: Mapping[str, int]
    last_due_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSpell:
    """When a rung's breaker was open in one process. Times are seconds since 1970.

    Attributes:
        ended_s: When it ended; `None` if that was not recorded.
        seen_s: When the process last wrote to the record; `None` if that is unknown.
    """

    stage: str
    provider: str
    holder: str
    began_s: float
    ended_s: float | None
    seen_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFigures:
    """Figures of all settled dials with one outcome, without skipped contacts."""

    outcome: str
    dials: int
    length_s: float  # total
    costs: DialCosts

    @property
    def cost(self) -> float:
        """The cost for carrier and providers together, as far as it is known."""
        return self.costs.total


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedContacts:
    """How many contacts were dialled, and how many of them had a completed call.

    Attributes:
        talked: Dials with a recorded call on our side.
        abandoned: Those of them in which the callee hung up before the agent's first answer.
    """

    dialled: int
    completed: int
    talked: int = 0
    abandoned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFigures:
    """Figures of one contact, over all its dials."""

    number: str
    name: str
    state: str
    reason: str  # why it is excluded, or waits for its hours
    outcome: str  # of the last dial; empty if there is none
    attempts: int
    dials: int
    length_s: float
    costs: DialCosts
    last_s: float | None  # when the last dial was settled

    @property
    def cost(self) -> float:
        """The cost for carrier and providers together, as far as it is known."""
        return self.costs.total


@dataclass(slots=True)
class Figures:
    """Reads the figures; every method raises `StorageError` if the database fails."""

    database: Database

    async def standing(self, campaign: str) -> CampaignStanding | None:
        """Return the state of a campaign; `None` if it does not exist."""
        async with self.database.reading() as connection:
            found = select(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign)
            row = (await connection.execute(found)).first()
            return await _standing_from_row(connection, row) if row else None

    async def standings(self) -> Sequence[CampaignStanding]:
        """Return the state of each campaign."""
        async with self.database.reading() as connection:
            rows = (await connection.execute(select(CAMPAIGNS).order_by(CAMPAIGNS.c.name))).all()
            return [await _standing_from_row(connection, row) for row in rows]

    async def course(self, campaign: str) -> CampaignCourse:
        """Return the times of the last `RECENT` dials, and a sample of unfinished contacts."""
        recent = (
            select(DIALS.c.intended_s)
            .where(DIALS.c.campaign == campaign, ~SKIPPED)
            .order_by(DIALS.c.intended_s.desc())
            .limit(RECENT)
        )
        own = CONTACTS.c.campaign == campaign
        some = select(CONTACTS.c.zones).where(own, CONTACTS.c.state.in_(UNFINISHED)).limit(SAMPLE)
        waits = CONTACTS.c.state.in_(OPEN_STATES)
        last = select(func.max(CONTACTS.c.due_s)).where(own, waits)
        async with self.database.reading() as connection:
            intended_s = (await connection.execute(recent)).scalars().all()
            zones = Counter((await connection.execute(some)).scalars().all())
            last_due_s = (await connection.execute(last)).scalar_one()
        return CampaignCourse(
            intended_s=tuple(reversed(intended_s)), zones=zones, last_due_s=last_due_s
        )

    async def outcomes(self, campaign: str) -> Sequence[OutcomeFigures]:
        """Return the figures of each outcome of settled dials, the most frequent first."""
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
        async with self.database.reading() as connection:
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
        """Return how many contacts were dialled, and how many had a completed call.

        Skipped contacts do not count; those whose dials were all refused were not dialled.
        """
        own = (DIALS.c.campaign == campaign) & (DIALS.c.state == "settled") & ~SKIPPED
        contacts = func.count(DIALS.c.contact_id.distinct())
        dialled = select(contacts).where(own, DIALS.c.outcome != DialOutcome.REFUSED.value)
        completed = select(contacts).where(own, DIALS.c.outcome == DialOutcome.COMPLETED.value)
        dials = select(func.count()).select_from(DIALS).where(own)
        talked = dials.where(DIALS.c.abandoned.is_not(None))
        abandoned = dials.where(DIALS.c.abandoned.is_(True))
        async with self.database.reading() as connection:
            return ReachedContacts(
                dialled=(await connection.execute(dialled)).scalar_one(),
                completed=(await connection.execute(completed)).scalar_one(),
                talked=(await connection.execute(talked)).scalar_one(),
                abandoned=(await connection.execute(abandoned)).scalar_one(),
            )

    async def contacts(self, campaign: str) -> AsyncIterator[ContactFigures]:
        """Yield the figures of each contact, in the order of the import, by pages of `PAGE`.

        Each page is read on its own, so contacts that are added meanwhile may follow.
        """
        last_id = 0
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
                .where(CONTACTS.c.campaign == campaign, CONTACTS.c.id > last_id)
                .group_by(CONTACTS.c.id)
                .order_by(CONTACTS.c.id)
                .limit(PAGE)
            )
            async with self.database.reading() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield ContactFigures(
                    number=row.number,
                    name=row.name,
                    state=row.state,
                    reason=row.reason,
                    outcome=row.outcome,
                    attempts=row.attempts,
                    dials=row.made,
                    length_s=float(row.length_s),
                    costs=read_costs(row),
                    last_s=row.last_s,
                )
            if len(rows) < PAGE:
                return
            last_id = rows[-1].id

    async def dial_spans(self, campaign: str, *, now: float) -> Sequence[tuple[float, float]]:
        """Return start and end of each dial, the earliest first, without skipped contacts.

        Only the first `MAX_ROWS` dials. One without an end counts until its lease ends, at most
        until `now`, in seconds since 1970.
        """
        own = (
            select(DIALS.c.intended_s, DIALS.c.ended_s, DIALS.c.lease_until_s)
            .where(DIALS.c.campaign == campaign, ~SKIPPED)
            .order_by(DIALS.c.intended_s)
            .limit(MAX_ROWS)
        )
        async with self.database.reading() as connection:
            rows = (await connection.execute(own)).all()
        return [
            (row.intended_s, min(now, row.lease_until_s) if row.ended_s is None else row.ended_s)
            for row in rows
        ]

    async def spells_of_open_breakers(self, since_s: float, until_s: float) -> Sequence[OpenSpell]:
        """Return the spells in which breakers were open, in a span of time and near it.

        Times are seconds since 1970. A spell is found if it began or ended at most `SPELL_MARGIN_S`
        outside the span. So one is missed only if it covers the span and both margins, if it began
        before the first margin and its process died before it ended, or after `MAX_ROWS` other
        transitions. A spell whose end is not found has `ended_s` `None`, even if it ended after the
        second margin.
        """
        at = BREAKER_MOVES.c.at
        wanted = (
            select(BREAKER_MOVES)
            .where(
                at >= _utc_moment(since_s - SPELL_MARGIN_S),
                at <= _utc_moment(until_s + SPELL_MARGIN_S),
                or_(BREAKER_MOVES.c.before == OPEN, BREAKER_MOVES.c.after == OPEN),
            )
            .order_by(at, BREAKER_MOVES.c.id)
            .limit(MAX_ROWS)
        )
        writers = select(RECORD_WRITERS.c.holder, RECORD_WRITERS.c.seen_at)
        async with self.database.reading() as connection:
            transitions = (await connection.execute(wanted)).all()
            rows = (await connection.execute(writers)).all()
        return spells_of(transitions, {row.holder: row.seen_at.timestamp() for row in rows})

    async def alerts(self, since_s: float, until_s: float) -> Sequence[Alert]:
        """Return the readable alerts about incidents that began in a span, the earliest first.

        At most `MAX_ROWS`; times are seconds since 1970.
        """
        began = (ALERTS.c.began_s >= since_s) & (ALERTS.c.began_s <= until_s)
        wanted = select(ALERTS.c.alert).where(began).order_by(ALERTS.c.began_s).limit(MAX_ROWS)
        async with self.database.reading() as connection:
            found = (await connection.execute(wanted)).scalars()
            return [alert for stored in found if (alert := read_alert(stored))]


async def _standing_from_row(connection: AsyncConnection, row: Row[Any]) -> CampaignStanding:
    """Return a campaign's state from its row of `campaigns`, with counts of contacts and dials."""
    contacts = (
        select(CONTACTS.c.state, func.count())
        .where(CONTACTS.c.campaign == row.name)
        .group_by(CONTACTS.c.state)
    )
    settled = (DIALS.c.state == "settled") & ~SKIPPED
    live = DIALS.c.state != "settled"
    parts = func.coalesce(DIALS.c.cost, 0.0) + func.coalesce(DIALS.c.providers_cost, 0.0)
    dials = (
        select(
            case((settled, DIALS.c.outcome)).label("ended_as"),  # null for the others
            func.count().label("dials"),
            func.sum(case((live, 1), else_=0)).label("live"),
            func.sum(parts).label("cost"),
        )
        .where(DIALS.c.campaign == row.name)
        .group_by("ended_as")
    )
    by_outcome = (await connection.execute(dials)).all()
    return CampaignStanding(
        name=row.name,
        state=row.state,
        reason=row.reason,
        changed_s=row.changed_s,
        contacts=_counts_by_name((await connection.execute(contacts)).all()),
        outcomes=_counts_by_name(dial[:2] for dial in by_outcome if dial.ended_as),
        calls_now=sum(int(dial.live) for dial in by_outcome),
        claimed_s=row.claimed_s,
        cost=float(sum(dial.cost for dial in by_outcome)),
        day_s=row.day_s,
        day_calls=row.day_calls,
        day_spent=row.day_spent,
    )


def _counts_by_name(rows: Iterable[Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in rows}


def spells_of(transitions: Sequence[Any], seen: dict[str, float]) -> Sequence[OpenSpell]:
    """Return the spells of open breakers from rows of their transitions, in order.

    A transition out of OPEN also has the duration, for spells whose beginning was not read. `seen`
    says when each process last wrote to the record.
    """
    spells: list[OpenSpell] = []
    opened: dict[tuple[str, str, str], float] = {}
    for move in transitions:
        rung, at_s = (move.stage, move.provider, move.holder), move.at.timestamp()
        if move.before == OPEN:
            began_s = opened.pop(rung, at_s - move.after_s)
            spells.append(_open_spell(rung, began_s, at_s, seen))
        if move.after == OPEN:
            opened[rung] = at_s
    spells += [_open_spell(rung, began_s, None, seen) for rung, began_s in opened.items()]
    return spells


def _open_spell(
    rung: tuple[str, str, str], began_s: float, ended_s: float | None, seen: dict[str, float]
) -> OpenSpell:
    """Return one spell in which a process had a rung's breaker open.

    `ended_s` is `None` if the end was not found. `seen` is as for `spells_of`.
    """
    stage, provider, holder = rung
    return OpenSpell(
        stage=stage,
        provider=provider,
        holder=holder,
        began_s=began_s,
        ended_s=ended_s,
        seen_s=seen.get(holder),
    )


def _utc_moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
