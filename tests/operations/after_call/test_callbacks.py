"""Requested callbacks become contacts of a campaign, for the requested time if it is known."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from calls.events import CallbackWanted
from calls.operations_events import CallbackQueued, DoNotCallWanted
from campaigns.store.contacts import SETTLED_S, UNSEEN_S, WITHIN_S, Contacts
from operations.after_call.outcome_rules import CallResult
from operations.database.database import Database
from operations.database.tables import CALLS
from operations.record.callbacks import Callback, Callbacks
from tests.campaigns.store.test_contacts_callbacks import claim
from tests.kit.dials import dials_of
from tests.operations.after_call.bench import (
    BEGIN_S,
    GOOD,
    NUMBER,
    Bench,
    pen_of,
    simulated_model,
    url_of,
    utc_s,
)
from tests.operations.after_call.test_work import TOMORROW_S, WORDS, told_of, working
from tests.operations.postmortem.rows import call_values

pytestmark = pytest.mark.virtual_time

DAY_S = 86_400.0


async def write_end(url: str, call_id: str) -> None:
    """Record a call that has just ended."""
    database, ended = Database(url), datetime.fromtimestamp(utc_s(), UTC)
    values = call_values(call_id, 0, started_at=ended, ended_at=ended, seen_at=ended)
    async with (await database.engine()).begin() as connection:
        await connection.execute(insert(CALLS), [values])
    await database.close()


def queued(bench: Bench) -> list[CallbackQueued]:
    return [event for event in bench.told if isinstance(event, CallbackQueued)]


async def test_the_model_finds_the_time_and_the_campaign_calls_then(tmp_path: Path) -> None:
    async with simulated_model() as model:
        bench = Bench(url_of(tmp_path), pen=pen_of(model), campaign="back")
        async with working(bench):
            await bench.call(CallbackWanted(turn=1, when="tomorrow", reason="a date"), words=WORDS)
            await told_of(bench)
            (told,) = queued(bench)

    assert (told.outcome, told.campaign, told.call_id) == ("added", "back", "c1")
    assert await claim(bench.url, TOMORROW_S - 1.0) is None
    contact = await claim(bench.url, TOMORROW_S)
    assert contact is not None
    assert (contact.number, contact.zones) == (NUMBER, ("America/New_York",))
    assert contact.consent is not None
    assert (contact.consent.kind, contact.consent.source) == ("callback", "call c1")


@pytest.mark.parametrize(
    ("when", "due_s"),
    [
        ("", 0.0),
        ("when the children are asleep", DAY_S),
        ("2026-11-21T17:00:00Z", 3600.0),
    ],
    ids=["no time", "an unintelligible time", "a moment"],
)
async def test_without_a_model_the_callers_words_are_the_time(
    tmp_path: Path, when: str, due_s: float
) -> None:
    bench = Bench(url_of(tmp_path), campaign="back")
    async with working(bench):
        await bench.call(CallbackWanted(turn=1, when=when, reason="a date"), words=WORDS)
        await told_of(bench)

    assert await claim(bench.url, BEGIN_S + due_s - 1.0) is None
    assert await claim(bench.url, BEGIN_S + due_s + 1.0) is not None


async def test_a_caller_who_opted_out_is_not_called_back(tmp_path: Path) -> None:
    bench = Bench(url_of(tmp_path), campaign="back")
    book = Contacts(Database(bench.url))
    await book.add_do_not_call(NUMBER, source="voice: words", now=utc_s())
    await book.database.close()
    async with working(bench):
        wanted = CallbackWanted(turn=1, when="", reason="")
        await bench.call(wanted, DoNotCallWanted(turn=1, by="words"), words=WORDS)
        await told_of(bench)

    assert [callback_queued.outcome for callback_queued in queued(bench)] == ["do_not_call"]
    assert await claim(bench.url, BEGIN_S + DAY_S) is None


@pytest.mark.parametrize("number", ["anonymous", "sip:ada@example.com", "+19005550142"])
async def test_a_number_that_may_not_be_called_is_given_up(tmp_path: Path, number: str) -> None:
    bench = Bench(url_of(tmp_path), campaign="back")
    at = datetime.fromtimestamp(BEGIN_S, UTC)
    database = Database(bench.url)
    await Callbacks(database).add(Callback(call_id="c9", number=number, reason="r", asked_at=at))

    for _ in range(2):
        for contact in await bench.contacts.left_callbacks(now=BEGIN_S + UNSEEN_S + 1.0):
            await bench.queue.queue_callback(contact.call_id, contact.number, contact.asked_s)
    await database.close()
    await bench.close()

    assert [callback_queued.outcome for callback_queued in queued(bench)] == ["no_number"]


async def test_a_killed_processs_callbacks_reach_the_campaign(tmp_path: Path) -> None:
    bench = Bench(url_of(tmp_path), campaign="back")
    asked_s = BEGIN_S - UNSEEN_S - 60.0
    wish = Callback(
        call_id="c9",
        number=NUMBER,
        reason="billing; when: some day",
        asked_at=datetime.fromtimestamp(asked_s, UTC),
    )
    database = Database(bench.url)
    await Callbacks(database).add(wish)

    for _ in range(2):
        await bench.queue.queue_left()
    await database.close()
    await bench.close()

    assert [callback_queued.outcome for callback_queued in queued(bench)] == ["added"]
    assert await claim(bench.url, asked_s + DAY_S - 1.0) is None
    assert await claim(bench.url, asked_s + DAY_S) is not None


async def test_the_next_process_does_not_call_back_a_caller_who_opted_out(
    tmp_path: Path,
) -> None:
    bench = Bench(url_of(tmp_path), campaign="back")
    at = datetime.fromtimestamp(BEGIN_S - UNSEEN_S - 60.0, UTC)
    database = Database(bench.url)
    await Callbacks(database).add(Callback(call_id="c9", number=NUMBER, reason="r", asked_at=at))
    said = CallResult(call_id="c9", number=NUMBER, outcome="do_not_call", made_by="model")
    await bench.results.put(said)  # and then the process is killed

    for _ in range(2):
        await bench.queue.queue_left()
    await database.close()
    await bench.close()

    assert [callback_queued.outcome for callback_queued in queued(bench)] == ["do_not_call"]
    assert await claim(bench.url, BEGIN_S + DAY_S) is None


async def test_a_callback_is_not_delayed_while_a_model_is_asked_for_its_time(
    tmp_path: Path,
) -> None:
    async with simulated_model() as model:
        model.after_s = 8.0
        bench = Bench(
            url_of(tmp_path), pen=pen_of(model), campaign="back", within_s=600.0, at_once=1
        )
        await write_end(bench.url, "c1")
        database, asked_at = Database(bench.url), datetime.fromtimestamp(BEGIN_S, UTC)
        asked = Callback(call_id="c1", number=NUMBER, reason="r", asked_at=asked_at)
        await Callbacks(database).add(asked)
        async with working(bench), asyncio.timeout(600.0):
            for index in range(20):  # calls that ended before, and are asked about first
                await bench.call(call_id=f"before-{index}", words=WORDS)
            await bench.call(CallbackWanted(turn=1, when="", reason="r"), words=WORDS)
            while not queued(bench):
                await asyncio.sleep(20.0)
                await bench.queue.queue_left()
        answered_s = utc_s() - BEGIN_S
        await database.close()

    assert answered_s > WITHIN_S + SETTLED_S
    assert await claim(bench.url, TOMORROW_S - 1.0) is None
    assert await claim(bench.url, TOMORROW_S) is not None


async def test_a_model_that_says_do_not_call_prevents_the_callback(tmp_path: Path) -> None:
    async with simulated_model() as model:
        model.answers = [json.dumps(GOOD | {"outcome": "do_not_call", "callback_at": None})]
        bench = Bench(url_of(tmp_path), pen=pen_of(model), campaign="back")
        async with working(bench):
            await bench.call(CallbackWanted(turn=1, when="", reason=""), words=WORDS)
            await told_of(bench)
    assert not await dials_of(bench.url, "back")

    assert [callback_queued.outcome for callback_queued in queued(bench)] == ["do_not_call"]
    assert await claim(bench.url, BEGIN_S + DAY_S) is None
