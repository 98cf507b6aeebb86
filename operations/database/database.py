"""The database of a process: one engine, and its tables made in a database that is empty."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, event, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateTable

from operations.database import tables as _campaign_tables  # noqa: F401 - tells METADATA its tables
from operations.database import tables as _crm_tables  # noqa: F401 - tells METADATA its tables
from operations.database import tables as _record_tables  # noqa: F401 - tells METADATA its tables
from operations.database import tables as _result_tables  # noqa: F401 - as above
from operations.database import tables as _sheet_tables  # noqa: F401 - as above
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

# Which version of our tables a database has: looked at, made in an empty one, named when behind.
#
# An empty database is made whole when it is first used. One that has tables is changed by nobody
# but `holdline db upgrade`: a process of an older version may be at work in it.

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
    return sorted(file.stem for file in files if file.suffix == ".py" and file.stem[:1].isdigit())


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
    ours = set(METADATA.tables) - {item.name for item in BOARD}
    return not ours & set(inspect(connection).get_table_names())


BUSY_S: Final = 2.5  # SQLite waits so long for another writer, and its thread cannot be called off:
# less than a caller waits to hear that a request is kept (`KEPT_S` in bot/tools/desk.py)
ANSWER_S: Final = 5.0  # a server that takes longer for one statement is as good as none
ARGUMENTS: Final[Mapping[str, dict[str, float]]] = {
    "sqlite": {"timeout": BUSY_S},
    "postgresql": {"timeout": ANSWER_S, "command_timeout": ANSWER_S},  # to connect, to answer
}


class StorageError(Exception):
    """The database did not do it; the text is one line without its address."""


class RefusedRowsError(StorageError):
    """The database is well and refuses these rows; it will refuse them again."""


class Database:
    """Connects when it is first used, so that a call never waits for a database at its start."""

    def __init__(self, url: str | URL, *, tables: Sequence[Table] | None = None) -> None:
        """Prepare.

        Args:
            url: The address, as SQLAlchemy has them: `sqlite+aiosqlite:///holdline.db`.
            tables: Those that are made when they are missing, and no others; None: an empty
                database is made whole, and any other is left as it is (`schema.py`).
        """
        self.url = make_url(url)
        arguments = ARGUMENTS.get(self.url.get_backend_name(), {})
        on_disk = self.url.get_backend_name() == "sqlite"
        self._engine = create_async_engine(
            self.url,
            connect_args=arguments,
            pool_pre_ping=not on_disk,  # nobody cuts the connection to a file
        )
        if on_disk:
            event.listen(self._engine.sync_engine, "connect", write_ahead)
        self._tables = tables
        self._path = file_of(self.url)
        self._inode: tuple[int, int] | None = None  # of the file, when its tables were there
        self._made = False
        self._making = asyncio.Lock()

    @property
    def is_gone(self) -> bool:
        """Whether the file was deleted or replaced since we opened it; asks the system once."""
        return self._made and self._path is not None and _inode(self._path) != self._inode

    async def engine(self) -> AsyncEngine:
        """Return the engine of a database that has our tables.

        A file that was deleted meanwhile is made again: connections that are open would go on
        writing into the one that nobody can read any more.
        """
        async with self._making:
            if self.is_gone:
                await self._engine.dispose()
                self._made = False
            if not self._made:
                if self._path is not None:
                    await asyncio.to_thread(make_file, self._path)
                async with self._engine.begin() as connection:
                    await connection.run_sync(self._prepare)
                self._inode = _inode(self._path) if self._path else None
                self._made = True
        return self._engine

    async def close(self) -> None:
        """Let all connections go."""
        await self._engine.dispose()

    def _prepare(self, connection: Connection) -> None:
        if self._tables is None:
            prepare(connection)
        else:
            work_alone(connection)
            METADATA.create_all(connection, tables=self._tables)


def file_of(url: URL) -> Path | None:
    """Return the path of a database's file; `None` if it has none."""
    name = url.database
    is_file = url.get_backend_name() == "sqlite" and name and name != ":memory:"
    return Path(name) if is_file and name and not name.startswith("file:") else None


def make_file(path: Path) -> None:
    """Make a database's folder and its empty file, if it is missing; blocks.

    SQLite would apply the leftover journal of a deleted file to the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # only one of our processes creates it
        if not path.exists():
            for left_over in ("-wal", "-shm", "-journal"):
                Path(f"{path}{left_over}").unlink(missing_ok=True)
            path.touch()
    finally:
        os.close(folder)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_ahead(connection: DBAPIConnection, _: object) -> None:
    """Let readers and one writer work at the same time (SQLite, "Write-Ahead Logging")."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # SQLite waits for nobody here. Who is at work in the file changes it, and it stays so.
        if "locked" not in str(error):
            raise
    finally:
        cursor.close()
