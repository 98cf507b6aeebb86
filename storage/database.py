"""The database of a process: one engine, and its tables made when they are missing."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.tables import METADATA

BUSY_S: Final = 2.5  # SQLite waits so long for another writer, and its thread cannot be called off:
# less than a caller waits to hear that a request is kept (`KEPT_S` in bot/tools/desk.py)
ANSWER_S: Final = 5.0  # a server that takes longer for one statement is as good as none
ARGUMENTS: Final[Mapping[str, dict[str, float]]] = {
    "sqlite": {"timeout": BUSY_S},
    "postgresql": {"timeout": ANSWER_S, "command_timeout": ANSWER_S},  # to connect, to answer
}


class StorageError(Exception):
    """The database did not do it; the text is one line without its address."""


class Database:
    """Connects when it is first used, so that a call never waits for a database at its start."""

    def __init__(self, url: str | URL, *, tables: Sequence[Table] | None = None) -> None:
        """Prepare.

        Args:
            url: The address, as SQLAlchemy has them: `sqlite+aiosqlite:///holdline.db`.
            tables: Those that are made when they are missing; all by default.
        """
        self._url = make_url(url)
        arguments = ARGUMENTS.get(self._url.get_backend_name(), {})
        self._engine = create_async_engine(self._url, connect_args=arguments, pool_pre_ping=True)
        self._tables = tables
        self._made = False
        self._making = asyncio.Lock()

    async def engine(self) -> AsyncEngine:
        """Return the engine of a database that has our tables."""
        async with self._making:
            if not self._made:
                await asyncio.to_thread(self._make_folder)
                async with self._engine.begin() as connection:
                    await connection.run_sync(METADATA.create_all, tables=self._tables)
                self._made = True
        return self._engine

    async def close(self) -> None:
        """Let all connections go."""
        await self._engine.dispose()

    def _make_folder(self) -> None:
        name = self._url.database
        if self._url.get_backend_name() == "sqlite" and name and name != ":memory:":
            Path(name).parent.mkdir(parents=True, exist_ok=True)
