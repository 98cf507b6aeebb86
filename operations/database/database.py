"""A process's database: connections, transactions, and translation of errors.

A process opens one `Database` for each address and shares it among everything that uses it.

SQLite has one writer at a time. A transaction that reads first and then writes may fail because the
database is locked, whatever its timeout (sqlite.org/lang_transaction.html, section 2.2). So each
transaction takes the lock at its start, and our own writers queue here, not at the file's lock.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from operations.database.schema import lock_schema, prepare
from operations.database.tables import METADATA

# How long SQLite waits for another writer, in a thread that cannot be cancelled: shorter than a
# caller's wait for a confirmation (`KEPT_S` in bot/tools/caller_requests.py).
BUSY_S: Final = 2.5
TRIES: Final = 8  # of `BUSY_S` each, for a writer (chosen: several processes write at once)
STATEMENT_S: Final = 5.0  # a server that takes longer for one statement counts as down
END_FILE_THREAD_S: Final = (
    3.0  # for the end of a file's thread, whose statement may wait for `BUSY_S`
)
ARGUMENTS: Final[Mapping[str, dict[str, float]]] = {
    "sqlite": {"timeout": BUSY_S},
    "postgresql": {"timeout": STATEMENT_S, "command_timeout": STATEMENT_S},  # to connect, to answer
}
INSERTS: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

Result = TypeVar("Result")


class StorageError(Exception):
    """A database failure; the text is one line without its address."""


class RefusedRowsError(StorageError):
    """The database works but rejects these rows, and will reject them again."""


@contextmanager
def storage_errors(url: URL) -> Iterator[None]:
    """Raise `StorageError` for every error of this database.

    It is `RefusedRowsError` if the database works but rejects its input. Do no other I/O in the
    block: its `OSError`s and timeouts are converted, too.
    """
    try:
        yield
    except (
        *_driver_errors(url.get_backend_name()),
        SQLAlchemyError,
        OSError,
        UnicodeError,  # also for host names that no resolver accepts
        OverflowError,  # SQLite's driver, for a number that does not fit
    ) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        kind = RefusedRowsError if _rows_are_at_fault(error) else StorageError
        raise kind(line_of(cause, hidden=url.password)) from error


def _driver_errors(backend: str) -> tuple[type[Exception], ...]:
    """Return the exceptions that the driver raises itself, if it cannot connect."""
    if backend != "postgresql":
        return ()
    import asyncpg  # noqa: PLC0415 - an extra: only needed for PostgreSQL

    return (asyncpg.PostgresError, asyncpg.InterfaceError)


def _rows_are_at_fault(error: Exception) -> bool:
    """Return whether the rows are at fault: SQL state classes 22 and 23, and similar errors."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OverflowError | UnicodeEncodeError)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    cause = getattr(error.orig, "__cause__", None)
    by_driver = isinstance(cause, ValueError | OverflowError)  # the rows could not even be sent
    by_class = isinstance(error, DataError | IntegrityError)
    return by_class or by_driver or state.startswith(("22", "23"))


def line_of(error: BaseException, *, hidden: str | None) -> str:
    """Return an error as one line without its statement, a file's path, or the password."""
    text = error.strerror if isinstance(error, OSError) and error.filename else error
    line = f"{type(error).__name__}: {text}".partition("\n")[0]
    return line.replace(hidden, "********") if hidden else line


class Database:
    """Connects on first use, so that a call never waits for a database at its start.

    Every method raises `StorageError` when the database fails.
    """

    def __init__(self, url: str | URL, *, tables: Sequence[Table] | None = None) -> None:
        """Prepare the engines; nothing is opened.

        Args:
            url: The address, in SQLAlchemy's form: `sqlite+aiosqlite:///holdline.db`.
            tables: The only tables to create if missing; `None`: an empty database gets all tables,
                and any other is left unchanged.
        """
        self.url = make_url(url)
        backend = self.url.get_backend_name()
        self.insert = INSERTS[backend]
        """Makes an insert that supports `ON CONFLICT`."""
        self.file: Final = file_of(self.url)
        self._thread = _FileThread(self.url) if backend == "sqlite" else None
        arguments = ARGUMENTS[backend]
        if self._thread:  # connections to a file do not break
            self._engine = create_async_engine(self.url, connect_args=arguments)
            # For the writer whose turn it is: in the other pool it would wait for readers.
            self._writer = create_async_engine(
                self.url,
                connect_args=arguments,
                poolclass=AsyncAdaptedQueuePool,
                pool_size=1,
                max_overflow=0,
            )
            for engine in (self._engine, self._writer):
                event.listen(engine.sync_engine, "connect", prepare_connection)
        else:
            self._engine = create_async_engine(
                self.url, connect_args=arguments, pool_pre_ping=True, pool_timeout=STATEMENT_S
            )
            self._writer = self._engine
        self._tables = tables
        self._inode: tuple[int, int] | None = None  # of the file, once it had our tables
        self._lost_files = 0
        self._made = False
        self._making = asyncio.Lock()
        self._turn = asyncio.Lock()  # of SQLite's writers

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()

    @property
    def lost_files(self) -> int:
        """How often the file was deleted or replaced while it was open; one system call."""
        return self._lost_files + self._is_gone

    @property
    def _is_gone(self) -> bool:
        return self._made and self.file is not None and _device_and_inode(self.file) != self._inode

    async def engine(self) -> AsyncEngine:
        """Return the engine of a database that has our tables; the first call creates them.

        A deleted file is created again, and counted in `lost_files`. All connections are closed
        before: they would still write to the unlinked file.
        """
        async with self._making:
            if self._is_gone:
                self._lost_files += 1
                self._made = False
                await self.close()
            if not self._made:
                if self.file is not None:
                    await asyncio.to_thread(make_file, self.file)
                if self._thread and self.file:  # in one round trip, as in `transact`
                    await self._thread.run(self._prepare_tables)
                else:
                    async with self._engine.begin() as connection:
                        await connection.run_sync(self._prepare_tables)
                self._inode = _device_and_inode(self.file) if self.file else None
                self._made = True
        return self._engine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading what is committed."""
        with storage_errors(self.url):
            async with (await self.engine()).connect() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self, *, tries: int = TRIES) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for changes: committed at the end of the block, or rolled back.

        They are rolled back if the block raises. In SQLite there is no other writer meanwhile.

        Args:
            tries: In SQLite, how often to wait for another process that writes, for `BUSY_S` each;
                also a bound on the wait for our own writers.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(storage_errors(self.url))
            if self._thread:
                yield await self._take_turn(stack, tries)
            else:
                yield await stack.enter_async_context((await self.engine()).begin())

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` as one transaction; on a file in one thread, in a single round trip.

        Through aiosqlite each statement takes three round trips, and each of these costs the event
        loop some steps (docs/decisions/0036). If the wait is cancelled, the result is unknown: the
        thread continues, and other writers wait until it has finished. Unlike `transaction`, this
        waits only once, for `BUSY_S`, for another process that writes.
        """
        with storage_errors(self.url):
            if self._thread is None:
                async with (await self.engine()).begin() as connection:
                    return await connection.run_sync(work)
            with ExitStack() as turn:
                await self._turn.acquire()
                turn.callback(self._turn.release)
                await self.engine()
                working = self._thread.transact(work)
                release = turn.pop_all().close
            # Not when this wait ends: it may be cancelled while the thread still writes.
            working.add_done_callback(lambda _: release())
            return await asyncio.shield(working)

    async def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        with storage_errors(self.url):
            await self._engine.dispose()
            await self._writer.dispose()
            if self._thread:
                await self._thread.close()

    async def _take_turn(self, stack: AsyncExitStack, tries: int) -> AsyncConnection:
        """Begin a transaction that ends with the stack; other writers may go between two attempts.

        An attempt fails if another process still has the file locked after `BUSY_S`.
        """
        while True:
            async with AsyncExitStack() as turn:
                async with asyncio.timeout(tries * BUSY_S):
                    await self._turn.acquire()
                turn.callback(self._turn.release)
                tries -= 1
                await self.engine()
                connection = await turn.enter_async_context(self._writer.begin())
                try:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                except OperationalError as error:
                    if tries <= 0 or "locked" not in str(error.orig):
                        raise
                else:
                    stack.push_async_exit(turn.pop_all())
                    return connection

    def _prepare_tables(self, connection: Connection) -> None:
        """Create the tables of an empty database; with a choice of tables, those that it lacks."""
        if self._tables is None:
            prepare(connection)
        else:
            lock_schema(connection)
            METADATA.create_all(connection, tables=self._tables)


class _FileThread:
    """One thread with one connection to a file; work waits in its queue."""

    def __init__(self, url: URL) -> None:
        self.engine: Final[Engine] = create_engine(
            url.set(drivername="sqlite+pysqlite"), connect_args=ARGUMENTS["sqlite"]
        )
        event.listen(self.engine, "connect", prepare_connection)
        self._thread: ThreadPoolExecutor | None = None

    def transact(self, work: Callable[[Connection], Result]) -> asyncio.Future[Result]:
        """Run `work` with SQLite's write lock, which `run` alone takes only at the first change."""

        def begin_and_work(connection: Connection) -> Result:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return work(connection)

        return self.run(begin_and_work)

    def run(self, work: Callable[[Connection], Result]) -> asyncio.Future[Result]:
        """Queue `work` as one transaction; cancelling the future does not stop it once it runs."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="database file")
        return asyncio.get_running_loop().run_in_executor(
            self._thread, self._run_in_transaction, work
        )

    def _run_in_transaction(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Close the connection after the current work, unless that hangs."""
        thread, self._thread = self._thread, None
        if thread is not None:
            closing = asyncio.get_running_loop().run_in_executor(thread, self.engine.dispose)
            await asyncio.wait([closing], timeout=END_FILE_THREAD_S)
            thread.shutdown(wait=False)


def file_of(url: URL) -> Path | None:
    """Return the path of a database's file; `None` if it has none."""
    name = url.database
    is_file = url.get_backend_name() == "sqlite" and name and name != ":memory:"
    return Path(name) if is_file and name and not name.startswith("file:") else None


def make_file(path: Path) -> None:
    """Create a database's folder and an empty file if missing; blocks.

    Deletes the journals of a deleted file first: SQLite would apply them to the new one.
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


def _device_and_inode(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file, even if its path changes; `None` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def prepare_connection(connection: DBAPIConnection, _: object) -> None:
    """Switch to WAL, so that readers and one writer can work at the same time.

    Also replaces SQLite's `lower`, which changes only the letters of ASCII.
    """
    connection.create_function("lower", 1, _to_lower_case, deterministic=True)
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # SQLite does not wait here. Whoever locks the file sets the mode, which is permanent.
        if "locked" not in str(error):
            raise
    finally:
        cursor.close()


def _to_lower_case(text: str | None) -> str | None:
    return text and text.lower()
