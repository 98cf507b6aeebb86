"""Upgrades a database to this program's version, and reports how far one is outdated."""

import asyncio
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from operations.database.database import (
    ARGUMENTS,
    StorageError,
    file_of,
    make_file,
    storage_errors,
)
from operations.database.schema import (
    MIGRATIONS,
    lock_schema,
    unknown_version,
    version_of,
    version_problem,
)


async def upgrade(address: str) -> tuple[str | None, str | None]:
    """Apply all missing migrations in one transaction; return the version before and after.

    A missing SQLite file is created. The version is `None` if none was recorded.

    Raises:
        StorageError: The version is unknown to us, or the upgrade failed; one line with the reason,
            without the password.
    """
    url = make_url(address)
    with storage_errors(url):
        if file := file_of(url):
            make_file(file)
        engine = _upgrade_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(lock_schema)
                before = await connection.run_sync(version_of)
                if unknown := unknown_version(before):
                    raise StorageError(f"it {unknown}")
                await connection.run_sync(_migrate_to_latest)
                return before, await connection.run_sync(version_of)
        finally:
            await engine.dispose()


async def find_version_problem(address: str) -> str | None:
    """Return why this program cannot use a database as it is, and the cure; see `version_problem`.

    `None` if it is up to date, empty or missing. A missing SQLite file is not created.

    Raises:
        StorageError: The database cannot be read.
    """
    url = make_url(address)
    if not await asyncio.to_thread(_database_exists, url):
        return None  # checking creates nothing
    with storage_errors(url):
        engine = _upgrade_engine(url)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(version_problem)
        finally:
            await engine.dispose()


def _database_exists(url: URL) -> bool:
    """Return whether a SQLite file exists; True for any other database. Blocks."""
    if url.get_backend_name() != "sqlite":
        return True
    return bool(url.database) and Path(str(url.database)).exists()


def _upgrade_engine(url: URL) -> AsyncEngine:
    """Return an engine whose statements may take any time; the caller disposes of it."""
    arguments = {
        name: value
        for name, value in ARGUMENTS.get(url.get_backend_name(), {}).items()
        if name != "command_timeout"  # a step may take long in a large database
    }
    return create_async_engine(url, poolclass=NullPool, connect_args=arguments)


def _migrate_to_latest(connection: Connection) -> None:
    """Run all migrations that the database lacks."""
    from alembic import command  # noqa: PLC0415 - no call needs it, and it takes a while
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
