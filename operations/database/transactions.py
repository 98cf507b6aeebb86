"""Read and write transactions for one part of the database.

SQLite has one writer at a time. A transaction that reads first and then writes may fail because the
database is locked, however long it would wait (sqlite.org/lang_transaction.html, section 2.2). So a
write transaction takes the lock at its start.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from operations.database.database import Database
from operations.database.edge import reading, storage_errors
from operations.database.sql_board import INSERTS

TURNS: Final = 8  # `BUSY_S` each, that a writer waits: chosen, several processes write at once


class Transactions:
    """Transactions commit when their block ends, and raise `StorageError` if that fails."""

    def __init__(self, url: str) -> None:
        """Use the database at `url`, which is opened at the first transaction."""
        self._database = Database(url)
        backend = self._database.url.get_backend_name()
        self.insert = INSERTS[backend]  # it supports a rule for existing rows
        self._file = backend == "sqlite"
        self._turn = asyncio.Lock()  # our own writers queue here, not at the file's lock

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Read what is committed."""
        async with reading(self._database) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Change rows; in SQLite this is the only writer meanwhile."""
        async with AsyncExitStack() as stack:
            stack.enter_context(storage_errors(self._database.url))
            engine = await self._database.engine()
            if self._file:
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(engine.begin())
            if self._file:
                await _take_turn(connection)
            yield connection

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()


class TransactionStore:
    """A part of the database that is used in transactions."""

    def __init__(self, url: str) -> None:
        """Use the database at `url`."""
        self._work = Transactions(url)

    async def close(self) -> None:
        """Close the connections."""
        await self._work.close()


async def _take_turn(connection: AsyncConnection) -> None:
    for left in reversed(range(TURNS)):
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if not left or "locked" not in str(error.orig):
                raise
        else:
            return
