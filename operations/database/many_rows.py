"""A thousand rows at a time, as each kind of database likes them.

PostgreSQL is given a column as one array: a statement with a parameter for each row is planned anew
by its size, and one sent for each row costs it several times as much. SQLite has no arrays and is
not far away: its driver goes through the rows itself.
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


async def work_by_index(connection: AsyncConnection, name: str) -> None:
    """Be the only one at work under a name until this transaction ends, and look up by index.

    In SQLite whoever writes is alone anyway.
    """
    if not _has_arrays(connection):
        return
    # A statement is planned when it is first used, and the plan is kept. In a table with nothing in
    # it, to read all is cheapest: that is then done for every thousand of a hundred thousand rows.
    by_index = func.set_config("enable_seqscan", "off", True)  # noqa: FBT003 - its third: only here
    alone = func.pg_advisory_xact_lock(func.hashtextextended(name, 0))
    await connection.execute(select(alone, by_index))


def is_one_of(
    connection: AsyncConnection, known: ColumnElement[str], values: Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that a column holds one of these."""
    if not _has_arrays(connection):
        return known.in_(values)
    return known == any_(cast(literal(list(values), _array(known)), _array(known)))


async def insert_missing(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert the rows that are not there yet; all have the same columns."""
    if not rows:
        return
    if not _has_arrays(connection):
        once = sqlite.insert(table).on_conflict_do_nothing()
        await connection.execute(once, [dict(row) for row in rows])
        return
    names = list(rows[0])
    arrays = [bindparam(name, type_=_array(table.c[name])) for name in names]
    types = [column(name, table.c[name].type) for name in names]
    given = func.unnest(*arrays).table_valued(*types).render_derived()
    once = postgresql.insert(table).from_select(names, select(given)).on_conflict_do_nothing()
    await connection.execute(once, {name: [row[name] for row in rows] for name in names})


def _array(known: ColumnElement[Any]) -> postgresql.ARRAY[Any]:
    return postgresql.ARRAY(known.type)


def _has_arrays(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"
