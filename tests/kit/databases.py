"""A fresh database of each kind, for tests that run on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest

from tests.share_servers import Server

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""Marks a test that runs on SQLite only."""


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    return await fresh(request.getfixturevalue("postgres"))


@pytest.fixture
async def postgres_url(postgres: Server) -> str:
    """Return the URL of an empty PostgreSQL database."""
    return await fresh(postgres)


async def fresh(postgres: Server) -> str:
    return (await postgres.fresh_url()).replace("postgresql://", "postgresql+asyncpg://")
