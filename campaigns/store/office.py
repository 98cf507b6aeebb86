"""The state of campaigns: whether they run, and the states of their contacts."""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from calls.outbound import CampaignState
from campaigns.store.figures import LEFT
from operations.database.database import Database
from operations.database.tables import CAMPAIGN_REASON_LENGTH, CAMPAIGNS, CONTACTS, DIALS, SKIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStanding:
    """The state of a campaign.

    Attributes:
        contacts: Number of contacts in each state.
        outcomes: Number of settled dials with each outcome, without skipped contacts.
        calls_now: Dials with a valid lease.
        claimed_s: When it last had a turn; the longest ago comes first.
        cost: The carrier's part and the providers' part, as far as they are known.
        day_s: Start of the day to which the next two belong; a new day may have begun since.
        day_calls: Calls on that day.
        day_spent: Cost on that day, as far as prices are known.
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


@dataclass(slots=True)
class CampaignOffice:
    """Reads and changes states; every method raises `StorageError` when the database fails."""

    database: Database

    async def open(self, campaign: str, *, now: float) -> None:
        """Create a campaign unless it exists."""
        async with self.database.transaction() as connection:
            await make_campaign(self.database, connection, campaign, now)

    async def move(
        self,
        campaign: str,
        state: CampaignState,
        *,
        reason: str = "",
        now: float,
        begins: Collection[CampaignState] = (),
    ) -> bool:
        """Put a campaign into a state; return False if it does not exist or is not in `begins`.

        Args:
            campaign: Its name.
            state: The new state.
            reason: Why.
            now: Since when.
            begins: Allowed former states; empty for all.
        """
        values = {"state": state, "reason": reason[:CAMPAIGN_REASON_LENGTH], "changed_s": now}
        change = update(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign).values(**values)
        if begins:
            change = change.where(CAMPAIGNS.c.state.in_(begins))
        async with self.database.transaction() as connection:
            return (await connection.execute(change)).rowcount > 0

    async def finish(self, campaign: str, *, now: float) -> bool:
        """Mark a running campaign as done; return False if it does not run or has contacts left.

        In one statement: a contact that is added right now, such as a callback, would wait for ever
        otherwise.
        """
        own = CONTACTS.c.campaign == CAMPAIGNS.c.name
        left = exists().where(own, CONTACTS.c.state.in_(LEFT)).correlate(CAMPAIGNS)
        change = update(CAMPAIGNS).where(
            CAMPAIGNS.c.name == campaign, CAMPAIGNS.c.state == "running", ~left
        )
        async with self.database.transaction() as connection:
            done = change.values(state="done", reason="", changed_s=now)
            return (await connection.execute(done)).rowcount > 0

    async def standing(self, campaign: str, *, now: float) -> CampaignStanding | None:
        """Return the state of a campaign; `None` if it does not exist."""
        async with self.database.reading() as connection:
            found = select(CAMPAIGNS).where(CAMPAIGNS.c.name == campaign)
            row = (await connection.execute(found)).first()
            return await _standing(connection, row, now) if row else None

    async def standings(self, *, now: float) -> Sequence[CampaignStanding]:
        """Return the state of each campaign."""
        async with self.database.reading() as connection:
            rows = (await connection.execute(select(CAMPAIGNS).order_by(CAMPAIGNS.c.name))).all()
            return [await _standing(connection, row, now) for row in rows]


async def make_campaign(
    database: Database, connection: AsyncConnection, name: str, now: float
) -> None:
    """Create a campaign unless it exists."""
    row = {
        "name": name,
        # Unique to this database. Another database also counts its contacts from 1, and a carrier
        # that is asked for one of our dials must not return one of the other database.
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
    await connection.execute(database.insert(CAMPAIGNS).values(**row).on_conflict_do_nothing())


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
