"""Opt-outs reach the do-not-call list despite database outages and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.do_not_call import opt_outs as under_test
from bot.do_not_call.opt_outs import LEFT_NUMBERS_CHECK_S, LIST_AT_END_S, OptOuts, open_opt_outs
from bot.do_not_call.owed_numbers import OwedNumber, OwedNumbers
from calls.events import Event
from calls.operations_events import DoNotCallDropped, DoNotCallListed
from operations.database.database import StorageError

pytestmark = pytest.mark.virtual_time


@dataclass
class SwitchedList:
    """A list whose database can be switched off, or hangs."""

    away: bool = True
    hangs: bool = False
    tries: int = 0
    listed: list[tuple[str, str, float, str]] = field(default_factory=list)

    async def add_do_not_call(
        self,
        number: str,
        *,
        source: str,
        now: float,
        dial_id: str = "",
        also: str = "",
        words: str = "",
    ) -> bool:
        self.tries += 1
        if self.hangs:
            await asyncio.sleep(3600.0)
        if self.away:
            raise StorageError("away")
        self.listed.append((number, source, now, dial_id))
        return True

    async def remove_do_not_call(
        self, number: str, *, dial_id: str = "", also: str = "", added_s: float | None = None
    ) -> int:
        if self.away:
            raise StorageError("away")
        removed = [item for item in self.listed if item[2] == added_s]
        self.listed = [item for item in self.listed if item[2] != added_s]
        return len(removed)


def owed(call_id: str = "c1", asked_s: float = 1000.0) -> OwedNumber:
    return OwedNumber(
        call_id=call_id, number="+15550142", source="voice: model", asked_s=asked_s, dial_id="d1"
    )


@asynccontextmanager
async def process(numbers: SwitchedList, folder: Path, told: list[Event]) -> AsyncIterator[OptOuts]:
    async with open_opt_outs(OptOuts(numbers, OwedNumbers(folder), emit=told.append)) as it:
        yield it


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


async def test_an_immediately_listed_number_is_never_on_the_disk(tmp_path: Path) -> None:
    numbers, told = SwitchedList(away=False), list[Event]()

    async with process(numbers, tmp_path / "owed", told) as it:
        await it.start_listing(owed())

    assert numbers.listed == [("+15550142", "voice: model", 1000.0, "d1")]
    assert not (tmp_path / "owed").exists()
    assert told == []


async def test_the_next_process_lists_pending_numbers_of_the_last_one(tmp_path: Path) -> None:
    numbers, told = SwitchedList(), list[Event]()

    async with process(numbers, tmp_path, told) as it:
        it.start_listing(owed())
        await asyncio.sleep(60.0)
    numbers.away = False
    async with process(numbers, tmp_path, told):
        await asyncio.sleep(1.0)

    assert numbers.listed == [("+15550142", "voice: model", 1000.0, "d1")]
    assert told == [
        DoNotCallDropped(call_id="c1", reason="process_ended", on_disk=True),
        DoNotCallListed(call_id="c1", tries=1),
    ]
    assert files(tmp_path) == []


async def test_a_number_is_on_the_disk_as_soon_as_the_database_has_failed_once(
    tmp_path: Path,
) -> None:
    async with process(SwitchedList(), tmp_path, []) as it:
        it.start_listing(owed())
        await asyncio.sleep(0.5)

        assert OwedNumbers(tmp_path).left(most=9) == [owed()]
        assert (tmp_path / "c1.json").stat().st_mode & 0o077 == 0


async def test_a_process_ends_in_time_while_the_database_hangs(tmp_path: Path) -> None:
    told, loop = list[Event](), asyncio.get_running_loop()

    async with process(SwitchedList(hangs=True), tmp_path, told) as it:
        it.start_listing(owed())
        began = loop.time()

    assert loop.time() - began == pytest.approx(LIST_AT_END_S, abs=0.1)
    assert told == [DoNotCallDropped(call_id="c1", reason="process_ended", on_disk=True)]
    assert files(tmp_path) == ["c1.json"]


async def test_a_number_that_neither_database_nor_disk_stored_is_reported(
    tmp_path: Path,
) -> None:
    told, no_folder = list[Event](), tmp_path / "file"
    no_folder.write_text("")

    async with process(SwitchedList(), no_folder, told) as it:
        it.start_listing(owed())
        await asyncio.sleep(60.0)

    assert told == [DoNotCallDropped(call_id="c1", reason="process_ended", on_disk=False)]


async def test_the_waits_grow_to_a_bound(tmp_path: Path) -> None:
    numbers = SwitchedList()

    async with process(numbers, tmp_path, []) as it:
        it.start_listing(owed())
        await asyncio.sleep(0.5)
        tries = [numbers.tries]
        for _ in range(6):
            await asyncio.sleep(15.0)
            tries.append(numbers.tries)

    assert tries == [1, 5, 6, 7, 8, 9, 10]  # after 1, 2, 4, 8, and then each 15 s


async def test_a_full_queue_moves_the_oldest_to_disk_and_lists_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_OWED", 2)
    numbers, told = SwitchedList(), list[Event]()

    async with process(numbers, tmp_path, told) as it:
        for number in range(3):
            it.start_listing(owed(f"c{number}", asked_s=float(number)))
            await asyncio.sleep(0.1)
        await asyncio.sleep(2 * LEFT_NUMBERS_CHECK_S)
        dropped, on_disk = list(told), files(tmp_path)
        numbers.away = False
        await asyncio.sleep(LEFT_NUMBERS_CHECK_S + 1.0)

    assert dropped == [DoNotCallDropped(call_id="c0", reason="too_many", on_disk=True)]
    assert on_disk == ["c0.json", "c1.json", "c2.json"]
    assert sorted(item[2] for item in numbers.listed) == [0.0, 1.0, 2.0]
    assert files(tmp_path) == []


async def test_a_running_process_takes_over_what_another_left(tmp_path: Path) -> None:
    numbers, told = SwitchedList(), list[Event]()

    async with process(numbers, tmp_path, told):
        async with process(SwitchedList(), tmp_path, []) as old:
            await asyncio.sleep(1.0)
            old.start_listing(owed())
        numbers.away = False
        await asyncio.sleep(LEFT_NUMBERS_CHECK_S + 1.0)

    assert numbers.listed == [("+15550142", "voice: model", 1000.0, "d1")]
    assert told == [DoNotCallListed(call_id="c1", tries=1)]
    assert files(tmp_path) == []


@pytest.mark.parametrize("away_s", [LEFT_NUMBERS_CHECK_S + 5.0, 3 * LEFT_NUMBERS_CHECK_S])
@pytest.mark.parametrize("is_back_first", [True, False])
async def test_a_number_that_was_taken_back_is_listed_by_no_process(
    tmp_path: Path, away_s: float, *, is_back_first: bool
) -> None:
    numbers, told = SwitchedList(), list[Event]()

    async with process(numbers, tmp_path, told) as own, process(numbers, tmp_path, told):
        await asyncio.sleep(1.0)
        listing = own.start_listing(owed())
        await asyncio.sleep(away_s)  # so the other process also tries to list it
        numbers.away = not is_back_first
        taken_back = await own.take_back(owed(), listing)
        numbers.away = False
        await asyncio.sleep(2 * LEFT_NUMBERS_CHECK_S)

    assert taken_back is is_back_first
    assert numbers.listed == []
    assert told == []


async def test_a_number_of_a_resumed_call_that_was_taken_back_is_not_listed_for_its_earlier_part(
    tmp_path: Path,
) -> None:
    numbers, told = SwitchedList(), list[Event]()

    async with process(numbers, tmp_path, told) as it:
        it.start_listing(owed())
        it.start_listing(owed("c2"))
        await asyncio.sleep(5.0)
        resumed = it.start_listing(owed())
        await asyncio.sleep(5.0)
        await it.take_back(owed(), resumed)
        it.start_listing(owed(asked_s=1010.0))  # they ask again
        numbers.away = False
        await asyncio.sleep(LEFT_NUMBERS_CHECK_S)

    assert sorted(asked_s for _, _, asked_s, _ in numbers.listed) == [1000.0, 1010.0]
    assert [event.call_id for event in told if isinstance(event, DoNotCallListed)] == ["c2"]


@pytest.mark.parametrize("broken", ["folder", "file"])
async def test_a_left_number_is_listed_even_if_the_disk_fails_meanwhile(
    tmp_path: Path, broken: str
) -> None:
    numbers, kept, folder = SwitchedList(), OwedNumbers(tmp_path / "owed"), tmp_path / "owed"
    kept.keep(owed())

    async with process(numbers, folder, []):
        await asyncio.sleep(1.0)
        if broken == "folder":
            folder.rename(tmp_path / "away")
            folder.write_text("")
        else:
            (folder / "c1.json").unlink()
            (folder / "c1.json").symlink_to("c1.json")
        numbers.away = False
        await asyncio.sleep(30.0)

    assert len(numbers.listed) == 1


async def test_an_invalid_file_does_not_stop_the_others(tmp_path: Path) -> None:
    numbers, kept = SwitchedList(away=False), OwedNumbers(tmp_path)
    (tmp_path / "a.json").write_text('{"call_id": "a"}')
    kept.keep(owed())

    async with process(numbers, tmp_path, []):
        await asyncio.sleep(1.0)

    assert len(numbers.listed) == 1
    assert files(tmp_path) == ["a.json"]
