"""A process's database: one engine; creates its tables in an empty database."""

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

# The version of a database's tables: checked, created in an empty one, reported if outdated.
#
# An empty database gets all tables on first use. One with tables is changed only by `holdline db
# upgrade`: a process of an older version may be using it.

MIGRATIONS: Final = Path(__file__).with_name("migrations")
BOARD: Final = (HEALTH, PROBERS)  # may have a database of their own
UNMARKED: Final = (CALLBACKS, ALERT_FACTS, ALERTS, ALERT_SENDINGS, ALERT_ROUNDS)
"""The tables of a database from before versions were counted."""
VERSIONS: Final = Table(  # the migrations' own version table
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
ALONE: Final = {
    "sqlite": "BEGIN IMMEDIATE",  # its driver starts a transaction only before a change of rows
    "postgresql": "SELECT pg_advisory_xact_lock(48656)",  # any number, but always the same
}
CURE: Final = "run holdline db upgrade"


def known_versions() -> Sequence[str]:
    """Return every version, the oldest first: the names of the migrations' files."""
    # Without a pattern: the first user of the database may be a caller, and would compile it.
    files = (MIGRATIONS / "versions").iterdir()
    return sorted(file.stem for file in files if file.suffix == ".py" and file.stem[:1].isdigit())


def prepare(connection: Connection) -> None:
    """Create all tables in an empty database; in one without a version, the original ones."""
    if version_of(connection) is not None:
        return
    work_alone(connection)
    if version_of(connection) is not None:
        return  # another process has created it meanwhile
    if _empty(connection):
        METADATA.create_all(connection)
        mark(connection)
    else:
        METADATA.create_all(connection, tables=UNMARKED)


def compile_tables(address: str) -> None:
    """Compile the statements that create our tables, without a database.

    The first user of an empty database may be a caller, and would compile the dialect's patterns.
    """
    dialect = make_url(address).get_dialect()()
    for table in METADATA.sorted_tables:
        CreateTable(table).compile(dialect=dialect)


def work_alone(connection: Connection) -> None:
    """Make other processes wait with creating or changing tables until our transaction ends."""
    alone = ALONE.get(connection.dialect.name)
    if alone:
        connection.exec_driver_sql(alone)


def mark(connection: Connection) -> None:
    """Record that a database has this version's tables."""
    VERSIONS.create(connection, checkfirst=True)
    connection.execute(VERSIONS.delete())
    connection.execute(VERSIONS.insert().values(version_num=known_versions()[-1]))


def version_of(connection: Connection) -> str | None:
    """Return the version of a database; `None` if it has none recorded."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    return connection.execute(select(VERSIONS.c.version_num)).scalar()


def lag_of(connection: Connection) -> str | None:
    """Return how a database is outdated, and the cure; `None` if it is up to date or empty."""
    found, newest = version_of(connection), known_versions()[-1]
    if found == newest or (found is None and _empty(connection)):
        return None
    if newer := newer_than_ours(found):
        return newer
    said = f"is at version {found}" if found else "is from before its versions were counted"
    return f"{said}, but version {newest} is needed; {CURE}"


def newer_than_ours(found: str | None) -> str | None:
    """Return that a database has a version unknown to us, and the cure; `None` if known."""
    if found is None or found in known_versions():
        return None
    return f"is at version {found}, which this Holdline does not know; install a newer one"


def _empty(connection: Connection) -> bool:
    ours = set(METADATA.tables) - {item.name for item in BOARD}
    return not ours & set(inspect(connection).get_table_names())


BUSY_S: Final = 2.5  # how long SQLite waits for another writer, in a thread without cancellation:
# shorter than a caller's wait for a confirmation (`KEPT_S` in bot/tools/caller_requests.py)
ANSWER_S: Final = 5.0  # a server that takes longer for one statement counts as down
ARGUMENTS: Final[Mapping[str, dict[str, float]]] = {
    "sqlite": {"timeout": BUSY_S},
    "postgresql": {"timeout": ANSWER_S, "command_timeout": ANSWER_S},  # to connect, to answer
}


class StorageError(Exception):
    """A database failure; the text is one line without its address."""


class RefusedRowsError(StorageError):
    """The database works but rejects these rows, and will reject them again."""


class Database:
    """Connects on first use, so that a call never waits for a database at its start."""

    def __init__(self, url: str | URL, *, tables: Sequence[Table] | None = None) -> None:
        """Prepare.

        Args:
            url: The address, in SQLAlchemy's form: `sqlite+aiosqlite:///holdline.db`.
            tables: The only tables to create if missing; `None`: an empty database gets all tables,
                and any other is left unchanged.
        """
        self.url = make_url(url)
        arguments = ARGUMENTS.get(self.url.get_backend_name(), {})
        on_disk = self.url.get_backend_name() == "sqlite"
        self._engine = create_async_engine(
            self.url,
            connect_args=arguments,
            pool_pre_ping=not on_disk,  # connections to a file do not break
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
        """Whether the file was deleted or replaced since we opened it, by one system call."""
        return self._made and self._path is not None and _inode(self._path) != self._inode

    async def engine(self) -> AsyncEngine:
        """Return the engine of a database that has our tables.

        A deleted file is created again: open connections would go on writing into the unlinked one.
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
        """Close all connections."""
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
    """Create a database's folder and its empty file if missing; blocks.

    SQLite would apply the leftover journal of a deleted file to the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # only one process creates it
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
        # SQLite does not wait here. The current user of the file sets the mode, and it stays.
        if "locked" not in str(error):
            raise
    finally:
        cursor.close()
