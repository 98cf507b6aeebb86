"""Transactions on the database of one part of ours: those that read, and those that write.

SQLite lets one writer work at a time. A transaction that reads first and writes then can be told
that the database is locked however long it would wait (sqlite.org/lang_transaction.html, section
2.2): so one that writes asks for its turn at its begin.
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

TURNS: Final = 8  # that a writer waits for, `BUSY_S` each: chosen, several processes write at once


class Transactions:
    """Either is committed when its block ends, and raises `StorageError` when it cannot be."""

    def __init__(self, url: str) -> None:
        """Work in the database at `url`, which is opened at the first transaction."""
        self._database = Database(url)
        backend = self._database.url.get_backend_name()
        self.insert = INSERTS[backend]  # one that knows what to do about a row that is there
        self._file = backend == "sqlite"
        self._turn = asyncio.Lock()  # our own writers need not find each other out by waiting

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Look at what is committed."""
        async with reading(self._database) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Change something; in SQLite nobody else does so meanwhile."""
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
        """Let the connections go."""
        await self._database.close()


class TransactionStore:
    """A part of the database that is worked on in transactions."""

    def __init__(self, url: str) -> None:
        """Work in the database at `url`."""
        self._work = Transactions(url)

    async def close(self) -> None:
        """Let the connections go."""
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
