"""What the record says of the calls behind dials, taken over into the ledger of dials.

A dial and a call of ours know each other by the dial's id. What is taken over is a whole, which
takes the place of what stood there: doing it again changes nothing, and a call that costs more
behind its end costs the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, exists, or_, select, update

from campaigns.store.dial_costs import picked_up
from operations.database.campaign_tables import CAMPAIGNS, DIALS
from operations.database.record_tables import CALLS, HAPPENINGS
from operations.database.transactions import TransactionStore

PAGE: Final = 500


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
            .limit(PAGE)
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
