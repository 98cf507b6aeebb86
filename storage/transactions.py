"""Transactions on the database of one part of ours: those that read, and those that write.

SQLite lets one writer work at a time. A transaction that reads first and writes then can be told
that the database is locked however long it would wait (sqlite.org/lang_transaction.html, section
2.2): so one that writes asks for its turn at its begin.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database, StorageError
from storage.provider_board import line_of
from storage.sql_board import INSERTS, driver_errors

TURNS: Final = 8  # that a writer waits for, `BUSY_S` each: chosen, several processes write at once


class Transactions:
    """Either is committed when its block ends, and raises `StorageError` when it cannot be."""

    def __init__(self, url: str) -> None:
        """Work in the database at `url`, which is opened at the first transaction."""
        address = make_url(url)
        backend = address.get_backend_name()
        self.insert = INSERTS[backend]  # one that knows what to do about a row that is there
        self._database = Database(address)
        self._password = address.password
        self._errors = (*driver_errors(backend), SQLAlchemyError, OSError)
        self._file = backend == "sqlite"
        self._turn = asyncio.Lock()  # our own writers need not find each other out by waiting

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Look at what is committed."""
        with self._edge():
            engine = await self._database.engine()
            async with engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Change something; in SQLite nobody else does so meanwhile."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._edge())
            engine = await self._database.engine()
            if self._file:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(engine.begin())
            if self._file:
                await _take_turn(connection)
            yield connection

    async def close(self) -> None:
        """Let the connections go."""
        await self._database.close()

    @contextlib.contextmanager
    def _edge(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            said = error.orig if isinstance(error, DBAPIError) and error.orig else error
            raise StorageError(line_of(said, hidden=self._password)) from error


async def _take_turn(connection: AsyncConnection) -> None:
    for left in reversed(range(TURNS)):
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if not left or "locked" not in str(error.orig):
                raise
        else:
            return
