"""The queue of requested callbacks."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operations.database.database import Database, StorageError
from operations.database.tables import NUMBER_LENGTH, REASON_LENGTH
from operations.inbox.store import Inbox
from operations.record.callbacks import Callback, Callbacks

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MARY = Callback(call_id="c1", number="+15550101", reason="llm is down", asked_at=AT)
BOB = Callback(call_id="c2", number="+15550102", reason="llm is down", asked_at=AT)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/deep/down/holdline.db"


async def test_a_request_survives_the_process(url: str) -> None:
    first = Database(url)
    assert await Callbacks(first).add(MARY)
    await first.close()

    second = Database(url)
    waiting = await Callbacks(second).waiting()
    await second.close()

    assert waiting == [MARY]


async def test_the_oldest_request_comes_first_and_a_fulfilled_one_not_again(url: str) -> None:
    database = Database(url)
    queue = Callbacks(database)
    for item in (MARY, BOB):
        await queue.add(item)

    assert await queue.waiting() == [MARY, BOB]
    assert await Inbox(database).mark("callback", "c1", done_at=AT)
    assert await queue.waiting() == [BOB]
    await database.close()


def _delete_file(file: Path) -> None:
    file.unlink()


def _delete_all(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def _delete_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def _replace(file: Path) -> None:
    other = file.with_name("other.db")
    other.touch()
    other.replace(file)
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)


@pytest.mark.parametrize("delete", [_delete_file, _delete_all, _delete_folder, _replace])
async def test_a_request_is_written_to_the_existing_file_after_another_was_deleted(
    url: str, delete: Callable[[Path], None]
) -> None:
    database = Database(url)
    assert await Callbacks(database).add(MARY)
    delete(Path(url.removeprefix("sqlite+aiosqlite:///")))

    assert await Callbacks(database).add(BOB)

    later = Database(url)
    assert await Callbacks(later).waiting() == [BOB]
    await later.close()
    await database.close()


async def test_a_later_request_in_the_same_call_is_kept_alongside_the_first(
    url: str,
) -> None:
    database = Database(url)
    queue = Callbacks(database)
    await queue.add(replace(MARY, reason="billing; when: tomorrow"))

    assert not await queue.add(replace(MARY, reason="billing; when: Thursday"))
    assert not await queue.add(replace(MARY, reason="x" * REASON_LENGTH))

    (waiting,) = await queue.waiting()
    assert waiting.reason == "x" * REASON_LENGTH
    await database.close()


async def test_a_caller_with_a_long_address_is_kept_in_a_database_that_checks_lengths(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    queue = Callbacks(database)
    over_sip = replace(MARY, number="sip:+4930123456@reception.sip.example.com")
    longer = replace(BOB, number="sip:+4930123457@" + "a" * 60)

    assert [await queue.add(item) for item in (over_sip, longer)] == [True, True]

    numbers = [text.number for text in await queue.waiting()]
    assert numbers == [over_sip.number, longer.number[:NUMBER_LENGTH]]
    await database.close()


async def test_a_second_request_of_one_call_does_not_lose_the_first(url: str) -> None:
    database = Database(url)
    queue = Callbacks(database)
    await queue.add(replace(MARY, reason="billing; when: tomorrow"))
    await queue.add(replace(MARY, reason="llm is down"))

    (waiting,) = await queue.waiting()
    assert waiting.reason == "billing; when: tomorrow / llm is down"
    await database.close()


async def test_a_caller_who_was_called_back_may_ask_again(url: str) -> None:
    database = Database(url)
    queue = Callbacks(database)
    await queue.add(MARY)
    await Inbox(database).mark("callback", "c1", done_at=AT)

    await queue.add(MARY)

    assert await queue.waiting() == [MARY]
    await database.close()


async def test_a_failed_write_is_our_own_error_without_the_address(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")

    with pytest.raises(StorageError) as wrong:
        await Callbacks(database).add(MARY)

    assert str(tmp_path) not in str(wrong.value)
    await database.close()
