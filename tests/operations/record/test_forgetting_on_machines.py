"""Erasing a number deletes its files on every machine, also on one that comes back later."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.__main__ import run
from calls.entry import Entry
from configuration.settings import Settings
from operations.database.database import Database
from operations.record import forgetting
from operations.record.forgetting import Forgotten, erase_files_on_request, forget_number
from operations.record.machine_files import MachineFiles
from operations.telemetry.journal import Journal
from runtime import clock
from tests.kit.databases import on_sqlite
from tests.operations.record.test_forgetting import (
    BOB,
    MARY,
    configured,
    events,
    files,
    keep,
    settings_of,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(forgetting, "MACHINES_S", 10.0)


def machine(url: str, folder: Path, name: str) -> Settings:
    settings = settings_of(url, folder / name)
    server = settings.server.model_copy(update={"machine": name})
    return settings.model_copy(update={"server": server})


@asynccontextmanager
async def serving(*machines: Settings) -> AsyncIterator[None]:
    """Run the part of these machines' servers that deletes files; each is listed."""
    if not machines:
        yield
        return
    first, *rest = machines
    async with (
        Database(first.storage.url) as database,
        erase_files_on_request(first, database, leads=lambda: True),
        asyncio.timeout(60),
    ):
        listed = MachineFiles(database).last_seen
        while first.server.machine not in await listed():  # noqa: ASYNC110 - a task does it
            await asyncio.sleep(0.01)
        async with serving(*rest):
            yield


async def forget_soon(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Forgotten:
    """Erase MARY without waiting for machines that do not run."""
    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "MACHINES_S", 0.0)
        return await forget_number(settings, MARY)


async def test_the_files_on_all_machines_are_deleted(url: str, tmp_path: Path) -> None:
    a, b, c = (machine(url, tmp_path, name) for name in "abc")
    for one, call_id, number in ((a, "m1", MARY), (b, "m2", MARY), (b, "b1", BOB), (c, "m3", MARY)):
        await keep(one, call_id, events(number))
    (tmp_path / "c" / "recordings" / "m1-7.wav").write_text("taken over", encoding="utf-8")

    async with serving(a, b, c):
        forgotten = await forget_number(a, MARY)

    assert files(tmp_path) == {"b1"}
    assert forgotten.machines == {}
    async with Database(url) as database:
        assert await MachineFiles(database).requests() == []


@on_sqlite
async def test_calls_that_only_a_machines_own_files_know_are_deleted_too(
    url: str, tmp_path: Path
) -> None:
    a, b = (machine(url, tmp_path, name) for name in "ab")
    journal = Journal(tmp_path / "b" / "calls")
    for number, event in enumerate(events(MARY), start=1):
        await journal.hear(Entry(call_id="c1", number=number, at="", event=event))

    async with serving(b):
        await forget_number(a, MARY)

    assert files(tmp_path) == set()


@on_sqlite
async def test_a_machine_that_is_away_is_named_and_deletes_its_files_when_it_is_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (machine(url, tmp_path, name) for name in "ab")
    await keep(a, "m1", events(MARY))
    await keep(b, "m2", events(MARY))
    (tmp_path / "b" / "calls" / "m2.jsonl").unlink()  # so that only the row leads to the others
    async with serving(a, b):
        pass

    during = await forget_soon(a, monkeypatch)
    again = await forget_soon(a, monkeypatch)  # does not forget what the first one asked for
    assert list(during.machines) == list(again.machines) == ["b"]
    assert "no answer" in again.machines["b"]
    assert files(tmp_path) == {"m2"}

    async with serving(b):
        after = await forget_number(a, MARY)
    assert (after.machines, files(tmp_path)) == ({}, set())


@on_sqlite
@pytest.mark.parametrize("name", ["recordings/m2.wav", "calls/m2.summary.json", "calls/m2.jsonl"])
async def test_a_file_that_a_machine_cannot_delete_is_named_until_it_can(
    url: str, tmp_path: Path, name: str
) -> None:
    a, b = (machine(url, tmp_path, name) for name in "ab")
    await keep(b, "m2", events(MARY))
    stuck = tmp_path / "b" / name
    stuck.unlink(missing_ok=True)
    stuck.mkdir()

    async with serving(a, b):
        during = await forget_number(a, MARY)
        assert str(stuck.parent / "m2") in during.machines["b"]
        stuck.rmdir()
        after = await forget_number(a, MARY)

    assert (after.machines, files(tmp_path)) == ({}, set())


@on_sqlite
async def test_a_call_in_progress_at_another_machine_is_left(url: str, tmp_path: Path) -> None:
    a, b = (machine(url, tmp_path, name) for name in "ab")
    await keep(b, "on", events(MARY)[:2])
    await keep(b, "over", events(MARY))

    async with serving(b):
        forgotten = await forget_number(a, MARY)

    assert (forgotten.live, forgotten.machines, files(tmp_path)) == (1, {}, {"on"})


@pytest.mark.parametrize(
    ("calls", "paths"), [(["m1", "m2"], ["/x/m1.wav"]), (["m1"], ["/x/m1.wav", "/x/2.wav"])]
)
async def test_a_request_that_was_extended_meanwhile_is_not_confirmed(
    url: str, calls: Sequence[str], paths: Sequence[str]
) -> None:
    async with Database(url) as database:
        machines = MachineFiles(database)
        await machines.list_machine("b", now=clock.utc_now())
        await machines.request(MARY, ["m1"], ["/x/m1.wav"], besides="a")
        (first,) = await machines.requests(machine="b")
        await machines.request(MARY, calls, paths, besides="a")
        (second,) = await machines.requests(machine="b")
        await machines.answer(first)
        assert await machines.requests() == [second]
        await machines.answer(second)

        assert await machines.requests() == []


@on_sqlite
async def test_a_machine_that_exists_no_more_is_not_asked(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (machine(url, tmp_path, name) for name in "ab")
    async with serving(a, b):
        pass
    assert list((await forget_soon(a, monkeypatch)).machines) == ["b"]

    assert (await forget_number(a, MARY, gone=["b"])).machines == {}
    assert (await forget_number(a, MARY)).machines == {}


def test_the_command_fails_and_names_the_machine_until_its_files_are_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "MACHINES_S", 0.0)
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"

    async def listed() -> None:
        async with Database(url) as database:
            await MachineFiles(database).list_machine("b", now=clock.utc_now())

    asyncio.run(listed())
    with configured(tmp_path) as config:
        assert run(["forget", MARY, "--config", config]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert run(["forget", MARY, "--gone", "b", "--config", config]) == 0

    assert "other machines: b (no answer, last seen at 20" in line
    assert MARY not in line
