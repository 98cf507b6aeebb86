"""Reads rows of the record one after the other, however many there are."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Table, select

from operations.database.edge import Store, reading
from operations.database.record_tables import CALLS, FAILURES, TURNS

KINDS: Final[Mapping[str, tuple[Table, str]]] = {
    "calls": (CALLS, "started_at"),
    "turns": (TURNS, "began_at"),
    "failures": (FAILURES, "at"),
}
"""By what is asked for: its table, and the column that says when."""
COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    kind: [each.name for each in table.columns] for kind, (table, _) in KINDS.items()
}
AT_ONCE: Final = 500  # rows


class RecordExport(Store):
    """Every method raises `StorageError` when the database does not answer."""

    async def rows(self, kind: str, since: datetime) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the rows of a kind since a moment, the oldest first."""
        table, name = KINDS[kind]
        keys = (table.c[name], *table.primary_key)
        wanted = select(table).where(table.c[name] >= since).order_by(*keys)
        async with reading(self._database) as connection:
            found = await connection.stream(wanted.execution_options(yield_per=AT_ONCE))
            async for row in found.mappings():
                yield {each: _utc(value) for each, value in row.items()}


def _utc(value: Any) -> Any:
    naive = isinstance(value, datetime) and value.tzinfo is None  # SQLite keeps no zone
    return value.replace(tzinfo=UTC) if naive else value
