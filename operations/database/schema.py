"""Which version of our tables a database has: looked at, made in an empty one, named when behind.

An empty database is made whole when it is first used. One that has tables is changed by nobody but
`holdline db upgrade`: a process of an older version may be at work in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable

from operations.database import campaign_tables as _campaign_tables  # noqa: F401 - tells METADATA its tables
from operations.database import crm_tables as _crm_tables  # noqa: F401 - tells METADATA its tables
from operations.database import record_tables as _record_tables  # noqa: F401 - tells METADATA its tables
from operations.database import result_tables as _result_tables  # noqa: F401 - as above
from operations.database import sheet_tables as _sheet_tables  # noqa: F401 - as above
from operations.database.tables import (
    ALERT_FACTS,
    ALERT_ROUNDS,
    ALERT_SENDINGS,
    ALERTS,
    CALLBACKS,
    HEALTH,
    METADATA,
    PROBERS,
)

MIGRATIONS: Final = Path(__file__).with_name("migrations")
BOARD: Final = (HEALTH, PROBERS)  # may stand alone in a database of their own
UNMARKED: Final = (CALLBACKS, ALERT_FACTS, ALERTS, ALERT_SENDINGS, ALERT_ROUNDS)
"""What a database had before there were versions."""
VERSIONS: Final = Table(  # the migrations' own mark
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
ALONE: Final = {
    "sqlite": "BEGIN IMMEDIATE",  # its driver begins a transaction before a change of rows alone
    "postgresql": "SELECT pg_advisory_xact_lock(48656)",  # any number, as long as it is ours
}
CURE: Final = "run holdline db upgrade"


def known_versions() -> Sequence[str]:
    """Return every version, the oldest first: the names of the migrations' files."""
    # Without a pattern: the first call may be who uses the database first, and would compile it.
    files = (MIGRATIONS / "versions").iterdir()
    return sorted(each.stem for each in files if each.suffix == ".py" and each.stem[:1].isdigit())


def prepare(connection: Connection) -> None:
    """Make all tables in an empty database; in one without a mark, those it has always made."""
    if version_of(connection) is not None:
        return
    work_alone(connection)
    if version_of(connection) is not None:
        return  # somebody else has made it meanwhile
    if _empty(connection):
        METADATA.create_all(connection)
        mark(connection)
    else:
        METADATA.create_all(connection, tables=UNMARKED)


def compile_tables(address: str) -> None:
    """Have the statements that make our tables compiled once; asks no database.

    The first who uses an empty one may be a caller, and would compile the patterns of the dialect.
    """
    dialect = make_url(address).get_dialect()()
    for table in METADATA.sorted_tables:
        CreateTable(table).compile(dialect=dialect)


def work_alone(connection: Connection) -> None:
    """Have others who would make or change tables wait for the end of our transaction."""
    alone = ALONE.get(connection.dialect.name)
    if alone:
        connection.exec_driver_sql(alone)


def mark(connection: Connection) -> None:
    """Note that a database is as this version makes it."""
    VERSIONS.create(connection, checkfirst=True)
    connection.execute(VERSIONS.delete())
    connection.execute(VERSIONS.insert().values(version_num=known_versions()[-1]))


def version_of(connection: Connection) -> str | None:
    """Return the version of a database; None: it has no mark."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    return connection.execute(select(VERSIONS.c.version_num)).scalar()


def lag_of(connection: Connection) -> str | None:
    """Return in what a database is behind, and the cure; None: it is as we need it, or empty."""
    found, newest = version_of(connection), known_versions()[-1]
    if found == newest or (found is None and _empty(connection)):
        return None
    if newer := newer_than_ours(found):
        return newer
    said = f"is at {found}" if found else "is from before its versions were counted"
    return f"{said}, and {newest} is needed; {CURE}"


def newer_than_ours(found: str | None) -> str | None:
    """Return that a database is at a version that we do not know, and the cure; None: it is not."""
    if found is None or found in known_versions():
        return None
    return f"is at {found}, which this version of Holdline does not know; install the newer one"


def _empty(connection: Connection) -> bool:
    ours = set(METADATA.tables) - {each.name for each in BOARD}
    return not ours & set(inspect(connection).get_table_names())
