"""A lock in a database that several machines share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import func, select

from operations.database.database import Database, storage_errors


@asynccontextmanager
async def locked(database: Database, name: str) -> AsyncIterator[bool]:
    """Hold a lock of PostgreSQL during the block; yield False if another process has it.

    A process that loses its connection loses the lock. SQLite has no such lock: only one machine
    uses its file, so this yields True.

    Raises:
        StorageError: The database does not answer.
    """
    if database.url.get_backend_name() == "sqlite":
        yield True
        return
    connecting = AsyncExitStack()
    try:
        with storage_errors(database.url):
            engine = await database.engine()
            connection = await connecting.enter_async_context(engine.connect())
            key = func.hashtextextended(name, 0)
            is_ours = await connection.execute(select(func.pg_try_advisory_xact_lock(key)))
        yield bool(is_ours.scalar_one())
    finally:
        with storage_errors(database.url):
            await connecting.aclose()  # ends the transaction, and so the lock
