"""The outbox of the spreadsheet mirror: pending rows, by key.

A row is `waiting`, then `sending` from before the request until its result is known, then `sent`. A
process that is killed in between leaves rows with an unknown result: the next process that takes
them looks up their keys in the sheet first, so that no row is written twice.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import case, select
from sqlalchemy.engine import RowMapping

from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.row_outbox import Outbox
from operations.database.tables import CALLS, SHEET_ROWS

WAITING: Final = "waiting"
SENDING: Final = "sending"
SENT: Final = "sent"
CUT: Final = " interrupted"  # the end of the key of a call whose process died
MAX_NEW: Final = 500  # calls queued at once
SENT_ROWS_KEPT_S: Final = 30 * 86_400.0  # sent rows are kept this long: no call ends later

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

    rows: Sequence[SheetRow] = ()
    doubtful: bool = False  # whether they may already be in the sheet
    lent_until_s: float = 0.0


class SheetOutbox:
    """The pending rows; methods raise `StorageError` when the database does not answer."""

    def __init__(self, database: Database, *, clock: DatabaseClock | None = None) -> None:
        """Keep the rows here; `clock` is that of all moments, if it needs setting."""
        self._database = database
        pending = SHEET_ROWS.c.state.in_((WAITING, SENDING))
        self._rows = Outbox(database, SHEET_ROWS, pending, (SHEET_ROWS.c.at_s,), clock)

    async def ended_calls(self, since: datetime, until: datetime) -> Sequence[Mapping[str, Any]]:
        """Return the first `MAX_NEW` calls that ended in a span and are not queued, in order."""
        suffix = case((CALLS.c.state == "interrupted", CUT), else_="")
        key = "call " + CALLS.c.id + suffix
        queued = select(SHEET_ROWS.c.key).where(SHEET_ROWS.c.key == key).exists()
        query = (
            select(CALLS)
            .where(CALLS.c.ended_at >= since, CALLS.c.ended_at < until, ~queued)
            .order_by(CALLS.c.ended_at)
            .limit(MAX_NEW)
        )
        async with self._database.reading() as connection:
            return [dict(mapping) for mapping in (await connection.execute(query)).mappings()]

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
        added = self._database.insert(SHEET_ROWS).on_conflict_do_nothing()
        async with self._database.transaction() as connection:
            await connection.execute(added, values)

    async def take(self, tab: str, *, now_s: Callable[[], float], most: int) -> SheetBatch:
        """Lend rows, those with an unknown result first; no other process gets them meanwhile."""
        for state in (SENDING, WAITING):
            which = (SHEET_ROWS.c.tab == tab) & (SHEET_ROWS.c.state == state)
            rows = await self._rows.lend(now_s=now_s, which=which, most=most, state=SENDING)
            if rows:
                found = sorted(map(_row_from_mapping, rows), key=lambda row: (row.at_s, row.key))
                until_s = rows[0]["due_s"]
                return SheetBatch(rows=found, doubtful=state == SENDING, lent_until_s=until_s)
        return SheetBatch()

    async def settle(self, keys: Iterable[str]) -> None:
        """Record that rows are in the sheet."""
        await self._rows.settle([(key,) for key in keys], state=SENT, cells="")

    async def put_off(
        self, batch: SheetBatch, keys: Iterable[str], *, due_s: float, doubtful: bool
    ) -> None:
        """Record that rows were not written, or may not have been, and when to try again.

        `due_s` is in seconds since 1970. The keys of `doubtful` rows are looked up before that.
        """
        state = SENDING if doubtful else WAITING
        tuples = [(key,) for key in keys]
        await self._rows.put_off(tuples, lent_until_s=batch.lent_until_s, due_s=due_s, state=state)

    async def forget(self, *, now: float) -> None:
        """Delete sent rows of calls and alerts from before `SENT_ROWS_KEPT_S`; `now` since 1970."""
        sent = SHEET_ROWS.c.state == SENT
        await self._rows.delete(sent & (SHEET_ROWS.c.at_s < now - SENT_ROWS_KEPT_S))


def _row_from_mapping(row: RowMapping) -> SheetRow:
    cells = json.loads(row["cells"])
    return SheetRow(key=row["key"], tab=row["tab"], at_s=row["at_s"], cells=cells)
