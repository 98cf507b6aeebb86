"""Callers' data is deleted when it expires, however long the process runs."""

import asyncio
import os
from pathlib import Path

import pytest

from calls.events import Event
from calls.operations_events import RecordsForgotten
from configuration.settings import Settings
from operations.record.forgetting import DAY_S, forget_daily
from operations.record.voicemails import LEFT_S, MessageFile
from runtime import clock
from tests.operations.record.test_record_listener import STAGES

pytestmark = pytest.mark.virtual_time


def record(folder: Path, *, days_old: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{days_old:g}.jsonl"
    file.touch()
    at = clock.utc_now().timestamp() - days_old * DAY_S
    os.utime(file, (at, at))
    return file


async def test_old_records_are_deleted_at_the_start_and_again_each_day(tmp_path: Path) -> None:
    logs = {"dir": tmp_path, "keep_days": 30}
    settings = Settings.model_validate({"stages": STAGES, "logs": logs})
    first, young = (record(tmp_path / "calls", days_old=days) for days in (31, 29))
    told: list[Event] = []
    async with forget_daily(settings, emit=told.append):
        await asyncio.sleep(1)
        assert not first.exists()
        assert young.exists()

        second = record(tmp_path / "messages", days_old=32)
        await asyncio.sleep(DAY_S)

        assert not second.exists()
        assert young.exists()
    assert told == [RecordsForgotten(files=1, keep_days=30)] * 2


@pytest.mark.parametrize(("voicemails_days", "kept"), [(90, True), (10, False)])
async def test_a_message_is_kept_as_long_as_its_row(
    tmp_path: Path, voicemails_days: int, *, kept: bool
) -> None:
    tree = {
        "stages": STAGES,
        "logs": {"dir": tmp_path, "keep_days": 30},
        "storage": {"keep_days": {"voicemails": voicemails_days}},
    }
    days_old = 40 if kept else 20
    message = record(tmp_path / "messages", days_old=days_old)
    async with forget_daily(Settings.model_validate(tree), emit=[].append):
        await asyncio.sleep(1)

    assert message.exists() is kept


async def test_a_dead_processs_message_gets_its_name(tmp_path: Path) -> None:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": tmp_path}})
    MessageFile(tmp_path / "messages" / "c1.wav", rate_hz=8000).add(b"\1\0" * 100)
    part = tmp_path / "messages" / "c1.wav.part"
    os.utime(part, (0, clock.utc_now().timestamp() - 3600))

    async with forget_daily(settings, emit=[].append):
        await asyncio.sleep(1)

    assert (tmp_path / "messages" / "c1.wav").exists()


@pytest.mark.parametrize("folder", ["messages", "recordings"])
async def test_a_message_of_a_process_that_died_just_now_gets_its_name_within_minutes(
    tmp_path: Path, folder: str
) -> None:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": tmp_path}})
    MessageFile(tmp_path / folder / "c1.wav", rate_hz=8000).add(b"\1\0" * 100)

    async with forget_daily(settings, emit=[].append):
        await asyncio.sleep(1)
        young = (tmp_path / folder / "c1.wav").exists()
        at = clock.utc_now().timestamp() - LEFT_S - 1.0
        os.utime(tmp_path / folder / "c1.wav.part", (at, at))
        await asyncio.sleep(LEFT_S)

        assert (young, (tmp_path / folder / "c1.wav").exists()) == (False, True)


async def test_a_file_that_another_process_took_first_blocks_nothing(tmp_path: Path) -> None:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": tmp_path}})
    old = record(tmp_path / "calls", days_old=40)
    (tmp_path / "messages").mkdir()
    for name in ("calls/1.jsonl", "messages/c1.wav.part"):  # listed, and missing when opened
        (tmp_path / name).symlink_to(tmp_path / "gone")
    told: list[Event] = []

    async with forget_daily(settings, emit=told.append):
        await asyncio.sleep(1)

    assert not old.exists()
    assert told == [RecordsForgotten(files=1, keep_days=30)]


@pytest.mark.parametrize("name", ["stuck.wav", "stuck.wav.part"])
async def test_an_unwritable_file_blocks_nothing(tmp_path: Path, name: str) -> None:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": tmp_path}})
    stuck, old = tmp_path / "messages" / name, record(tmp_path / "recordings", days_old=40)
    stuck.mkdir(parents=True)  # it cannot be opened or deleted
    os.utime(stuck, (0, 0))
    left = tmp_path / "recordings" / "c1.wav"
    MessageFile(left, rate_hz=8000).add(b"\1\0" * 100)
    at = clock.utc_now().timestamp() - LEFT_S - 1.0
    os.utime(f"{left}.part", (at, at))
    told: list[Event] = []

    async with forget_daily(settings, emit=told.append):
        await asyncio.sleep(0.5)

    assert (old.exists(), left.exists(), stuck.exists()) == (False, True, True)
    assert told == [RecordsForgotten(files=1, keep_days=30)]
