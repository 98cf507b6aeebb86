"""Tests whether a database can be written, as the first request of a caller would.

A file on a full or read-only disk opens and begins a transaction, and fails only when a page has
to be written. So a row is committed, in a table of its own that nothing else uses, and deleted.
"""

import secrets
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Column, MetaData, Table, Text, insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from operations.database.database import storage_errors
from operations.database.tables import CALLBACKS, METADATA

TEXT_LENGTH: Final = 64 * 1024  # characters; more than the free space of a file's pages
EARLY: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of a row that is never read


async def rehearse(address: str) -> None:
    """Commit a row and delete it, then create what a caller's request needs, and roll that back.

    PostgreSQL and SQLite also roll back the creation of a table, so nothing is left behind.

    Raises:
        StorageError: The database cannot be used; one line with the reason, without the password.
        ModuleNotFoundError: The driver is not installed.
    """
    url = make_url(address)
    engine = create_async_engine(url, poolclass=NullPool)
    scratch = Table(f"doctor_{secrets.token_hex(4)}", MetaData(), Column("said", Text))
    try:
        with storage_errors(url):
            async with engine.begin() as connection:
                await connection.run_sync(scratch.create)
                await connection.execute(insert(scratch).values(said="x" * TEXT_LENGTH))
            async with engine.begin() as connection:
                await connection.run_sync(scratch.drop)
            async with engine.connect() as connection, connection.begin() as work:
                await connection.run_sync(METADATA.create_all, tables=[CALLBACKS])
                await connection.execute(insert(CALLBACKS).values(_rehearsal_row()))
                await work.rollback()
    finally:
        await engine.dispose()


def _rehearsal_row() -> dict[str, str | datetime]:
    name = f"doctor-{secrets.token_hex(4)}"
    return {"call_id": name, "number": "", "reason": name, "asked_at": EARLY}
