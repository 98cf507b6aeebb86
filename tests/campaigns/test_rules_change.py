"""Contacts that a campaign's rules postpone or exclude: the reason, and the way back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calls.outbound import Claim, NothingToDial
from campaigns.guard import rules_of
from campaigns.importing import ImportPlan, ImportTally, import_contacts
from campaigns.model import CallingWindow, Campaign
from campaigns.refusals import cure_of
from campaigns.store.contacts import Contacts
from campaigns.store.figures import ContactFigures, Figures
from campaigns.store.queue import Queue
from operations.database.database import Database
from tests.kit.clock import always

NOON = 1_800_014_400.0  # 2027-01-15, 12:00 UTC, a Friday
OFFICE = CallingWindow(opens_s=9 * 3600.0, closes_s=18 * 3600.0)
WIDE = CallingWindow(opens_s=7 * 3600.0, closes_s=23 * 3600.0)
SPRING = Campaign(
    name="spring", region="RU", consent_required=False, window=OFFICE, dials_per_minute=6e6
)


class Calling:
    """One campaign in a database: import a text, claim, read the contacts."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.queue = Queue(database, holder="x")
        self.book = Contacts(database)
        self._figures = Figures(database)
        self._file = folder / "contacts.csv"
        self._now = NOON - 100.0

    async def take_in(self, text: str, campaign: Campaign = SPRING) -> ImportTally:
        self._file.write_text(text, encoding="utf-8")
        self._now += 1.0
        plan = ImportPlan(file=self._file, campaign=campaign, now=self._now)
        return await import_contacts(plan, self.book, lambda _: None)

    async def claim(self, campaign: Campaign = SPRING, *, now: float = NOON) -> str:
        """Return the claimed number, or why there is none."""
        await self.queue.move("spring", "running", now=now)
        rules = rules_of(campaign, now=now)
        got = await self.queue.claim("spring", rules, now_s=always(now), lease_s=9.0)
        if isinstance(got, Claim):
            return got.dial.number
        assert isinstance(got, NothingToDial)
        return got.reason

    async def contacts(self) -> list[ContactFigures]:
        return [contact async for contact in self._figures.contacts("spring")]

    async def states(self) -> list[tuple[str, str]]:
        return [(contact.state, contact.reason) for contact in await self.contacts()]


@pytest.fixture
async def calling(tmp_path: Path) -> AsyncIterator[Calling]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}") as database:
        yield Calling(database, tmp_path)


NOWHERE = {  # number, why it is in no hour of 9 to 18
    "a mobile in Russia": ("+79161234588", "no_common_hour"),
    "toll-free in North America": ("+18002345688", "no_common_hour"),
    "toll-free in all countries": ("+80012345688", "no_zone"),
}


@pytest.mark.parametrize(("number", "reason"), NOWHERE.values(), ids=NOWHERE)
async def test_a_contact_that_can_never_be_called_is_reported_at_the_import(
    calling: Calling, number: str, reason: str
) -> None:
    tally = await calling.take_in(f"number\n{number}\n+4930901844\n")

    assert (tally.added, tally.never) == (2, {reason: 1})
    assert await calling.states() == [("excluded", reason), ("waiting", "")]
    assert "column `zone`" in cure_of(reason, SPRING)


async def test_a_zone_column_brings_an_excluded_contact_back(calling: Calling) -> None:
    await calling.take_in("number\n+79161234588\n")

    nothing = await calling.claim()
    tally = await calling.take_in("number,zone\n+79161234588,Europe/Moscow\n")
    again = await calling.take_in("number,zone\n+79161234588,Europe/Moscow\n")

    assert nothing == "finished"
    assert (tally.added, tally.updated, tally.known) == (0, 1, 0)
    assert (again.added, again.updated, again.known) == (0, 0, 1)
    assert await calling.claim() == "+79161234588"


async def test_wider_hours_bring_an_excluded_contact_back(calling: Calling) -> None:
    await calling.take_in("number\n+79161234588\n")
    await calling.claim()

    wide = replace(SPRING, window=replace(WIDE, closes_s=24 * 3600.0))
    early = NOON - 6 * 3600.0  # 06:00 UTC: 08:00 in Kaliningrad, 18:00 in Kamchatka

    assert await calling.claim(wide, now=early) == "+79161234588"


async def test_wider_hours_reach_a_contact_that_waits_for_tomorrow(calling: Calling) -> None:
    await calling.take_in("number\n+4930901844\n")
    evening = NOON + 7 * 3600.0  # 20:00 in Berlin

    closed = await calling.claim(now=evening)
    waits = await calling.states()
    still_closed = await calling.claim(now=evening + 1.0)
    open_again = await calling.claim(replace(SPRING, window=WIDE), now=evening + 2.0)

    assert (closed, still_closed) == ("window_closed", "nobody_due")
    assert waits == [("waiting", "outside_hours")]
    assert open_again == "+4930901844"
    assert await calling.states() == [("dialling", "")]


async def test_wider_hours_do_not_reach_a_contact_that_waits_for_another_reason(
    calling: Calling,
) -> None:
    await calling.take_in("number\n+4930901844\n")
    await calling.queue.move("spring", "running", now=NOON)
    rules = rules_of(SPRING, now=NOON)
    got = await calling.queue.claim("spring", rules, now_s=always(NOON), lease_s=9.0)
    assert isinstance(got, Claim)
    await calling.queue.release(got.dial, due_s=NOON + 3600.0)  # called too often today

    assert await calling.claim(replace(SPRING, window=WIDE), now=NOON + 1.0) == "nobody_due"
    assert await calling.states() == [("waiting", "")]


async def test_narrower_hours_postpone_again(calling: Calling) -> None:
    await calling.take_in("number\n+4930901844\n")
    morning = CallingWindow(opens_s=9 * 3600.0, closes_s=10 * 3600.0)

    assert await calling.claim(replace(SPRING, window=morning)) == "window_closed"


CHANGES = {
    "prefixes": ({"prefixes": ("+49",)}, "prefix_not_allowed"),
    "consent": ({"consent_required": True}, "no_consent"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
async def test_contacts_come_back_when_the_rule_that_excluded_them_is_withdrawn(
    calling: Calling, change: dict[str, Any], reason: str
) -> None:
    await calling.take_in("number\n+12125550188\n")
    strict = replace(SPRING, **change)
    afternoon = NOON + 4 * 3600.0

    assert await calling.claim(strict, now=afternoon) == "finished"
    assert await calling.states() == [("excluded", reason)]
    assert await calling.claim(now=afternoon) == "+12125550188"


async def test_a_contact_on_the_do_not_call_list_does_not_come_back(calling: Calling) -> None:
    await calling.take_in("number\n+4930901844\n")
    await calling.book.add_do_not_call("+4930901844", source="letter", now=NOON)
    await calling.claim()

    assert await calling.claim(replace(SPRING, window=WIDE)) == "finished"
    assert await calling.states() == [("excluded", "do_not_call")]


async def test_a_later_file_fills_gaps_and_replaces_nothing(calling: Calling) -> None:
    await calling.take_in("number,name,city\n+4930901844,,Bonn\n")

    filled = await calling.take_in("number,name,city,plan\n+4930901844,Eva,Ulm,gold\n")
    other = await calling.take_in("number,name\n+4930901844,Ada\n")

    (contact,) = await calling.contacts()
    assert (filled.updated, other.known) == (1, 1)
    assert contact.name == "Eva"
