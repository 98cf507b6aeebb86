"""Actions for a caller who chose them from the keypad menu."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bot.tools import caller_requests
from bot.tools.caller_requests import RETRY_EVERY_S, CallerRequests, Unkept
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from operations.record.voicemails import LEFT_S, finish_left
from tests.kit.waiting import until
from transports.leg import LegFacts

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


async def left_at(the_desk: CallerRequests, pcm: bytes, *, piece_bytes: int = 320) -> bool:
    """Leave a message as a telephone does, 20 ms at a time; return whether it was kept."""
    for at in range(0, len(pcm), piece_bytes):
        the_desk.record(pcm[at : at + piece_bytes], 8000)
        await asyncio.sleep(0)
    return await the_desk.keep_message()


async def hang_up(reason: str) -> None:
    del reason


def desk(database: Database, folder: Path, *, call_id: str = "c1", **facts: Any) -> CallerRequests:
    known = {"transport": "twilio", "sample_rate_hz": 8000, "caller": "+15550101"} | facts
    return CallerRequests(
        callbacks=Callbacks(database),
        messages=folder / "messages",
        call_id=call_id,
        facts=LegFacts(**known),
        end=hang_up,
        utc_now=lambda: AT,
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as opened:
        yield opened


async def test_a_callback_is_stored_with_the_callers_number(
    database: Database, tmp_path: Path
) -> None:
    kept = await desk(database, tmp_path).call_back("llm is down")

    (waiting,) = await Callbacks(database).waiting()
    assert kept
    assert (waiting.number, waiting.reason, waiting.asked_at) == ("+15550101", "llm is down", AT)


async def test_a_callback_of_an_outbound_call_goes_to_the_contact_and_not_to_us(
    database: Database, tmp_path: Path
) -> None:
    ours = desk(
        database,
        tmp_path,
        caller="+15005550006",  # our own number
        called="+15550101",
        direction="outbound",
    )

    kept = await ours.call_back("they are driving")

    (waiting,) = await Callbacks(database).waiting()
    assert kept
    assert waiting.number == "+15550101"


async def test_no_callback_is_promised_without_a_number(database: Database, tmp_path: Path) -> None:
    for caller in ("", "anonymous", "+1", "+266696687", "sip:anonymous@192.168.100.200"):
        ours = desk(database, tmp_path, caller=caller)
        assert await ours.note_callback("billing") is Unkept.NO_NUMBER, caller
        assert not await ours.call_back("billing"), caller

    assert await Callbacks(database).waiting() == []


async def test_no_callback_is_promised_that_could_not_be_stored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")

    assert not await desk(database, tmp_path).call_back("llm is down")
    await database.close()


async def test_a_callback_that_failed_in_the_call_is_stored_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")
    ours = desk(database, tmp_path)
    assert not await ours.call_back("billing")
    assert not await ours.call_back("when: tomorrow")
    (tmp_path / "file").unlink()  # the database is back

    await ours.close()

    (waiting,) = await Callbacks(database).waiting()
    assert waiting.reason == "billing / when: tomorrow"
    await ours.close()  # nothing is pending any more
    await database.close()


async def test_a_caller_who_hangs_up_before_the_write_is_called_back(
    database: Database, tmp_path: Path
) -> None:
    await database.engine()
    ours = desk(database, tmp_path)
    with closing(sqlite3.connect(tmp_path / "holdline.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # another process has the file locked
        asking = asyncio.create_task(ours.call_back("billing"))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait({asking})
        other.execute("COMMIT")
    assert asking.cancelled()

    await ours.close()

    assert [callback.reason for callback in await Callbacks(database).waiting()] == ["billing"]


@pytest.mark.virtual_time
async def test_the_end_of_a_call_waits_for_a_database_that_comes_back(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")
    ours = desk(database, tmp_path)
    assert not await ours.call_back("billing")

    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(ours.close())
        await asyncio.sleep(3.5 * RETRY_EVERY_S)
        assert not closing.done()
        (tmp_path / "file").unlink()

    (waiting,) = await Callbacks(database).waiting()
    assert waiting.number == "+15550101"
    await database.close()


async def test_no_callback_is_promised_that_a_full_disk_refused(
    database: Database, tmp_path: Path
) -> None:
    async with database.transaction() as connection:  # the writer has one connection, and keeps it
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    room = [desk(database, tmp_path, call_id=f"c{n}") for n in range(20)]  # a page takes eleven

    kept = [await item.note_callback("x" * 290) for item in room]

    assert kept[0] is None
    assert kept[-1] is Unkept.NOT_STORED
    assert len(await Callbacks(database).waiting()) == kept.count(None)


async def test_a_message_is_a_wav_file_of_the_call(database: Database, tmp_path: Path) -> None:
    pcm = np.arange(8000, dtype="<i2").tobytes()

    kept = await left_at(desk(database, tmp_path), pcm)

    samples, rate_hz = soundfile.read(str(tmp_path / "messages" / "c1.wav"), dtype="int16")
    assert kept
    assert rate_hz == 8000
    assert samples.tobytes() == pcm


async def test_a_message_that_the_disk_refuses_is_reported_as_lost(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "messages").touch()

    assert not await left_at(desk(database, tmp_path), b"\0\0" * 80)


def wav_files(folder: Path) -> dict[str, int]:
    """Return the stored messages with their number of samples."""
    return {
        path.name: int(np.frombuffer(path.read_bytes()[44:], "<i2").size)
        for path in (folder / "messages").glob("*")
    }


async def test_a_message_is_on_disk_during_its_recording_and_named_at_the_end(
    database: Database, tmp_path: Path
) -> None:
    the_desk = desk(database, tmp_path)
    for _ in range(60):
        the_desk.record(b"\1\0" * 800, 8000)  # 6 s
        await asyncio.sleep(0.001)
    await until(lambda: wav_files(tmp_path).get("c1.wav.part", 0) >= 8000)

    assert list(wav_files(tmp_path)) == ["c1.wav.part"]
    assert await the_desk.keep_message()
    assert wav_files(tmp_path) == {"c1.wav": 48_000}


async def test_a_message_without_a_word_leaves_nothing(database: Database, tmp_path: Path) -> None:
    the_desk = desk(database, tmp_path)
    the_desk.record(b"\0\0" * 16_000, 8000)

    await the_desk.drop_message()

    assert wav_files(tmp_path) == {}
    assert not await the_desk.keep_message()


@pytest.mark.parametrize("after", [-1, 0, 2])
async def test_a_disk_that_fills_up_during_a_message_leaves_no_torn_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    written: list[bytes] = []
    really_write = os.pwrite

    def fill_up(file: int, content: bytes, at: int) -> int:
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(content)
        return really_write(file, content, at)

    monkeypatch.setattr(os, "pwrite", fill_up)

    assert not await left_at(desk(database, tmp_path), b"\1\0" * 40_000, piece_bytes=16_000)
    assert wav_files(tmp_path) == {}


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return the fields that are set once the disk has a file whole."""
    goes_on, really_sync = threading.Event(), os.fsync

    def hang(file: int) -> None:
        assert goes_on.wait(20.0)
        really_sync(file)

    monkeypatch.setattr(os, "fsync", hang)
    return goes_on


async def test_a_hanging_disk_does_not_block_a_call_and_the_message_is_stored_later(
    database: Database, tmp_path: Path, slow_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_requests, "REQUEST_STORED_S", 0.1)
    the_desk = desk(database, tmp_path)

    async with asyncio.timeout(10):
        assert not await left_at(the_desk, b"\1\0" * 12_000)
    slow_disk.set()
    await the_desk.close()

    assert wav_files(tmp_path) == {"c1.wav": 12_000}


async def test_a_hanging_disk_does_not_block_a_call_after_an_empty_message(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, really_write = threading.Event(), os.pwrite

    def hang(file: int, content: bytes, at: int) -> int:
        assert goes_on.wait(20.0)
        return really_write(file, content, at)

    monkeypatch.setattr(caller_requests, "REQUEST_STORED_S", 0.1)
    monkeypatch.setattr(os, "pwrite", hang)
    the_desk = desk(database, tmp_path)
    the_desk.record(b"\0\0" * 16_000, 8000)

    async with asyncio.timeout(10):
        await the_desk.drop_message()
    goes_on.set()
    await the_desk.close()

    assert wav_files(tmp_path) == {}


async def test_a_caller_who_hangs_up_during_the_write_has_left_the_whole_message(
    database: Database, tmp_path: Path, slow_disk: threading.Event
) -> None:
    the_desk = desk(database, tmp_path)
    leaving = asyncio.create_task(left_at(the_desk, b"\1\0" * 12_000))
    await until(lambda: wav_files(tmp_path).get("c1.wav.part", 0) == 12_000)
    leaving.cancel()
    await asyncio.wait({leaving})
    slow_disk.set()
    await the_desk.close()

    assert wav_files(tmp_path) == {"c1.wav": 12_000}


async def test_a_message_whose_process_died_is_kept_by_the_next_one(
    database: Database, tmp_path: Path
) -> None:
    the_desk = desk(database, tmp_path)
    the_desk.record(b"\1\0" * 8000, 8000)
    await until(lambda: wav_files(tmp_path).get("c1.wav.part", 0) == 8000)
    now_s = (tmp_path / "messages" / "c1.wav.part").stat().st_mtime

    young = finish_left(tmp_path / "messages", utc_s=now_s + LEFT_S - 1)
    old = finish_left(tmp_path / "messages", utc_s=now_s + LEFT_S + 1)

    samples, rate_hz = soundfile.read(str(tmp_path / "messages" / "c1.wav"), dtype="int16")
    assert (young, old) == (0, 1)
    assert (samples.size, rate_hz) == (8000, 8000)
