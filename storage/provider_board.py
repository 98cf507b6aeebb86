"""The board on which the processes of a machine leave word of their providers' health."""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects.sqlite import insert

from fallbacks.shared_health import Aspect, Word
from storage.database import Database
from storage.tables import HEALTH, PROBERS


class ProviderBoard:
    """One row an aspect of a rung, and one lease a rung, whose holder probes it for all.

    The statements are SQLite's own; another database needs its dialect's `insert`.
    """

    def __init__(self, database: Database, *, holder: str) -> None:
        """Take the database, and the name under which this process writes."""
        self._database = database
        self._holder = holder

    async def write(self, words: Iterable[Word]) -> None:
        """Leave words; the newer one on an aspect of a rung stands."""
        rows = [
            {
                "place": each.place,
                "aspect": each.aspect.value,
                "holder": self._holder,
                "at_s": each.at_s,
                "value": each.value,
                "until_s": each.until_s,
                "retired": each.retired,
            }
            for each in words
        ]
        if not rows:
            return
        added = insert(HEALTH)
        newer = added.on_conflict_do_update(
            index_elements=["place", "aspect"],
            set_={
                name: added.excluded[name]
                for name in ("holder", "at_s", "value", "until_s", "retired")
            },
            where=added.excluded.at_s >= HEALTH.c.at_s,
        )
        engine = await self._database.engine()
        async with engine.begin() as connection:
            await connection.execute(newer, rows)

    async def others(self, places: Iterable[str]) -> Sequence[Word]:
        """Return what other processes say of these rungs."""
        theirs = select(HEALTH).where(
            HEALTH.c.holder != self._holder, HEALTH.c.place.in_(list(places))
        )
        engine = await self._database.engine()
        async with engine.connect() as connection:
            found = (await connection.execute(theirs)).all()
        return [
            Word(
                place=row.place,
                aspect=Aspect(row.aspect),
                at_s=row.at_s,
                value=row.value,
                until_s=row.until_s,
                retired=row.retired,
            )
            for row in found
        ]

    async def lease(self, places: Iterable[str], *, utc_s: float, for_s: float) -> frozenset[str]:
        """Take or renew the probing of each rung that nobody else holds; return those held."""
        rows = [
            {"place": place, "holder": self._holder, "until_s": utc_s + for_s} for place in places
        ]
        added = insert(PROBERS)
        taken = added.on_conflict_do_update(
            index_elements=["place"],
            set_={"holder": added.excluded.holder, "until_s": added.excluded.until_s},
            where=or_(PROBERS.c.holder == self._holder, PROBERS.c.until_s < utc_s),
        )
        engine = await self._database.engine()
        async with engine.begin() as connection:
            await connection.execute(taken, rows)
            held = await connection.execute(
                select(PROBERS.c.place).where(PROBERS.c.holder == self._holder)
            )
            return frozenset(held.scalars())

    async def leave(self) -> None:
        """Give all leases back."""
        engine = await self._database.engine()
        async with engine.begin() as connection:
            await connection.execute(delete(PROBERS).where(PROBERS.c.holder == self._holder))

    async def close(self) -> None:
        """Let the database go."""
        await self._database.close()
