"""The version of a database's tables: checked, created in an empty one, reported if outdated.

An empty database gets all tables on first use. One with tables is changed only by `holdline db
upgrade`: a process of an older version may be using it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable

from operations.database.tables import HEALTH, METADATA, PROBERS

MIGRATIONS: Final = Path(__file__).with_name("migrations")
BOARD: Final = (HEALTH, PROBERS)  # may have a database of their own
VERSIONS: Final = Table(  # the migrations' own version table
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
SCHEMA_LOCKS: Final = {
    "sqlite": "BEGIN IMMEDIATE",  # its driver starts a transaction only before a change of rows
    "postgresql": "SELECT pg_advisory_xact_lock(48656)",  # any number, but always the same
}
CURE: Final = "run holdline db upgrade"


def known_versions() -> Sequence[str]:
    """Return every version, the oldest first: the names of the migrations' files."""
    # Without a regular expression: the first use of the database, in a call, would compile it.
    files = (MIGRATIONS / "versions").iterdir()
    return sorted(file.stem for file in files if file.suffix == ".py" and file.stem[:1].isdigit())


def prepare(connection: Connection) -> None:
    """Create all tables in an empty database, with the version; leave any other unchanged."""
    if version_of(connection) is not None:
        return
    lock_schema(connection)
    # Checked again: another process may have been faster.
    if version_of(connection) is None and _is_empty(connection):
        METADATA.create_all(connection, tables=BOARD)
        rest = [table for table in METADATA.sorted_tables if table not in BOARD]
        METADATA.create_all(connection, tables=rest, checkfirst=False)
        record_version(connection)


def compile_tables(address: str) -> None:
    """Compile the statements that create our tables, without a database.

    Otherwise the first use of an empty database, perhaps in a call, would compile the dialect's
    regular expressions.
    """
    dialect = make_url(address).get_dialect()()
    for table in METADATA.sorted_tables:
        CreateTable(table).compile(dialect=dialect)


def lock_schema(connection: Connection) -> None:
    """Keep other processes from creating or changing tables until our transaction ends."""
    lock = SCHEMA_LOCKS.get(connection.dialect.name)
    if lock:
        connection.exec_driver_sql(lock)


def record_version(connection: Connection) -> None:
    """Record that a database has this version's tables."""
    VERSIONS.create(connection, checkfirst=True)
    connection.execute(VERSIONS.delete())
    connection.execute(VERSIONS.insert().values(version_num=known_versions()[-1]))


def version_of(connection: Connection) -> str | None:
    """Return the version of a database; `None` if it has none recorded."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    return connection.execute(select(VERSIONS.c.version_num)).scalar()


def version_problem(connection: Connection) -> str | None:
    """Return why this program cannot use a database as it is, and the cure.

    Returns:
        The rest of a sentence whose subject is the database: "is at version 0018_machines, but
        version 0019_x is needed; run holdline db upgrade". Its version may be missing, outdated, or
        unknown to this program. `None` if the database is up to date or empty.
    """
    found, newest = version_of(connection), known_versions()[-1]
    if found is None:
        if _is_empty(connection):
            return None
        found = version_of(connection)  # another process created the tables in between
    if found == newest:
        return None
    if unknown := unknown_version(found):
        return unknown
    state = f"is at version {found}" if found else "has no version"
    return f"{state}, but version {newest} is needed; {CURE}"


def unknown_version(found: str | None) -> str | None:
    """Return why a version cannot be upgraded from, and the cure, as `version_problem` does.

    `None` if this program knows the version, or if none is recorded.
    """
    if found is None or found in known_versions():
        return None
    if found < known_versions()[0]:
        return f"is at version {found}, from before the first release; begin a new database"
    return f"is at version {found}, which this Holdline does not know; install a newer one"


def _is_empty(connection: Connection) -> bool:
    ours = set(METADATA.tables) - {item.name for item in BOARD}
    return not ours & set(inspect(connection).get_table_names())
