"""A transaction in a file's own thread: whole, in turn, and with a bounded wait."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from operations.database import file_thread
from operations.database.file_thread import FileThread


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[FileThread]:
    found = FileThread(make_url(f"sqlite+aiosqlite:///{tmp_path}/some.db"))
    await found.transact(lambda connection: run(connection, "create table words (word text)"))
    yield found
    await found.close()


def run(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def words(connection: Connection) -> list[str]:
    return list(connection.execute(text("select word from words")).scalars())


async def test_a_failed_transaction_leaves_nothing(file: FileThread) -> None:
    def half(connection: Connection) -> None:
        run(connection, "insert into words values ('half')")
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        await file.transact(half)

    assert await file.transact(words) == []


async def test_a_waiter_that_gives_up_is_left_out(file: FileThread) -> None:
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
    file: FileThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_thread, "CLOSE_S", 0.05)
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
