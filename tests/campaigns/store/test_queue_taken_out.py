"""A contact that an operator takes out of a campaign is never dialled again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from calls.outbound import CallConsent, DialOutcome, DialResult, NextStep
from campaigns.store.contacts import NewContact
from campaigns.store.queue import take_out
from tests.campaigns.store.campaign_queue import (
    LEASE_S,
    NOON,
    OpenQueue,
    caller_number,
    new_contacts,
    queues,
)
from tests.kit.clock import always
from tests.kit.databases import on_sqlite

LATER = NOON + 86_400.0
ANN = caller_number(0)


@pytest.fixture
async def queue(url: str) -> AsyncIterator[OpenQueue]:
    async with queues(url, 1) as (only,):
        await only.fill(new_contacts(1))
        yield only


async def take_ann_out(queue: OpenQueue) -> None:
    assert await take_out(queue.database, "spring", [ANN]) == [ANN]


async def contact_of(queue: OpenQueue) -> tuple[str, str]:
    (contact,) = [item async for item in queue.figures.contacts("spring")]
    return contact.state, contact.reason


ENDS: dict[str, tuple[DialOutcome, NextStep, str]] = {
    "busy, to be dialled again": (DialOutcome.BUSY, NextStep(state="resting"), "excluded"),
    "skipped": (DialOutcome.AGENT_FAILED, NextStep(state="waiting", skipped=True), "excluded"),
    "completed": (DialOutcome.COMPLETED, NextStep(state="done"), "done"),
}


@on_sqlite
@pytest.mark.parametrize(("outcome", "then", "state"), ENDS.values(), ids=ENDS)
async def test_a_dial_under_way_goes_on_and_is_the_last(
    queue: OpenQueue, outcome: DialOutcome, then: NextStep, state: str
) -> None:
    dial = (await queue.take()).dial
    await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S)
    await queue.store.note_placed(dial, "CA1")

    await take_ann_out(queue)
    assert await queue.store.note_answered(dial, now=NOON)
    assert await queue.store.renew(dial, now_s=always(NOON), lease_s=LEASE_S)
    assert await queue.store.settle(dial, DialResult(outcome=outcome), then=then, now=NOON)

    assert (await contact_of(queue))[0] == state
    await queue.nothing(now=LATER)


async def test_a_claimed_contact_is_not_dialled(queue: OpenQueue) -> None:
    dial = (await queue.take()).dial
    await take_ann_out(queue)

    assert await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S) == "taken_out"
    assert await contact_of(queue) == ("excluded", "taken_out")
    assert (await queue.standing()).calls_now == 0


@on_sqlite
async def test_a_released_dial_does_not_bring_it_back(queue: OpenQueue) -> None:
    dial = (await queue.take()).dial
    await take_ann_out(queue)
    await queue.store.release(dial, due_s=NOON + 1.0, reason="outside_hours")

    assert await contact_of(queue) == ("excluded", "taken_out")


async def changed_rules(queue: OpenQueue) -> None:
    await queue.nothing(now=NOON)


async def second_import(queue: OpenQueue) -> None:
    await queue.book.add("spring", new_contacts(1, name="Ann"), now=LATER)


async def off_the_list(queue: OpenQueue) -> None:
    await queue.book.add_do_not_call(ANN, source="x", now=NOON)
    await queue.book.remove_do_not_call(ANN)


BACK = {
    "another claim": changed_rules,
    "a second import": second_import,
    "its number leaves the do-not-call list": off_the_list,
}


@on_sqlite
@pytest.mark.parametrize("happens", BACK.values(), ids=BACK)
async def test_nothing_brings_a_contact_back(queue: OpenQueue, happens: Any) -> None:
    await take_ann_out(queue)
    await happens(queue)

    assert await contact_of(queue) == ("excluded", "taken_out")
    await queue.nothing(now=LATER)


@on_sqlite
async def test_a_contact_that_was_listed_stays_out_when_it_leaves_the_list(
    queue: OpenQueue,
) -> None:
    await queue.book.add_do_not_call(ANN, source="x", now=NOON)
    await take_ann_out(queue)
    await queue.book.remove_do_not_call(ANN)

    assert await contact_of(queue) == ("excluded", "taken_out")


@on_sqlite
async def test_a_callback_that_the_person_asks_for_later_is_made(queue: OpenQueue) -> None:
    await take_ann_out(queue)
    consent = CallConsent(kind="callback", given_on="2027-01-15", source="call c1")
    wanted = NewContact(number=ANN, zones=("Europe/London",), consent=consent, due_s=NOON)

    assert await queue.book.queue_callback("c1", "spring", wanted, now=NOON) == "moved"
    assert (await queue.take(now=NOON + 1.0)).dial.number == ANN


async def test_only_one_contact_is_taken_out_and_a_stranger_none(queue: OpenQueue) -> None:
    await queue.fill(new_contacts(2))
    both = [ANN, caller_number(1)]

    assert sorted(await take_out(queue.database, "spring", both)) == both
    assert await take_out(queue.database, "spring", ["+15550000000"]) == []
    assert await take_out(queue.database, "summer", [ANN]) == []
    assert (await queue.standing()).contacts == {"waiting": 2}
