"""The database of a process: one engine, and its tables made in a database that is empty."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from operations.database.schema import prepare, work_alone
from operations.database.tables import METADATA

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
