"""An outbox: rows that wait in a table until another system has accepted them.

A row is lent to one sender at a time, and stays pending until that sender settles it. If the sender
is killed, the row is lent again after `LENT_S`. So each row is sent at least once. The senders of
several machines need one clock: that of the database.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, select, true, tuple_, update
from sqlalchemy.engine import RowMapping

from operations.database.database import Database
from operations.database.database_clock import DatabaseClock

LENT_S: Final = 120.0
LAST_TRY_S: Final = 80.0  # then a sender starts no further attempt, so as to finish before `LENT_S`


@dataclass(frozen=True, slots=True)
class Outbox:
    """One table, in one database; every method raises `StorageError` when the database fails.

    Attributes:
        table: Has a column `due_s`: the earliest time to send a row, in seconds since 1970.
        pending: The condition for rows that are not settled.
        order: The columns that decide which of them are sent first.
        clock: The clock of all `now_s`, which is set before each loan; `None` if it needs no
            setting.
    """

    database: Database
    table: Table
    pending: ColumnElement[bool]
    order: Sequence[ColumnElement[Any]]
    clock: DatabaseClock | None = None

    async def lend(
        self,
        *,
        now_s: Callable[[], float],
        which: ColumnElement[bool] | None = None,
        most: int = 1,
        **marks: Any,
    ) -> Sequence[RowMapping]:
        """Lend the first rows that are due; no other sender gets them meanwhile.

        The rows are returned in no particular order; none if no row is due, or if another sender
        was faster. A returned `due_s` is the end of the loan, which `put_off` needs.

        Args:
            now_s: Returns seconds since 1970; the loan begins when the transaction does.
            which: A further condition.
            most: How many rows to lend.
            marks: Other columns to change, and their values.
        """
        if self.clock:
            await self.clock.measure()
        due = self.pending & (self.table.c.due_s <= now_s()) & (true() if which is None else which)
        first = select(*self.table.primary_key).where(due).order_by(*self.order).limit(most)
        async with self.database.reading() as connection:
            keys = [tuple(row) for row in await connection.execute(first)]
        if not keys:
            return ()  # no transaction: polling must not keep the disk busy
        # The condition again: of two senders at the same time, the second must not get the rows.
        lent = update(self.table).where(self._with_keys(keys), due)
        async with self.database.transaction() as connection:
            lent = lent.values(due_s=now_s() + LENT_S, **marks)
            return (await connection.execute(lent.returning(self.table))).mappings().all()

    async def settle(self, keys: Sequence[tuple[str, ...]], **values: Any) -> None:
        """Record that rows were accepted, even if they were lent again since.

        `values` must end their `pending` state, or they are sent again.
        """
        await self._change_rows(self._with_keys(keys), values)

    async def put_off(
        self, keys: Sequence[tuple[str, ...]], *, lent_until_s: float, due_s: float, **values: Any
    ) -> None:
        """Record that rows were not accepted, and when to try again, in seconds since 1970.

        Those that were lent again since, whose loan ends at another `lent_until_s`, are unchanged.
        """
        still_ours = self._with_keys(keys) & (self.table.c.due_s == lent_until_s)
        await self._change_rows(still_ours, {"due_s": due_s, **values})

    async def delete(self, which: ColumnElement[bool]) -> None:
        """Delete rows, such as those that were settled long ago."""
        async with self.database.transaction() as connection:
            await connection.execute(delete(self.table).where(which))

    async def _change_rows(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(update(self.table).where(which).values(**values))

    def _with_keys(self, keys: Sequence[tuple[str, ...]]) -> ColumnElement[bool]:
        return tuple_(*self.table.primary_key).in_(keys)
