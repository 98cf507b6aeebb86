"""Provider health in a SQL database: SQLite for one machine, PostgreSQL for several."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Float, and_, bindparam, delete, or_, select
from sqlalchemy.engine import URL
from sqlalchemy.sql.expression import ColumnElement, literal_column

from fallbacks.shared_health import RungReport
from operations.database.database import Database
from operations.database.provider_board import KEEP_S, report_from_entry, stored_entry
from operations.database.schema import BOARD
from operations.database.tables import HEALTH, PROBERS

CLOCKS: Final[Mapping[str, str]] = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",  # 2440587.5 is 1970-01-01 00:00
    # now() would stand still in a transaction (PostgreSQL 15, 9.9.5 Current Date/Time).
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}


class SqlBoard:
    """A `ProviderBoard` in two small tables; its first `lease` deletes rows older than `KEEP_S`."""

    def __init__(self, url: URL, *, holder: str) -> None:
        """Write to the database at `url`, as `holder`: the name of this process."""
        self._database = Database(url, tables=BOARD)
        self._holder = holder
        clock = CLOCKS[url.get_backend_name()]
        self._now: ColumnElement[float] = literal_column(clock, Float)
        self._tidied = False

    async def clock_s(self) -> float:
        """Return the database's time, in seconds since 1970."""
        async with self._database.reading() as connection:
            return float((await connection.execute(select(self._now))).scalar_one())

    async def write(self, reports: Iterable[RungReport]) -> None:
        """Write entries; a newer entry about the same aspect of a rung is kept.

        Raises:
            StorageError: The database fails; nothing was written.
        """
        # In the same order in every process: two transactions that lock rows crosswise would
        # deadlock (PostgreSQL 15, 13.3.4 Deadlocks).
        rows = sorted(
            (stored_entry(report, holder=self._holder) for report in reports),
            key=lambda row: (row["place"], row["aspect"]),
        )
        if not rows:
            return
        added = self._database.insert(HEALTH)
        newer = added.on_conflict_do_update(
            index_elements=["place", "aspect"],
            set_={
                name: added.excluded[name]
                for name in ("holder", "at_s", "value", "until_s", "retired")
            },
            where=added.excluded.at_s >= HEALTH.c.at_s,
        )
        async with self._database.transaction(tries=1) as connection:
            await connection.execute(newer, rows)

    async def others(self, places: Iterable[str]) -> Sequence[RungReport]:
        """Return other processes' entries about these rungs, without unreadable ones."""
        of_others = select(HEALTH).where(
            HEALTH.c.holder != self._holder, HEALTH.c.place.in_(list(places))
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(of_others)).mappings().all()
        return [report for row in found if (report := report_from_entry(dict(row)))]

    async def lease(self, places: Iterable[str], *, for_s: float) -> frozenset[str]:
        """Take or renew each lease that is free or ours; return the rungs whose lease we hold.

        The first call also deletes rows that were not renewed for `KEEP_S`.
        """
        added = self._database.insert(PROBERS).values(
            place=bindparam("rung"), holder=self._holder, until_s=self._now + for_s
        )
        taken = added.on_conflict_do_update(
            index_elements=["place"],
            set_={"holder": added.excluded.holder, "until_s": added.excluded.until_s},
            where=or_(
                PROBERS.c.holder == self._holder,
                PROBERS.c.until_s < self._now,
                PROBERS.c.until_s > self._now + for_s,  # the clock was set back since
            ),
        )
        async with self._database.transaction(tries=1) as connection:
            if not self._tidied:
                await connection.execute(self._deletion_of_old_reports())
                await connection.execute(self._deletion_of_old_leases())
            await connection.execute(taken, [{"rung": place} for place in sorted(places)])
            held = await connection.execute(
                select(PROBERS.c.place).where(PROBERS.c.holder == self._holder)
            )
        self._tidied = True  # once is enough: rungs change only at a restart
        return frozenset(held.scalars())

    async def leave(self) -> None:
        """Release all leases that we hold."""
        async with self._database.transaction(tries=1) as connection:
            await connection.execute(delete(PROBERS).where(PROBERS.c.holder == self._holder))

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()

    def _deletion_of_old_reports(self) -> Any:
        old = self._now - KEEP_S
        return delete(HEALTH).where(and_(HEALTH.c.at_s < old, HEALTH.c.until_s < old))

    def _deletion_of_old_leases(self) -> Any:
        return delete(PROBERS).where(PROBERS.c.until_s < self._now - KEEP_S)
