"""A caller who opts out is on the list before the call ends, and before being told."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.call.ending import take_step
from bot.tools.do_not_call import LISTED, DoNotCallList, DoNotCallRequests, OptOuts
from bot.tools.toolbox import ToolFailed
from calls.events import Event, TranscriptFinal
from calls.operations_events import DoNotCallListed, DoNotCallOwed, DoNotCallWanted
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.owed_numbers import OwedNumbers
from operations.database.database import Database, StorageError

pytestmark = pytest.mark.virtual_time

NUMBER = "+15550142"


def said(text: str) -> TranscriptFinal:
    return TranscriptFinal(turn=2, at_s=0.0, provider="deepgram", text=text)


@dataclass
class Desks:
    """Makes the desks of one process."""

    folder: Path
    told: list[Event] = field(default_factory=list)  # in calls
    beside: list[Event] = field(default_factory=list)  # outside them

    def desk(self, numbers: DoNotCallList, number: str = NUMBER) -> DoNotCallRequests:
        opt_outs = OptOuts(numbers, OwedNumbers(self.folder), emit=self.beside.append)
        return DoNotCallRequests(
            opt_outs,
            number,
            call_id="c1",
            turn=lambda: 2,
            emit=self.told.append,
            utc_s=lambda: 1000.0,
        )


@pytest.fixture
def desks(tmp_path: Path) -> Desks:
    return Desks(tmp_path / "do_not_call")


class AwayList:
    """A list whose database fails for some tries."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.listed: list[str] = []

    async def add_do_not_call(
        self, number: str, *, source: str, now: float, dial_id: str = "", also: str = ""
    ) -> bool:
        self.times -= 1
        if self.times >= 0:
            raise StorageError("away")
        self.listed.append(number)
        return True


async def test_the_tool_answers_after_the_number_is_on_the_list(
    tmp_path: Path, desks: Desks
) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    await book.add("spring", [NewContact(number=NUMBER)], now=1.0)

    answer = await desks.desk(book).tool().run({})
    listed = await book.do_not_call([NUMBER])
    await book.database.close()

    assert answer == LISTED
    assert listed == {NUMBER}
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_words_are_enough_without_a_model(tmp_path: Path, desks: Desks) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    desk = desks.desk(book)

    desk.notice(said("Please, don't call me again."))
    await desk.close()
    listed = await book.do_not_call([NUMBER])
    await book.database.close()

    assert listed == {NUMBER}
    assert desks.told == [DoNotCallWanted(turn=2, by="words")]


async def test_the_caller_is_told_only_after_the_commit(desks: Desks) -> None:
    numbers = AwayList(times=3)
    desk = desks.desk(numbers)

    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    assert desks.told == []
    await asyncio.sleep(2.0)  # the goodbye
    await desk.close()  # the ending call waits for it

    assert numbers.listed == [NUMBER]
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_a_number_is_listed_even_if_the_database_returns_long_after_the_call(
    desks: Desks,
) -> None:
    numbers = AwayList(times=20)
    desk = desks.desk(numbers)

    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    await take_step("listing a number", desk.close(), call_id="c1")
    ended = list(desks.told)
    await asyncio.sleep(600.0)

    assert ended == desks.told == [DoNotCallOwed(turn=2, by="model")]
    assert desks.beside == [DoNotCallListed(call_id="c1", tries=21)]
    assert numbers.listed == [NUMBER]


async def test_asking_twice_lists_once(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    desk.notice(said("Stop calling me."))
    await asyncio.gather(desk.tool().run({}), desk.tool().run({}))
    desk.notice(said("I said stop calling me."))
    await desk.close()

    assert numbers.listed == [NUMBER]


async def test_other_words_list_no_number(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    desk.notice(said("Please don't call me after six."))
    await desk.close()

    assert numbers.listed == []


@pytest.mark.parametrize("number", ["", "+266696687", "sip:12345@a.long.name.example"])
async def test_a_caller_without_a_number_is_told_so(desks: Desks, number: str) -> None:
    with pytest.raises(ToolFailed, match="not known"):
        await desks.desk(AwayList(times=0), number=number).tool().run({})
