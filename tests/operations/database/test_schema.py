"""Versions of the database: created complete, named when outdated, upgraded by hand."""

import asyncio
import re
import re._compiler  # type: ignore[import-not-found] - where `re` has its patterns compiled
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from operations.database import schema
from operations.database.database import Database, StorageError, prepare_connection
from operations.database.schema import compile_tables, known_versions
from operations.database.tables import HEALTH, PROBERS
from operations.database.upgrading import find_version_problem, upgrade
from tests.kit.databases import empty_url, fresh, on_sqlite
from tests.share_servers import PASSWORD

url = empty_url  # these tests create the tables


def shape(connection: Connection) -> dict[str, Any]:
    """Return every table with its columns and indexes, as the database itself says."""
    looking = inspect(connection)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in columns],
            looking.get_pk_constraint(table)["constrained_columns"],
            sorted(str(index["column_names"]) for index in looking.get_indexes(table)),
            sorted(
                str(unique_constraint["column_names"])
                for unique_constraint in looking.get_unique_constraints(table)
            ),
        )
        for table in looking.get_table_names()
        if (columns := looking.get_columns(table))
    }


async def shape_of(url: str) -> dict[str, Any]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        return await connection.run_sync(shape)


async def use(url: str) -> None:
    database = Database(url)
    await database.engine()
    await database.close()


async def in_database(url: str, *statements: str) -> None:
    engine: AsyncEngine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def make_unmarked(url: str) -> None:
    """Create a database of the first release without a version, with a row in it."""
    first = import_module("operations.database.migrations.versions.0018_machines").TABLES
    some = [first.tables[name] for name in ("callbacks", "provider_health", "provider_probers")]
    engine: AsyncEngine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(first.create_all, tables=some)
    await in_database(
        url,
        "INSERT INTO callbacks (call_id, number, reason, asked_at)"
        " VALUES ('c1', '+15550101', 'r', '2026-03-01 12:30:00')",
    )


@pytest.mark.parametrize("before", [True, False])
async def test_the_first_use_of_an_empty_database_compiles_no_pattern(
    *, before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    await use(f"sqlite+aiosqlite:///{tmp_path}/another.db")  # what any database needs
    re.purge()
    if before:
        compile_tables(url)
    compiled: list[object] = []
    compile_one = re._compiler.compile

    def compile_and_note(pattern: object, flags: int = 0) -> object:
        compiled.append(pattern)
        return compile_one(pattern, flags)

    monkeypatch.setattr("re._compiler.compile", compile_and_note)
    await use(url)

    assert (compiled == []) == before


@pytest.fixture
async def other_url(url: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if url.startswith("sqlite"):
        return f"sqlite+aiosqlite:///{tmp_path}/deep/down/other.db"
    return await fresh(request.getfixturevalue("postgres"))


class TestSchema:
    async def test_an_empty_database_is_created_complete_at_its_first_use(self, url: str) -> None:
        await use(url)

        assert await find_version_problem(url) is None
        assert {"callbacks", "calls", "happenings"} <= set(await shape_of(url))

    async def test_the_upgrade_steps_end_with_the_schema_of_an_empty_database(
        self, url: str, other_url: str
    ) -> None:
        await use(url)
        before, after = await upgrade(other_url)

        assert (before, after) == (None, known_versions()[-1])
        assert await shape_of(other_url) == await shape_of(url)

    async def test_an_outdated_database_is_named_and_loses_nothing(self, url: str) -> None:
        await make_unmarked(url)
        await use(url)

        problem = await find_version_problem(url)
        assert problem
        assert "holdline db upgrade" in problem
        assert "calls" not in await shape_of(url)

        await upgrade(url)
        assert await find_version_problem(url) is None
        assert "calls" in await shape_of(url)
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            kept: Sequence[str] = list(
                (await connection.execute(text("SELECT number FROM callbacks"))).scalars()
            )
        assert kept == ["+15550101"]

    async def test_a_database_with_only_a_board_counts_as_empty(self, url: str) -> None:
        board = Database(url, tables=[HEALTH, PROBERS])
        await board.engine()
        await board.close()

        assert await find_version_problem(url) is None
        await use(url)
        assert await find_version_problem(url) is None
        assert "calls" in await shape_of(url)

    async def test_an_upgrade_of_a_current_database_changes_nothing(self, url: str) -> None:
        await use(url)
        shape_before = await shape_of(url)

        assert await upgrade(url) == (known_versions()[-1], known_versions()[-1])
        assert await shape_of(url) == shape_before

    @pytest.mark.parametrize(
        ("version", "cure"),
        [("9999_later", "install a newer one"), ("0010_long_numbers", "begin a new database")],
    )
    async def test_a_database_of_an_unknown_version_is_named_and_not_upgraded(
        self, url: str, version: str, cure: str
    ) -> None:
        await use(url)
        await in_database(url, f"UPDATE alembic_version SET version_num = '{version}'")  # noqa: S608

        assert cure in (await find_version_problem(url) or "")
        with pytest.raises(StorageError, match=f"it is at version {version}, .* {cure}"):
            await upgrade(url)

    async def test_processes_that_start_at_once_create_one_database(self, url: str) -> None:
        await asyncio.gather(*(use(url) for _ in range(5)), upgrade(url))

        assert await find_version_problem(url) is None

    async def test_a_database_that_is_created_while_it_is_looked_at_is_not_outdated(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await in_database(url, "SELECT 1")  # makes SQLite's file

        def created_meanwhile(connection: Connection) -> bool:
            monkeypatch.undo()
            with ThreadPoolExecutor() as threads:
                threads.submit(asyncio.run, use(url)).result()
            return schema._is_empty(connection)

        monkeypatch.setattr(schema, "_is_empty", created_meanwhile)

        assert await find_version_problem(url) is None
        assert "calls" in await shape_of(url)

    @on_sqlite
    async def test_reading_creates_no_database(self, url: str, tmp_path: Path) -> None:
        assert await find_version_problem(url) is None
        assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else waits here

    def test_a_second_connection_during_a_transaction_succeeds(self, tmp_path: Path) -> None:
        file = tmp_path / "holdline.db"
        other, mine = sqlite3.connect(file), sqlite3.connect(file, timeout=0.01)
        other.execute("BEGIN EXCLUSIVE")

        prepare_connection(mine, None)  # type: ignore[arg-type]

        other.close()
        mine.close()

    async def test_a_failed_upgrade_is_our_own_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(StorageError):
            await upgrade(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")


async def test_an_error_does_not_show_the_password() -> None:
    with pytest.raises(StorageError) as wrong:
        await find_version_problem(f"postgresql+asyncpg://holdline:{PASSWORD}@127.0.0.1:1/none")

    assert PASSWORD not in str(wrong.value)
