"""When a campaign called, and what the house's breakers and alerts did meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import or_, select

from operations.database.campaign_tables import DIALS, SKIPPED
from operations.database.record_tables import BREAKER_MOVES, RECORD_WRITERS
from operations.database.tables import ALERTS
from operations.database.transactions import TransactionStore
from operations.notify.alert import Alert
from operations.notify.alert_rows import read_alert

OPEN: Final = "open"
LONGEST_S: Final = 3_600.0  # that a breaker is open at a stretch: what is longer is cut there
MOST: Final = 200_000  # rows of a kind; more belong to no report that anybody could read


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSpell:
    """How long a rung's breaker was open in one process. Moments are seconds since 1970.

    Attributes:
        ended_s: None: it has not been told.
        seen_s: When that process last wrote something; None: it is long gone.
    """

    stage: str
    provider: str
    holder: str
    began_s: float
    ended_s: float | None
    seen_s: float | None = None


class CampaignTroubles(TransactionStore):
    """Every method raises `StorageError` when it cannot."""

    async def dials(self, campaign: str, *, now: float) -> Sequence[tuple[float, float]]:
        """Return when each dial began and ended, the earliest first; none that was skipped."""
        own = (
            select(DIALS.c.intended_s, DIALS.c.ended_s, DIALS.c.lease_until_s)
            .where(DIALS.c.campaign == campaign, ~SKIPPED)
            .order_by(DIALS.c.intended_s)
            .limit(MOST)
        )
        async with self._work.read() as connection:
            rows = (await connection.execute(own)).all()
        return [
            (row.intended_s, min(now, row.lease_until_s) if row.ended_s is None else row.ended_s)
            for row in rows
        ]

    async def open_spells(self, since_s: float, until_s: float) -> Sequence[OpenSpell]:
        """Return when breakers were open at some time between two moments."""
        at = BREAKER_MOVES.c.at
        wanted = (
            select(BREAKER_MOVES)
            .where(
                at >= _moment(since_s - LONGEST_S),
                at <= _moment(until_s + LONGEST_S),
                or_(BREAKER_MOVES.c.before == OPEN, BREAKER_MOVES.c.after == OPEN),
            )
            .order_by(at, BREAKER_MOVES.c.id)
            .limit(MOST)
        )
        writers = select(RECORD_WRITERS.c.holder, RECORD_WRITERS.c.seen_at)
        async with self._work.read() as connection:
            moves = (await connection.execute(wanted)).all()
            rows = (await connection.execute(writers)).all()
        return spells_of(moves, {row.holder: _seconds(row.seen_at) for row in rows})

    async def alerts(self, since_s: float, until_s: float) -> Sequence[Alert]:
        """Return the incidents that began between two moments."""
        began = (ALERTS.c.began_s >= since_s) & (ALERTS.c.began_s <= until_s)
        wanted = select(ALERTS.c.alert).where(began).order_by(ALERTS.c.began_s).limit(MOST)
        async with self._work.read() as connection:
            found = (await connection.execute(wanted)).scalars()
            return [alert for each in found if (alert := read_alert(each))]


def spells_of(moves: Sequence[Any], seen: dict[str, float]) -> Sequence[OpenSpell]:
    """Return the spells that rows of moves tell of: whoever leaves the state says since when."""
    spells: list[OpenSpell] = []
    opened: dict[tuple[str, str, str], float] = {}
    for each in moves:
        rung, at_s = (each.stage, each.provider, each.holder), _seconds(each.at)
        if each.before == OPEN:
            began_s = opened.pop(rung, at_s - each.after_s)
            spells.append(_spell(rung, began_s, at_s, seen))
        if each.after == OPEN:
            opened[rung] = at_s
    spells += [_spell(rung, began_s, None, seen) for rung, began_s in opened.items()]
    return spells


def _spell(
    rung: tuple[str, str, str], began_s: float, ended_s: float | None, seen: dict[str, float]
) -> OpenSpell:
    stage, provider, holder = rung
    return OpenSpell(
        stage=stage,
        provider=provider,
        holder=holder,
        began_s=began_s,
        ended_s=ended_s,
        seen_s=seen.get(holder),
    )


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()  # SQLite keeps no zone
