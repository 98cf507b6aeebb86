"""Writes rows of the record to a file, for spreadsheets and programs."""

import csv
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import Table, func, select

from calls.events import CallRecorded
from operations.csv_cells import safe_cell
from operations.database.database import Database
from operations.database.tables import CALLS, FAILURES, HAPPENINGS, TURNS
from operations.moments import iso

KINDS: Final[Mapping[str, tuple[Table, str]]] = {
    "calls": (CALLS, "started_at"),
    "turns": (TURNS, "began_at"),
    "failures": (FAILURES, "at"),
}
"""By kind: its table, and its time column."""
RECORDINGS: Final = "recordings"  # of calls: the files of all parts, the first one first
MORE: Final[Mapping[str, Sequence[str]]] = {"calls": [RECORDINGS]}
COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    kind: [*(column.name for column in table.columns), *MORE.get(kind, ())]
    for kind, (table, _) in KINDS.items()
}
AT_ONCE: Final = 500  # rows


async def rows_of(
    database: Database, kind: str, since: datetime
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the rows of a kind since a moment, the oldest first.

    Raises:
        StorageError: The database did not answer.
    """
    table, name = KINDS[kind]
    keys = (table.c[name], *table.primary_key)
    more = [_SELECT_PATHS.label(RECORDINGS)] if table is CALLS else []
    query = select(table, *more).where(table.c[name] >= since).order_by(*keys)
    async with database.reading() as connection:
        found = await connection.stream(query.execution_options(yield_per=AT_ONCE))
        async for row in found.mappings():
            yield dict(row) | ({RECORDINGS: _recordings_of(row)} if more else {})


_SELECT_PATHS: Final = (
    select(func.aggregate_strings(HAPPENINGS.c.data["path"].as_string(), "\n"))
    .where(HAPPENINGS.c.call_id == CALLS.c.id, HAPPENINGS.c.kind == CallRecorded.__name__)
    .scalar_subquery()
)


def _recordings_of(call: Mapping[Any, Any]) -> Sequence[str]:
    """Return the files of a call's recording; none after they were erased."""
    last = str(call["recording"])
    paths = {*(call[RECORDINGS] or "").split("\n"), last} - {""} if last else ()
    return sorted(paths, key=lambda path: (len(path), path))  # later parts have larger numbers


UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
FORMATS: Final = ("csv", "jsonl")


def since_of(text: str, *, now: datetime) -> datetime | None:
    """Parse `90m`, `24h`, `7d`, `2w` or an ISO date as a moment; return `None` if invalid."""
    try:
        if found := re.fullmatch(r"(\d{1,6})([mhdw])", text):
            return now - timedelta(**{UNITS[found[2]]: int(found[1])})
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # invalid, or out of range
        return None


async def export(url: str, kind: str, *, since: datetime, form: str, out: Path) -> int:
    """Write all rows of a kind since a moment; return how many.

    The file gets its name only once it is complete, and only its owner may read it.

    Raises:
        StorageError: The database did not answer.
        OSError: The file cannot be written.
    """
    part = out.with_name(f"{out.name}.part")
    try:
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8", newline="") as file:
            async with Database(url) as database:
                count = await _write_rows(file, kind, rows_of(database, kind, since), form=form)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return count


async def _write_rows(
    file: TextIO, kind: str, rows: AsyncIterator[Mapping[str, Any]], *, form: str
) -> int:
    """Write rows to a file, as CSV or JSON lines; return how many."""
    write = _csv_writer(file, COLUMNS[kind]) if form == "csv" else _jsonl_writer(file)
    count = 0
    async for row in rows:
        write(row)
        count += 1
    return count


def _csv_writer(file: TextIO, columns: Sequence[str]) -> Callable[[Mapping[str, Any]], object]:
    writer = csv.writer(file)
    writer.writerow(columns)
    return lambda row: writer.writerow([cell(row[column]) for column in columns])


def _jsonl_writer(file: TextIO) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: file.write(
        json.dumps({name: json_value(value) for name, value in row.items()}, ensure_ascii=False)
        + "\n"
    )


def cell(value: Any) -> Any:
    """Return a value as a cell that a spreadsheet does not compute."""
    shown = json_value(value)
    if isinstance(shown, dict | list):
        shown = json.dumps(shown, ensure_ascii=False)
    # It may be a caller's or a provider's text (OWASP, "CSV Injection").
    return safe_cell(shown) if isinstance(shown, str) else shown


def json_value(value: Any) -> Any:
    """Return a value for JSON."""
    return iso(value) if isinstance(value, datetime) else value
