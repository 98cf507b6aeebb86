"""A fresh database of each kind, for tests that run on SQLite and on PostgreSQL.

Most are copies of one that has our tables: creating them takes PostgreSQL a fifth of a second.
"""

from pathlib import Path

import pytest

from operations.database.database import Database
from tests.share_servers import Server

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""Marks a test that runs on SQLite only."""


TABLES = "with_tables"  # the name of PostgreSQL's
file_with_tables: list[bytes] = []


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database with our tables and no rows, of each kind in turn."""
    if request.param != "sqlite":
        return await with_tables(request.getfixturevalue("postgres"))
    file = tmp_path / "holdline.db"
    address = f"sqlite+aiosqlite:///{file}"
    if not file_with_tables:
        await _create_tables(address)
        file_with_tables.append(file.read_bytes())
    file.write_bytes(file_with_tables[0])
    return address


@pytest.fixture(params=["sqlite", "postgres"])
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    return await fresh(request.getfixturevalue("postgres"))


@pytest.fixture
async def postgres_url(postgres: Server) -> str:
    """Return the URL of a PostgreSQL database with our tables and no rows."""
    return await with_tables(postgres)


async def fresh(postgres: Server) -> str:
    """Return the URL of an empty PostgreSQL database."""
    return _address(await postgres.fresh_url())


async def with_tables(postgres: Server) -> str:
    if TABLES not in postgres.templates:
        await _create_tables(_address(await postgres.fresh_url(template=TABLES)))
    return _address(await postgres.fresh_url(like=TABLES))


async def _create_tables(address: str) -> None:
    async with Database(address) as database:
        await database.engine()


def _address(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")
