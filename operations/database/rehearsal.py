"""Tests a database: connects, creates a table, writes a row, and rolls everything back."""

import secrets
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from operations.database.database import storage_errors
from operations.database.tables import CALLBACKS, METADATA

EARLY: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of a row that is never read


async def rehearse(address: str) -> None:
    """Run everything that a caller's first request will need, and roll it back.

    PostgreSQL and SQLite also roll back the creation of a table, so nothing is left behind.

    Raises:
        StorageError: It failed; one line with the reason, without the password.
        ModuleNotFoundError: The driver is not installed.
    """
    url = make_url(address)
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        with storage_errors(url):
            async with engine.connect() as connection, connection.begin() as work:
                await connection.run_sync(METADATA.create_all, tables=[CALLBACKS])
                await connection.execute(insert(CALLBACKS).values(_row()))
                await work.rollback()
    finally:
        await engine.dispose()


def _row() -> dict[str, str | datetime]:
    name = f"doctor-{secrets.token_hex(4)}"
    return {"call_id": name, "number": "", "reason": name, "asked_at": EARLY}
