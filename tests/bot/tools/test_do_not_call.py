"""Who asks not to be called again is on the list before the call ends, and before being told."""

import asyncio
from pathlib import Path

import pytest

from bot.tools.do_not_call import LISTED, DoNotCallDesk, DoNotCallList
from bot.tools.toolbox import ToolFailed
from calls.crm_events import DoNotCallWanted
from calls.events import Event, TranscriptFinal
from storage.contact_book import ContactBook, NewContact
from storage.database import StorageError

pytestmark = pytest.mark.virtual_time

NUMBER = "+15550142"


def said(text: str) -> TranscriptFinal:
    return TranscriptFinal(turn=2, at_s=0.0, provider="deepgram", text=text)


def desk_of(numbers: DoNotCallList, told: list[Event], number: str = NUMBER) -> DoNotCallDesk:
    return DoNotCallDesk(numbers, number, turn=lambda: 2, tell=told.append, utc_s=lambda: 1000.0)


class AwayList:
    """A list whose database is away for some tries."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.listed: list[str] = []

    async def add_do_not_call(
        self, number: str, *, source: str, now: float, dial_id: str = ""
    ) -> bool:
        self.times -= 1
        if self.times >= 0:
            raise StorageError("away")
        self.listed.append(number)
        return True


async def test_the_tool_answers_once_the_number_is_on_the_list(tmp_path: Path) -> None:
    book, told = ContactBook(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"), list[Event]()
    await book.add("spring", [NewContact(number=NUMBER)], now=1.0)

    answer = await desk_of(book, told).tool().run({})
    listed = await book.do_not_call([NUMBER])
    await book.close()

    assert answer == LISTED
    assert listed == {NUMBER}
    assert told == [DoNotCallWanted(turn=2, by="model")]


async def test_words_are_enough_when_no_model_answers(tmp_path: Path) -> None:
    book, told = ContactBook(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"), list[Event]()
    desk = desk_of(book, told)

    desk.hear(said("Please, don't call me again."))
    await desk.close()
    listed = await book.do_not_call([NUMBER])
    await book.close()

    assert listed == {NUMBER}
    assert told == [DoNotCallWanted(turn=2, by="words")]


async def test_nobody_is_told_before_it_is_committed() -> None:
    numbers, told = AwayList(times=9), list[Event]()
    desk = desk_of(numbers, told)

    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    assert told == []
    await desk.close()  # the call that ends waits for it

    assert numbers.listed == [NUMBER]
    assert told == [DoNotCallWanted(turn=2, by="model")]


async def test_asking_twice_lists_once() -> None:
    numbers, told = AwayList(times=0), list[Event]()
    desk = desk_of(numbers, told)

    desk.hear(said("Stop calling me."))
    await asyncio.gather(desk.tool().run({}), desk.tool().run({}))
    desk.hear(said("I said stop calling me."))
    await desk.close()

    assert numbers.listed == [NUMBER]


async def test_other_words_list_nobody() -> None:
    numbers = AwayList(times=0)
    desk = desk_of(numbers, [])

    desk.hear(said("Please don't call me after six."))
    await desk.close()

    assert numbers.listed == []


async def test_a_caller_without_a_number_is_told_so() -> None:
    with pytest.raises(ToolFailed, match="not known"):
        await desk_of(AwayList(times=0), [], number="").tool().run({})
