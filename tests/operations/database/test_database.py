"""The database of a process: its writers take turns; a file's thread delays no exit."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from operations.database import database as database_module
from operations.database.database import TRIES, Database, StorageError
from tests.share_servers import PASSWORD


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/some.db") as found:
        await found.transact(lambda connection: run(connection, "create table words (word text)"))
        yield found


def run(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def words(connection: Connection) -> list[str]:
    return list(connection.execute(text("select word from words")).scalars())


def add(connection: Connection) -> None:
    """Read first and then write, as a transaction may."""
    count = len(words(connection))
    connection.execute(text("insert into words values (:count)"), {"count": count})


async def write(file: Database, *, tries: int = TRIES) -> None:
    async with file.transaction(tries=tries) as connection:
        await asyncio.sleep(0.01)
        await connection.run_sync(add)


async def test_our_own_writers_never_find_the_file_locked(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database_module.ARGUMENTS["sqlite"], "timeout", 0.0)
    async with Database(file.url) as impatient:
        writers = [write(impatient, tries=1) for _ in range(30)]
        await asyncio.gather(*writers, *(impatient.transact(add) for _ in range(30)))

    assert await file.transact(words) == [str(number) for number in range(60)]


async def test_a_writer_that_waits_for_another_process_lets_the_others_try(
    file: Database,
) -> None:
    async with file.transaction() as connection:  # the writers' waits for a moment only
        await connection.exec_driver_sql("pragma busy_timeout = 50")
    other = sqlite3.connect(str(file.file), isolation_level=None)
    other.execute("begin immediate")
    patient = asyncio.ensure_future(write(file))
    while not file._turn.locked():  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)

    with pytest.raises(StorageError, match="locked"):
        await write(file, tries=1)
    assert not patient.done()
    other.rollback()
    other.close()
    await patient

    assert await file.transact(words) == ["0"]


async def test_readers_that_hold_every_connection_do_not_stop_writers(file: Database) -> None:
    async with AsyncExitStack() as readers:
        for _ in range(15):  # the bound of SQLAlchemy's pool: 5, and 10 more
            await readers.enter_async_context(file.reading())
        async with asyncio.timeout(15):
            await write(file)
            await file.transact(add)

    assert await file.transact(words) == ["0", "1"]


async def test_a_cancelled_writer_holds_the_lock_until_its_thread_has_finished(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database_module.ARGUMENTS["sqlite"], "timeout", 0.0)
    held, goes_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        held.set()
        goes_on.wait(30)
        add(connection)

    async with Database(file.url) as impatient:
        first = asyncio.ensure_future(impatient.transact(hold))
        await asyncio.to_thread(held.wait, 30)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.ensure_future(write(impatient, tries=1))
        await asyncio.wait([second], timeout=0.1)
        goes_on.set()
        await second

    assert await file.transact(words) == ["0", "1"]


async def test_an_error_does_not_show_the_password() -> None:
    async with Database(f"postgresql+asyncpg://holdline:{PASSWORD}@127.0.0.1:1/none") as away:
        with pytest.raises(StorageError) as unread:
            async with away.reading():
                pass
        with pytest.raises(StorageError) as unwritten:
            await write(away)
        with pytest.raises(StorageError) as undone:
            await away.transact(words)

    assert PASSWORD not in f"{unread.value} {unwritten.value} {undone.value}"


async def test_a_failed_transaction_leaves_nothing(file: Database) -> None:
    def half(connection: Connection) -> None:
        run(connection, "insert into words values ('half')")
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        await file.transact(half)
    with pytest.raises(ValueError, match="no further"):
        async with file.transaction() as connection:
            await connection.run_sync(half)

    assert await file.transact(words) == []


async def test_a_waiter_that_gives_up_is_left_out(file: Database) -> None:
    held, goes_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        goes_on.wait(30)

    first = asyncio.ensure_future(file.transact(hold))
    await asyncio.to_thread(held.wait, 30)
    add = "insert into words values ('late')"
    second = asyncio.ensure_future(file.transact(lambda connection: run(connection, add)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    goes_on.set()
    await first

    assert await file.transact(words) == []


async def test_a_hanging_file_does_not_block_the_exit(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "END_FILE_THREAD_S", 0.05)
    held, goes_on = threading.Event(), threading.Event()

    def hang(_: Connection) -> None:
        held.set()
        goes_on.wait(30)

    hanging = asyncio.ensure_future(file.transact(hang))
    await asyncio.to_thread(held.wait, 30)

    await file.close()

    assert not hanging.done()
    goes_on.set()
    await hanging


async def test_a_deleted_file_is_counted_once_whoever_finds_it(file: Database) -> None:
    assert file.file
    os.unlink(file.file)  # noqa: PTH108 - in a coroutine

    before = file.lost_files
    async with file.reading():
        pass

    assert (before, file.lost_files) == (1, 1)
    assert file.file.exists()
