"""The queue of outbound calls, on a real SQLite and a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import delete, event, update

from calls.outbound import Claim, DialOutcome, DialResult, NextStep, NothingToDial
from campaigns.guard import rules_of
from campaigns.model import CallingWindow
from campaigns.store.dials import Ledger
from campaigns.store.queue import Queue
from operations.database.tables import CAMPAIGNS, CONTACTS, DIALS
from tests.campaigns.store.campaign_queue import (
    CONSENT,
    FAST,
    LEASE_S,
    NOON,
    OpenQueue,
    new_contacts,
    queues,
)
from tests.kit.clock import always
from tests.kit.databases import on_sqlite
from tests.kit.dials import dials_of

BUSY = DialResult(outcome=DialOutcome.BUSY)
AT_ANY_HOUR = CallingWindow(opens_s=0.0, closes_s=86_400.0)
DONE = DialResult(outcome=DialOutcome.COMPLETED, length_s=30.0, cost=0.5)
FINISHED = NextStep(state="done")
REST_S = 100.0


async def statements_of(store: Queue) -> Counter[str]:
    """Count a store's queries from now on."""
    asked = Counter[str]()
    engine = await store.database.engine()

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        asked[statement] += 1

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    return asked


class TestQueue:
    @pytest.fixture
    async def pair(self, url: str) -> AsyncIterator[tuple[OpenQueue, OpenQueue]]:
        async with queues(url, 2) as (one, other):
            yield one, other

    @pytest.fixture
    def queue(self, pair: tuple[OpenQueue, OpenQueue]) -> OpenQueue:
        return pair[0]

    @pytest.fixture
    def other(self, pair: tuple[OpenQueue, OpenQueue]) -> OpenQueue:
        return pair[1]

    async def test_a_claim_is_stored_before_the_carrier_is_asked(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1, name="Ada", fields={"city": "Kent"}))

        claim = await queue.take()

        assert (claim.contact.name, claim.contact.fields) == ("Ada", {"city": "Kent"})
        assert (claim.contact.consent, claim.contact.state) == (CONSENT, "dialling")
        assert (claim.dial.attempt, claim.dial.state) == (1, "intended")
        assert claim.dial.lease_until_s == NOON + LEASE_S
        assert (await other.standing()).contacts == {"dialling": 1}
        assert (await other.nothing()).reason == "nobody_due"

    async def test_a_lease_begins_once_the_wait_for_other_claims_is_over(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        rules, now = rules_of(FAST, now=NOON), NOON

        async with other.database.transaction() as connection:
            await connection.execute(update(CAMPAIGNS).values(claims=1))
            claiming = asyncio.ensure_future(
                queue.store.claim("spring", rules, now_s=lambda: now, lease_s=LEASE_S)
            )
            await asyncio.wait([claiming], timeout=0.1)
            now += 2.0
        claim = await claiming

        assert isinstance(claim, Claim)
        assert claim.dial.lease_until_s == NOON + 2.0 + LEASE_S

    async def test_the_higher_priority_is_first_then_the_longest_due(
        self, queue: OpenQueue
    ) -> None:
        first, second, third, fourth = new_contacts(4)
        rows = [
            replace(first, due_s=NOON - 1),
            replace(second, due_s=NOON - 2),
            replace(third, priority=5),
            replace(fourth, due_s=NOON + 1),
        ]
        await queue.fill(rows)

        taken = [(await queue.take()).contact.number for _ in range(3)]

        assert taken == [third.number, second.number, first.number]
        assert await queue.nothing() == NothingToDial(reason="nobody_due", again_s=NOON + 1)

    @on_sqlite
    async def test_a_rested_contact_is_dialled_again_under_a_new_id(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(1))
        first = await queue.take()
        step = NextStep(state="resting", due_s=NOON + REST_S)

        assert await queue.store.settle(first.dial, BUSY, then=step, now=NOON)

        assert (await queue.nothing()).again_s == NOON + REST_S
        again = await queue.take(now=NOON + REST_S)
        assert (again.contact.attempts, again.contact.outcome) == (1, DialOutcome.BUSY)
        assert (again.dial.attempt, again.dial.id != first.dial.id) == (2, True)

    @on_sqlite
    async def test_a_contact_after_an_erased_one_gets_a_new_dial_id(self, queue: OpenQueue) -> None:
        erased, new = new_contacts(2)
        await queue.fill([erased])
        first = await queue.take()
        assert await queue.store.settle(first.dial, DONE, then=FINISHED, now=NOON)
        async with queue.store.database.transaction() as connection:
            for table in (CONTACTS, DIALS):
                await connection.execute(delete(table))  # SQLite counts its ids from 1 again
        await queue.book.add("spring", [new], now=NOON + 1.0)

        again = await queue.take(now=NOON + 2.0)

        assert (again.contact.number, again.dial.attempt) == (new.number, 1)
        assert again.dial.id != first.dial.id

    async def test_a_dial_has_one_outcome(self, queue: OpenQueue, other: OpenQueue) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S)

        settled = [
            await other.store.settle(dial, DONE, then=FINISHED, now=NOON),
            await queue.store.settle(dial, DONE, then=FINISHED, now=NOON),
            await queue.store.settle(dial, BUSY, then=FINISHED, now=NOON),
        ]

        assert settled == [False, True, False]
        standing = await queue.standing()
        assert (standing.outcomes, standing.contacts) == ({"completed": 1}, {"done": 1})
        assert standing.cost == 0.5
        assert (await queue.nothing()).reason == "finished"

    @on_sqlite
    async def test_uncounted_dials_leave_the_attempts_unchanged(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        failed = DialResult(outcome=DialOutcome.AGENT_FAILED, reason="stage_down")

        await queue.store.settle(
            dial, failed, then=NextStep(state="resting", counted=False), now=NOON
        )

        again = (await queue.take()).contact
        assert (again.attempts, again.dials) == (0, 2)

    async def test_a_dial_with_a_silent_holder_is_taken_over_once(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        claim = await queue.take()
        await queue.store.note_placed(claim.dial, "CA1")

        assert not await other.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S - 0.1), lease_s=LEASE_S
        )
        (taken,) = await other.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )

        assert taken.contact == claim.contact
        assert (taken.dial.id, taken.dial.provider_call_id) == (claim.dial.id, "CA1")
        assert not await queue.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )
        assert not await queue.store.renew(
            claim.dial, now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )
        assert not await queue.store.settle(claim.dial, DONE, then=FINISHED, now=NOON)
        assert (
            await queue.store.confirm(claim.dial, now_s=always(NOON), lease_s=LEASE_S)
            == "lease_lost"
        )
        assert await other.store.settle(taken.dial, DONE, then=FINISHED, now=NOON)

    @on_sqlite
    async def test_a_dial_whose_contact_was_erased_does_not_block_other_takeovers(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(2))
        erased, kept = await queue.take(), await queue.take()
        async with other.store.database.transaction() as connection:
            await connection.execute(delete(CONTACTS).where(CONTACTS.c.id == erased.contact.id))
        assert await Ledger(other.database).find(erased.dial.id) is None

        (taken,) = await other.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )

        assert taken.dial.id == kept.dial.id
        assert [dial.id for dial in await dials_of(other.database, "spring")] == [kept.dial.id]

    @on_sqlite
    async def test_a_call_that_renews_keeps_its_dial(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial

        for step in range(1, 5):
            assert await queue.store.renew(dial, now_s=always(NOON + 5.0 * step), lease_s=LEASE_S)
            assert not await other.store.adopt_expired(
                ["spring"], now_s=always(NOON + 5.0 * step + 5.0), lease_s=LEASE_S
            )

    @on_sqlite
    @pytest.mark.parametrize("later_s", [LEASE_S, 120.0])  # a frozen machine; a clock that is ahead
    async def test_a_silent_machines_calls_count_until_they_have_an_outcome(
        self, queue: OpenQueue, other: OpenQueue, later_s: float
    ) -> None:
        narrow, later = replace(FAST, concurrent=2), NOON + later_s
        await queue.fill(new_contacts(4))
        for dial in [(await queue.take(narrow)).dial for _ in range(2)]:
            await queue.store.note_placed(dial, "CA1")

        assert (await other.standing()).calls_now == 2
        assert (await other.nothing(narrow, now=later)).reason == "concurrent"
        taken, _ = await other.store.adopt_expired(["spring"], now_s=always(later), lease_s=LEASE_S)
        assert (await other.nothing(narrow, now=later)).reason == "concurrent"
        assert await other.store.settle(taken.dial, DONE, then=FINISHED, now=later)
        assert await other.take(narrow, now=later)
        assert (await other.nothing(narrow, now=later)).reason == "concurrent"

    @pytest.mark.parametrize("by_its_former_holder", [False, True])
    async def test_a_returned_dial_keeps_its_id_and_an_earlier_claim_cannot_change_it(
        self, queue: OpenQueue, other: OpenQueue, *, by_its_former_holder: bool
    ) -> None:
        await queue.fill(new_contacts(1))
        lost = await queue.take()
        (taken,) = await other.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )

        assert not await queue.store.release(lost.dial)
        assert await other.store.release(taken.dial)

        then = queue if by_its_former_holder else other
        again = await then.take(now=NOON + LEASE_S)
        assert (again.dial.id, again.dial.attempt) == (lost.dial.id, 1)
        late = {"now_s": always(NOON + 7), "lease_s": LEASE_S}
        assert await queue.store.confirm(lost.dial, **late) == "lease_lost"
        assert not await queue.store.renew(lost.dial, **late)
        assert not await queue.store.release(lost.dial)
        assert not await queue.store.note_placed(lost.dial, "CA1")
        assert await then.store.confirm(again.dial, **late) == ""

    @on_sqlite
    async def test_a_dial_is_left_to_processes_that_have_its_campaign(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        later = NOON + LEASE_S

        assert not await other.store.adopt_expired(["autumn"], now_s=always(later), lease_s=LEASE_S)

        assert await queue.store.renew(dial, now_s=always(later), lease_s=LEASE_S)

    @on_sqlite
    async def test_a_dial_that_a_carrier_has_accepted_is_not_returned(
        self, queue: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        await queue.store.note_placed(dial, "CA1")

        assert not await queue.store.release(dial)

    async def test_an_answer_that_overtakes_the_carriers_id_is_kept(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial

        await queue.store.note_answered(dial, now=NOON + 1)
        await queue.store.note_placed(dial, "CA1")

        (kept,) = await queue.store.adopt_expired(
            ["spring"], now_s=always(NOON + LEASE_S), lease_s=LEASE_S
        )
        assert (kept.dial.state, kept.dial.answered_s) == ("answered", NOON + 1)
        assert kept.dial.provider_call_id == "CA1"

    async def test_a_contact_listed_while_claimed_is_not_dialled(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        assert await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S) == ""

        assert await other.book.add_do_not_call(dial.number, source="voice", now=NOON)

        assert await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S) == "do_not_call"
        standing = await queue.standing()
        assert (standing.contacts, standing.outcomes) == ({"excluded": 1}, {"refused": 1})

        assert await other.book.remove_do_not_call("0301234567", dial_id=dial.id) == 1

        assert (await queue.standing()).contacts == {"waiting": 1}
        assert (await queue.take()).dial.number == dial.number

    @on_sqlite
    async def test_a_contact_who_opts_out_in_the_call_is_not_called_again(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        dial = (await queue.take()).dial
        await other.book.add_do_not_call(dial.number, source="voice", now=NOON)

        await queue.store.settle(dial, BUSY, then=NextStep(state="resting"), now=NOON)

        assert (await queue.standing()).contacts == {"excluded": 1}
        assert (await queue.nothing()).reason == "finished"

    @on_sqlite
    async def test_a_listed_contact_is_claimed_in_no_campaign(self, queue: OpenQueue) -> None:
        first, second = new_contacts(2)
        await queue.fill([first, second])
        await queue.fill([first], campaign="autumn")

        assert await queue.book.add_do_not_call(first.number, source="letter", now=NOON)
        assert not await queue.book.add_do_not_call(first.number, source="letter", now=NOON)

        assert (await queue.take()).contact.number == second.number
        assert (await queue.nothing(replace(FAST, name="autumn"))).reason == "finished"
        assert await queue.book.do_not_call([first.number, second.number]) == {first.number}

    @on_sqlite
    async def test_a_stopped_campaign_dials_no_contact(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(2))
        dial = (await queue.take()).dial

        assert await queue.store.move("spring", "paused", reason="own_breaker", now=NOON)

        assert await queue.store.confirm(dial, now_s=always(NOON), lease_s=LEASE_S) == "not_running"
        assert (await queue.nothing()).reason == "not_running"
        standing = await queue.standing()
        assert (standing.contacts, standing.reason) == ({"waiting": 2}, "own_breaker")
        assert not await queue.store.move("unknown", "running", now=NOON)

    async def test_a_campaign_is_done_when_it_runs_and_has_no_contact_left(
        self, queue: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        await queue.fill(new_contacts(1), campaign="autumn")
        dial = (await queue.take()).dial

        assert not await queue.store.finish("spring", now=NOON)  # a contact is being called
        await queue.store.settle(dial, DONE, then=FINISHED, now=NOON)
        await queue.store.move("spring", "paused", now=NOON)
        assert not await queue.store.finish("spring", now=NOON)  # an operator's action stands

        await queue.store.move("spring", "running", now=NOON)
        assert await queue.store.finish("spring", now=NOON)
        assert not await queue.store.finish("autumn", now=NOON)

    @on_sqlite
    async def test_a_contact_outside_the_hours_is_due_when_they_open(
        self, queue: OpenQueue
    ) -> None:
        here, abroad, nowhere = new_contacts(3)
        rows = [
            replace(abroad, zones=("America/New_York",), priority=9),  # 7 o'clock in the morning
            replace(nowhere, zones=("Etc/Unknown",), priority=5),
            here,
        ]
        await queue.fill(rows)

        assert (await queue.take()).contact.number == here.number
        assert await queue.nothing() == NothingToDial(reason="nobody_due", again_s=NOON + 3600)
        assert (await queue.take(now=NOON + 3600)).contact.number == abroad.number
        assert (await queue.standing()).contacts == {"dialling": 2, "excluded": 1}

    async def test_many_outside_their_hours_do_not_delay_one_inside(self, queue: OpenQueue) -> None:
        late = new_contacts(120, zones=("Asia/Tokyo",), priority=1)
        inside = replace(late[0], number="+442079460000", zones=("Europe/London",), priority=0)
        await queue.fill([*late, inside])

        assert (await queue.take()).contact.number == inside.number
        assert (await queue.nothing()).reason == "nobody_due"

    @on_sqlite
    async def test_a_contact_being_called_by_one_campaign_is_called_by_no_other_meanwhile(
        self, queue: OpenQueue, other: OpenQueue
    ) -> None:
        autumn = replace(FAST, name="autumn")
        both, alone = new_contacts(2)
        await queue.fill([both])
        await queue.fill([both, alone], campaign="autumn")
        dial = (await queue.take()).dial

        assert (await other.take(autumn)).contact.number == alone.number
        waits = await other.nothing(autumn)

        assert waits == NothingToDial(reason="nobody_due", again_s=NOON + 10)
        # Also while its lease is not renewed: the telephone rings anyway.
        assert await other.nothing(autumn, now=NOON + 10)
        await queue.store.settle(dial, BUSY, then=FINISHED, now=NOON + 20)
        assert (await other.take(autumn, now=NOON + 20)).contact.number == both.number

    @on_sqlite
    async def test_a_dial_that_is_never_settled_blocks_its_number_for_two_hours(
        self, queue: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(1))
        await queue.fill(new_contacts(1), campaign="autumn")
        await queue.take()

        later = NOON + 2 * 3600
        assert await queue.nothing(replace(FAST, name="autumn"), now=later - 1)
        assert await queue.take(replace(FAST, name="autumn"), now=later + 9)

    async def test_a_claim_needs_few_queries_however_many_contacts_wait(
        self, queue: OpenQueue
    ) -> None:
        here = new_contacts(400)
        asleep = [
            replace(
                new_contact,
                number=f"+81{new_contact.number[2:]}",
                zones=("Asia/Tokyo",),
                priority=1,
            )
            for new_contact in here
        ]
        await queue.fill(here)
        asked = await statements_of(queue.store)
        await queue.take()  # the first claim applies the rules
        asked.clear()

        await queue.take()
        ordinary = asked.total()
        await queue.book.add("spring", asleep, now=NOON)
        asked.clear()
        await queue.take()

        assert ordinary <= 10
        assert asked.total() <= 30  # not one or two for each contact that waits

    async def test_a_day_has_its_limits_of_calls_and_money(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(5))
        few = replace(FAST, daily_calls=2)
        cheap = replace(FAST, daily_spend=0.5)
        midnight = NOON + 12 * 3600

        given_back = await queue.take(few)
        await queue.store.release(given_back.dial)
        first = await queue.take(few)
        await queue.take(few)

        assert await queue.nothing(few) == NothingToDial(reason="daily_calls", again_s=midnight)
        await queue.store.settle(first.dial, DONE, then=FINISHED, now=NOON)
        assert (await queue.nothing(cheap)).reason == "daily_spend"
        tomorrow = midnight + 9 * 3600
        assert await queue.take(replace(few, daily_spend=0.5), now=tomorrow)

    @on_sqlite
    async def test_a_call_over_midnight_counts_towards_the_day_on_which_it_began(
        self, queue: OpenQueue
    ) -> None:
        await queue.fill(new_contacts(3))
        cheap, midnight = replace(FAST, daily_spend=0.5, window=AT_ANY_HOUR), NOON + 12 * 3600
        late = await queue.take(cheap, now=midnight - 60)
        await queue.take(cheap, now=midnight + 60)

        await queue.store.settle(late.dial, DONE, then=FINISHED, now=midnight + 120)

        assert (await queue.standing()).day_spent == 0.0
        assert await queue.take(cheap, now=midnight + 180)

    @on_sqlite
    async def test_a_clock_put_back_does_not_make_contacts_wait_as_long(
        self, queue: OpenQueue
    ) -> None:
        slow = replace(FAST, dials_per_minute=6.0)
        await queue.fill(new_contacts(2))
        await queue.take(slow)

        waits = await queue.nothing(slow, now=NOON - 3600)

        assert waits == NothingToDial(reason="pace", again_s=NOON - 3590)
        assert await queue.take(slow, now=NOON - 3590)

    @on_sqlite
    async def test_all_processes_share_one_pace(self, queue: OpenQueue, other: OpenQueue) -> None:
        slow = replace(FAST, dials_per_minute=6)
        await queue.fill(new_contacts(4))

        await queue.take(slow)

        assert await other.nothing(slow, now=NOON + 4) == NothingToDial(
            reason="pace", again_s=NOON + 10
        )
        await other.take(slow, now=NOON + 10)
        assert (await queue.nothing(slow, now=NOON + 10)).reason == "pace"

    async def test_a_contact_is_imported_once(self, queue: OpenQueue) -> None:
        first, second, barred = new_contacts(3)
        await queue.book.add_do_not_call(barred.number, source="list", now=NOON)

        one = await queue.book.add("spring", [first, first, barred], now=NOON)
        same = await queue.book.add("spring", [first], now=NOON)
        again = await queue.book.add("spring", [first, second], now=NOON + 1)

        assert one == ["added", "duplicate", "do_not_call"]
        assert (same, again) == (["duplicate"], ["known", "added"])
        assert (await queue.standing()).contacts == {"waiting": 2}

    async def test_simultaneous_claims_never_take_one_twice_nor_exceed_the_room(
        self, url: str
    ) -> None:
        narrow = replace(FAST, concurrent=30)
        async with queues(url, 4) as several:
            await several[0].fill(new_contacts(50))

            async def claim_ten(queue: OpenQueue) -> list[Claim | NothingToDial]:
                return [await queue.claim(narrow) for _ in range(10)]

            found = await asyncio.gather(*(claim_ten(item) for item in several))

        taken = [item for row in found for item in row if isinstance(item, Claim)]
        assert len({item.contact.id for item in taken}) == len(taken) == 30

    async def test_dead_processes_dials_are_distributed_once(self, url: str) -> None:
        async with queues(url, 4) as several:
            await several[0].fill(new_contacts(20))
            for _ in range(20):
                await several[0].take()

            found = await asyncio.gather(
                *(
                    item.store.adopt_expired(["spring"], now_s=always(NOON + 60), lease_s=LEASE_S)
                    for item in several
                )
            )

        taken = [claim.dial.id for row in found for claim in row]
        assert len(set(taken)) == len(taken) == 20

    @on_sqlite
    async def test_the_next_in_turn_is_found_by_the_index(self, queue: OpenQueue, url: str) -> None:
        import sqlite3  # noqa: PLC0415 - only for the query plan

        await queue.fill(new_contacts(3))

        with sqlite3.connect(url.partition(":///")[2]) as connection:
            plan = connection.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM contacts WHERE campaign = 'spring' AND "
                "state = 'waiting' AND due_s <= 9e9 ORDER BY priority DESC, due_s, id LIMIT 50"
            ).fetchall()

        assert "contacts_in_turn" in str(plan)
        assert "TEMP B-TREE" not in str(plan)
