"""How campaigns stand: whether they run, and what has become of their contacts."""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import CampaignState
from campaigns.store.figures import LEFT
from operations.database.tables import CAMPAIGN_REASON_LENGTH, CAMPAIGNS, CONTACTS, DIALS, SKIPPED
from operations.database.transactions import Transactions, TransactionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStanding:
    """How a campaign stands.

    Attributes:
        contacts: How many in each state.
        outcomes: How many settled dials of each outcome, without contacts that were skipped.
        calls_now: Dials whose lease holds.
        claimed_s: When it was last somebody's turn; the longer ago, the sooner it is again.
        cost: The carrier's part and the providers', as far as they are known.
        day_s: When the day began to which the next two belong; another day has begun since, maybe.
        day_calls: Made on that day.
        day_spent: On that day, as far as prices are known.
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


class CampaignOffice(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def open(self, campaign: str, *, now: float) -> None:
        """Have a campaign known; one that is known stays as it is."""
        async with self._work.write() as connection:
            await make_campaign(self._work, connection, campaign, now)

    async def move(
        self,
        campaign: str,
        state: CampaignState,
        *,
        reason: str = "",
        now: float,
        begins: Collection[CampaignState] = (),
    ) -> bool:
        """Put a campaign into a state; False: there is none, or it is in none of `begins`.

        Args:
            campaign: Its name.
            state: The new one.
            reason: Why.
            now: Since when.
            begins: States that it may come from; none: all.
        """
        values = {"state": state, "reason": reason[:CAMPAIGN_REASON_LENGTH], "changed_s": now}
        change = update(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign).values(**values)
        if begins:
            change = change.where(CAMPAIGNS.c.state.in_(begins))
        async with self._work.write() as connection:
            return (await connection.execute(change)).rowcount > 0

    async def finish(self, campaign: str, *, now: float) -> bool:
        """Have a campaign that runs be done; False: it does not run, or has somebody left to call.

        In one step: who comes into it right now, such as a callback, would wait in it for ever.
        """
        own = CONTACTS.c.campaign == CAMPAIGNS.c.name
        left = exists().where(own, CONTACTS.c.state.in_(LEFT)).correlate(CAMPAIGNS)
        change = update(CAMPAIGNS).where(
            CAMPAIGNS.c.name == campaign, CAMPAIGNS.c.state == "running", ~left
        )
        async with self._work.write() as connection:
            done = change.values(state="done", reason="", changed_s=now)
            return (await connection.execute(done)).rowcount > 0

    async def standing(self, campaign: str, *, now: float) -> CampaignStanding | None:
        """Return how a campaign stands; None: there is none of this name."""
        async with self._work.read() as connection:
            found = select(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign)
            row = (await connection.execute(found)).first()
            return await _standing(connection, row, now) if row else None

    async def standings(self, *, now: float) -> Sequence[CampaignStanding]:
        """Return how each campaign stands."""
        async with self._work.read() as connection:
            rows = (await connection.execute(select(CAMPAIGNS).order_by(CAMPAIGNS.c.name))).all()
            return [await _standing(connection, row, now) for row in rows]


async def make_campaign(
    work: Transactions, connection: AsyncConnection, name: str, now: float
) -> None:
    """Have a campaign known; one that is known stays as it is."""
    row = {
        "name": name,
        # Of this database alone: another one counts its contacts from 1, too, and a carrier that
        # is asked for a dial of ours must not find one of that.
        "mark": secrets.token_hex(4),
        "state": "ready",
        "reason": "",
        "changed_s": now,
        "claims": 0,
        "claimed_s": 0.0,
        "tokens": 1.0,
        "filled_s": now,
        "day_s": 0.0,
        "day_calls": 0,
        "day_spent": 0.0,
    }
    await connection.execute(work.insert(CAMPAIGNS).values(**row).on_conflict_do_nothing())


async def _standing(connection: AsyncConnection, row: Row[Any], now: float) -> CampaignStanding:
    contacts = (
        select(CONTACTS.c.state, func.count())
        .where(CONTACTS.c.campaign == row.name)
        .group_by(CONTACTS.c.state)
    )
    own = DIALS.c.campaign == row.name
    settled = own & (DIALS.c.state == "settled") & ~SKIPPED
    outcomes = select(DIALS.c.outcome, func.count()).where(settled).group_by(DIALS.c.outcome)
    live = own & (DIALS.c.state != "settled") & (DIALS.c.lease_until_s > now)
    parts = func.coalesce(DIALS.c.cost, 0.0) + func.coalesce(DIALS.c.providers_cost, 0.0)
    cost = select(func.coalesce(func.sum(parts), 0.0)).where(own)
    return CampaignStanding(
        name=row.name,
        state=row.state,
        reason=row.reason,
        changed_s=row.changed_s,
        contacts=_counts((await connection.execute(contacts)).all()),
        outcomes=_counts((await connection.execute(outcomes)).all()),
        calls_now=(await connection.execute(select(func.count()).where(live))).scalar_one(),
        claimed_s=row.claimed_s,
        cost=float((await connection.execute(cost)).scalar_one()),
        day_s=row.day_s,
        day_calls=row.day_calls,
        day_spent=row.day_spent,
    )


def _counts(rows: Iterable[Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in rows}
