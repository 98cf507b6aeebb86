"""The outbox of the spreadsheet mirror: pending rows, by key.

A row is `waiting`, then `sending` from before the request until its result is known, then `sent`. A
process that is killed in between leaves rows with an unknown result: the next process that takes
them looks up their keys in the sheet first, so no row is ever there twice.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Update, delete, select, update

from operations.database.database import Database
from operations.database.tables import CALLS, SHEET_ROWS

WAITING: Final = "waiting"
SENDING: Final = "sending"
SENT: Final = "sent"
LENT_S: Final = 120.0  # then the sender is gone, and its request has ended, too
MOST_NEW: Final = 500  # calls that are queued at once
KEPT_S: Final = 30 * 86_400.0  # sent rows are kept this long: no call ends later

Cells = Sequence[str | float | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """A row of the sheet; its key is also in the first cell."""

    key: str
    tab: str
    at_s: float
    cells: Cells


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetBatch:
    """Rows to write now."""

    rows: Sequence[SheetRow]
    doubtful: bool  # they may already be in the sheet


@dataclass(slots=True)
class SheetOutbox:
    """Every method raises `StorageError` when the database does not answer."""

    database: Database

    async def ended_calls(self, since: datetime, until: datetime) -> Sequence[Mapping[str, Any]]:
        """Return calls that ended between two moments and are not queued, the oldest first."""
        noted = select(SHEET_ROWS.c.key).where(SHEET_ROWS.c.key == "call " + CALLS.c.id).exists()
        wanted = (
            select(CALLS)
            .where(CALLS.c.ended_at >= since, CALLS.c.ended_at < until, ~noted)
            .order_by(CALLS.c.ended_at)
            .limit(MOST_NEW)
        )
        async with self.database.reading() as connection:
            return [dict(mapping) for mapping in (await connection.execute(wanted)).mappings()]

    async def note(self, rows: Sequence[SheetRow]) -> None:
        """Queue rows; rows that are already queued do not change."""
        values = [
            {
                "key": row.key,
                "tab": row.tab,
                "at_s": row.at_s,
                "state": WAITING,
                "due_s": 0.0,
                "cells": json.dumps(row.cells),
            }
            for row in rows
        ]
        if not values:
            return
        added = self.database.insert(SHEET_ROWS).on_conflict_do_nothing(index_elements=["key"])
        async with self.database.transaction() as connection:
            await connection.execute(added, values)

    async def take(self, tab: str, *, now: float, most: int) -> SheetBatch:
        """Lease rows, those in doubt first; other processes cannot lease them meanwhile."""
        for state in (SENDING, WAITING):
            due = (SHEET_ROWS.c.tab == tab) & (SHEET_ROWS.c.state == state)
            due &= SHEET_ROWS.c.due_s <= now
            if keys := await self._oldest(due, most):
                # The condition again: if two processes take at once, the second finds them taken.
                taken = update(SHEET_ROWS).where(SHEET_ROWS.c.key.in_(keys), due)
                rows = await self._lend(taken.values(state=SENDING, due_s=now + LENT_S))
                return SheetBatch(rows=rows, doubtful=state == SENDING)
        return SheetBatch(rows=(), doubtful=False)

    async def settle(self, keys: Collection[str]) -> None:
        """Record that rows are in the sheet."""
        await self._set(keys, {"state": SENT, "cells": ""})

    async def give_back(self, keys: Collection[str], *, due_s: float) -> None:
        """Record that rows were certainly not written, and when to try again."""
        await self._set(keys, {"state": WAITING, "due_s": due_s})

    async def leave_in_doubt(self, keys: Collection[str], *, due_s: float) -> None:
        """Record that rows may have been written, and when to look them up."""
        await self._set(keys, {"state": SENDING, "due_s": due_s})

    async def forget(self, *, now: float) -> None:
        """Delete rows that were sent long ago."""
        old = delete(SHEET_ROWS).where(SHEET_ROWS.c.state == SENT, SHEET_ROWS.c.at_s < now - KEPT_S)
        async with self.database.transaction() as connection:
            await connection.execute(old)

    async def _oldest(self, due: ColumnElement[bool], most: int) -> Sequence[str]:
        wanted = select(SHEET_ROWS.c.key).where(due).order_by(SHEET_ROWS.c.at_s).limit(most)
        async with self.database.reading() as connection:
            return (await connection.execute(wanted)).scalars().all()

    async def _lend(self, taken: Update) -> Sequence[SheetRow]:
        async with self.database.transaction() as connection:
            rows = (await connection.execute(taken.returning(SHEET_ROWS))).mappings().all()
        found = [
            SheetRow(
                key=row["key"], tab=row["tab"], at_s=row["at_s"], cells=json.loads(row["cells"])
            )
            for row in rows
        ]
        return sorted(found, key=lambda row: (row.at_s, row.key))

    async def _set(self, keys: Collection[str], values: Mapping[str, Any]) -> None:
        if not keys:
            return
        own = update(SHEET_ROWS).where(SHEET_ROWS.c.key.in_(sorted(keys)))
        async with self.database.transaction() as connection:
            await connection.execute(own.values(**values))
