"""The inbox: two tables in one list, closing and reopening, and one notice for each entry."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from operations.database.database import Database
from operations.database.tables import CALLBACK_CONTACTS, CALLBACKS, CALLS, VOICEMAILS
from operations.inbox.store import Inbox, InboxKind, close_entries, list_entries
from operations.record.callbacks import Callback, Callbacks
from tests.kit.databases import on_sqlite

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARY, BOB = "+15551230101", "+15551230102"


def call(call_id: str, **more: Any) -> dict[str, Any]:
    texts = dict.fromkeys(
        ("holder", "transport", "direction", "called", "provider_call_id", "reason", "outcome"), ""
    )
    numbers = dict.fromkeys(("turns", "failovers", "failures"), 0)
    rest = {"caller": MARY, "currency": "", "recording": "", "seen_at": NOON, "started_at": NOON}
    return {"id": call_id, "agent": "desk", "state": "ended", **texts, **numbers, **rest, **more}


def message(call_id: str, *, at: datetime, **more: Any) -> dict[str, Any]:
    row = {"path": f"/m/{call_id}.wav", "length_s": 7.5, "transcript": "Please call.", "at": at}
    return {"call_id": call_id, "number": BOB, **row, **more}


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database(url) as database:
        await Callbacks(database).add(
            Callback(call_id="c1", number=MARY, reason="a new contract", asked_at=NOON)
        )
        async with database.transaction() as connection:
            later = NOON + timedelta(minutes=5)
            await connection.execute(insert(VOICEMAILS), [message("c2", at=later)])
            await connection.execute(insert(CALLS), [call("c1")])
        yield database


def ids(entries: Sequence[Any]) -> list[str]:
    return [entry.call_id for entry in entries]


async def test_callbacks_and_messages_are_in_one_list_newest_first(
    database: Database,
) -> None:
    entries = await Inbox(database).entries()

    told = [(entry.kind, entry.agent, entry.number, entry.text) for entry in entries]
    assert told == [
        ("message", "", BOB, "Please call."),
        ("callback", "desk", MARY, "a new contract"),
    ]
    assert [(entry.length_s, entry.path) for entry in entries] == [(7.5, "/m/c2.wav"), (None, "")]
    assert ids(await Inbox(database).entries(limit=1)) == ["c2"]
    assert ids(await Inbox(database).entries(before=entries[0].at)) == ["c1"]


async def test_pages_lose_no_entry_of_the_same_moment(database: Database) -> None:
    inbox, found = Inbox(database), list[str]()
    async with database.transaction() as connection:
        same = [message(name, at=NOON) for name in ("c3", "c4", "c1")]
        await connection.execute(insert(VOICEMAILS), same)

    before = None
    while page := await inbox.entries(limit=2, before=before):
        found, before = [*found, *ids(page)], page[-1].at

    assert sorted(found) == ["c1", "c1", "c2", "c3", "c4"]
    assert len(await inbox.untold(now=NOON + timedelta(hours=1), limit=1)) == 1


@pytest.mark.parametrize(("kind", "call_id"), [("callback", "c1"), ("message", "c2")])
async def test_an_entry_is_closed_once_and_can_be_reopened(
    database: Database, kind: InboxKind, call_id: str
) -> None:
    inbox = Inbox(database)

    assert await inbox.mark(kind, call_id, done_at=NOON)
    assert not await inbox.mark(kind, call_id, done_at=NOON)
    assert call_id not in ids(await inbox.entries())
    assert ids(await inbox.entries(done=True)) == [call_id]
    assert await inbox.waiting() == 1
    assert await inbox.mark(kind, call_id, done_at=None)
    assert not await inbox.mark(kind, "none", done_at=NOON)
    assert await inbox.waiting() == 2


@on_sqlite
async def test_a_callback_that_a_campaign_makes_names_it(database: Database) -> None:
    given = {"call_id": "c1", "number": MARY, "campaign": "back", "outcome": "added"}
    async with database.transaction() as connection:
        contact = {**given, "contact_id": 1, "due_s": 0.0, "made_s": 0.0}
        await connection.execute(insert(CALLBACK_CONTACTS), [contact])

    entry = await Inbox(database).entry("callback", "c1")

    assert entry is not None
    assert entry.campaign == "back"


UNTOLD_CASES = {
    "soon": (timedelta(seconds=5), "ended", False),  # the caller may still add to it
    "settled": (timedelta(seconds=60), "ended", True),
    "in_a_call": (timedelta(seconds=60), "live", False),
    "old": (timedelta(hours=25), "ended", False),
}


@on_sqlite
@pytest.mark.parametrize("name", UNTOLD_CASES)
async def test_a_notice_is_due_after_the_call_has_ended_and_while_it_is_recent(
    database: Database, name: str
) -> None:
    age, state, due = UNTOLD_CASES[name]
    now = NOON + timedelta(days=30)
    async with database.transaction() as connection:
        await connection.execute(insert(CALLS), [call("c3", state=state)])
        await connection.execute(insert(VOICEMAILS), [message("c3", at=now - age)])

    assert ids(await Inbox(database).untold(now=now, limit=9)) == (["c3"] if due else [])


async def test_a_notice_is_sent_once_and_again_if_the_caller_asks_again(
    database: Database,
) -> None:
    inbox, now = Inbox(database), NOON + timedelta(hours=1)
    for entry in await inbox.untold(now=now, limit=9):
        await inbox.mark_told(entry, at=now)

    assert await inbox.untold(now=now, limit=9) == []
    again = Callback(call_id="c1", number=MARY, reason="it is urgent", asked_at=NOON)
    await Callbacks(database).add(again)
    assert ids(await inbox.untold(now=now, limit=9)) == ["c1"]


@on_sqlite
async def test_lines_mask_numbers_unless_they_are_asked_for(
    database: Database,
    url: str,
) -> None:
    (first, _) = await list_entries(url, done=False, numbers=False)
    (whole, _) = await list_entries(url, done=False, numbers=True)
    closed = await close_entries(url, "c2", done_at=NOON)

    assert BOB not in first
    assert BOB in whole
    assert closed == ["the message of call c2 is done"]
    assert await close_entries(url, "c2", done_at=NOON) == []
    async with database.transaction() as connection:
        assert (await connection.execute(CALLBACKS.select())).rowcount != 0
