"""Statements for thousands of rows, as each kind of database handles them best.

PostgreSQL gets each column as one array: a statement with parameters for every row would be planned
again for each number of rows, and one statement per row takes several times as long. SQLite has no
arrays, but little latency: its driver runs the statement once per row.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Table,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def lock_and_use_indexes(connection: AsyncConnection, name: str) -> None:
    """Lock a name until this transaction ends, and avoid sequential scans until then.

    Does nothing in SQLite, which has only one writer anyway.
    """
    if not _has_arrays(connection):
        return
    # A statement is planned on first use, and the plan is cached. For an empty table the plan is a
    # full scan, which would then be repeated for each thousand of a hundred thousand rows.
    by_index = func.set_config("enable_seqscan", "off", True)  # noqa: FBT003 - its third: for this transaction
    lock = func.pg_advisory_xact_lock(func.hashtextextended(name, 0))
    await connection.execute(select(lock, by_index))


def is_one_of(
    connection: AsyncConnection, known: ColumnElement[str], values: Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that a column holds one of these values."""
    if not _has_arrays(connection):
        return known.in_(values)
    return known == any_(cast(literal(list(values), _array_of_type(known)), _array_of_type(known)))


async def insert_missing(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, except those whose key is stored already; all must have the same columns."""
    if not rows:
        return
    if not _has_arrays(connection):
        statement = sqlite.insert(table).on_conflict_do_nothing()
        await connection.execute(statement, [dict(row) for row in rows])
        return
    names = list(rows[0])
    arrays = [bindparam(name, type_=_array_of_type(table.c[name])) for name in names]
    types = [column(name, table.c[name].type) for name in names]
    given = func.unnest(*arrays).table_valued(*types).render_derived()
    statement = postgresql.insert(table).from_select(names, select(given)).on_conflict_do_nothing()
    await connection.execute(statement, {name: [row[name] for row in rows] for name in names})


def _array_of_type(known: ColumnElement[Any]) -> postgresql.ARRAY[Any]:
    return postgresql.ARRAY(known.type)


def _has_arrays(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"
