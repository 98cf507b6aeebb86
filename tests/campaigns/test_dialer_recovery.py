"""Dials whose process is gone, silent, or late with its lease."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from calls.campaign_events import (
    CallOrdered,
    CampaignHeld,
    DialAsked,
    DialPlaced,
)
from calls.outbound import Claim, Dial, DialOutcome, DialResult, NextStep, NothingToDial
from campaigns.dialer import Dialer
from campaigns.store.queue import Queue
from operations.database.database import Database, StorageError
from tests.campaigns.dialing import (
    Dialing,
    Floor,
    ScriptedCarrier,
    dialing,
    left_by_another,
    now_s,
    running,
    until,
)
from tests.kit.clock import always
from tests.kit.dials import orders_of
from transports.dialling import DialRequest

pytestmark = pytest.mark.virtual_time

A, B, C, D = "+15005550101", "+15005550102", "+15005550103", "+15005550104"


async def test_a_dead_processs_dial_is_asked_about_before_any_contact_is_dialled(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, B) as it:
        left = await left_by_another(it, asked=True)
        it.carrier.calls[left.dial.id] = (now_s(), A)
        it.carrier.record.append(left.dial.id)
        it.floor.numbers[left.dial.id] = A
        async with running(it):
            await it.done()

        assert it.dialled() == [A, B]
        assert [(text.known, text.why) for text in it.of(DialAsked)] == [(True, "holder_silent")]


@dataclass
class RecallingScript(ScriptedCarrier):
    """Knows no call by our own id."""

    recalled: dict[str, str] = field(default_factory=dict)

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        self.recalled[dial_id] = provider_call_id


async def test_a_dead_processs_dial_is_looked_up_by_its_stored_id(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier = carrier = RecallingScript()
        left = await left_by_another(it, asked=True, call_ref="the-call")
        carrier.calls[left.dial.id] = (now_s(), A)
        async with running(it):
            await it.done()

        assert carrier.recalled == {left.dial.id: "the-call"}


async def test_a_server_with_other_campaigns_takes_over_no_dial(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        left = await left_by_another(it, asked=True)
        other = Queue(Database(it.url), holder="elsewhere")
        elsewhere = Dialer(
            {"another": replace(it.campaign, name="another")}, **it.parts(queue=other)
        )
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(elsewhere.run())
            await asyncio.sleep(1.0)  # it checks before our dialler does, each time
            async with running(it), asyncio.timeout(600.0):
                await it.done()
            task.cancel()
        await other.database.close()

        assert it.carrier.record == [left.dial.id]


async def test_a_dead_processs_dial_is_found_soon_although_the_clock_was_put_back(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.floor.free = 0  # our dialler dials no contact itself
        ahead_s = 3600.0
        dialer = Dialer({"c": it.campaign}, **it.parts(now_s=lambda: now_s() + ahead_s))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(dialer.run())
            await asyncio.sleep(5.0)
            ahead_s = 0.0
            await left_by_another(it, asked=False)
            await until(lambda: bool(it.of(DialAsked)), within_s=60.0)
            task.cancel()


class UnrenewingStore(Queue):
    """Cannot record that a dial goes on."""

    async def renew(self, dial: Dial, *, now_s: Callable[[], float], lease_s: float) -> bool:
        raise StorageError("the network is away")


@dataclass
class SlowAnswers(ScriptedCarrier):
    """Lets the telephone ring at once, and reports the call late."""

    async def dial(self, request: DialRequest) -> str:
        call_ref = await super().dial(request)
        await asyncio.sleep(20.0)
        return call_ref


async def rehearse_long() -> str:
    await asyncio.sleep(35.0)  # longer than a lease
    return ""


async def test_our_own_dial_with_an_expired_lease_continues_and_is_not_started_twice(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.store = UnrenewingStore(it.database, holder="me")
        it.carrier, it.rehearse = SlowAnswers(), rehearse_long
        async with running(it):
            await it.done()

        assert it.dialled() == [A]
        assert it.of(DialAsked) == []
        assert it.outcomes() == {A: "completed"}


async def test_a_dial_given_back_by_another_process_is_made_once_by_the_next(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier, it.rehearse = SlowAnswers(), rehearse_long
        other = Queue(Database(it.url), holder="another")
        async with running(it):
            await asyncio.sleep(10.0)
            (taken,) = await other.adopt_expired(["c"], now_s=always(now_s() + 60.0), lease_s=60.0)
            await asyncio.sleep(6.0)  # our own renewal notices it
            assert await other.release(taken.dial)
            await it.done()
        await other.database.close()

        assert it.dialled() == [A]


async def test_a_carrier_whose_only_dial_another_process_took_is_asked_again(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, B, concurrent=1) as it:
        other = Queue(Database(it.url), holder="another")
        async with running(it):
            await until(lambda: bool(it.of(DialPlaced)))
            it.carrier.deaf = 1000
            await until(lambda: bool(it.of(CampaignHeld)))
            (taken,) = await other.adopt_expired(["c"], now_s=always(now_s() + 60.0), lease_s=60.0)
            await asyncio.sleep(10.0)  # our own renewal notices it
            done = DialResult(outcome=DialOutcome.COMPLETED)
            await other.settle(taken.dial, done, then=NextStep(state="done"), now=now_s())
            it.carrier.deaf = 0
            async with asyncio.timeout(300.0):
                await it.done()
        await other.database.close()

        assert it.dialled() == [A, B]


class LateToAsk(ScriptedCarrier):
    """Waits before it asks whether the dial may still be placed."""

    async def dial(self, request: DialRequest) -> str:
        await request.wait(20.0)
        await request.confirm()
        return await super().dial(request)


@pytest.mark.parametrize(
    ("carrier", "stops"),
    [
        (ScriptedCarrier(answers_after_s=1000.0), False),
        (ScriptedCarrier(deaf=1), False),
        (LateToAsk(), False),
        (LateToAsk(), True),
    ],
    ids=["it rings", "it was not placed", "it may not be placed", "no call may be placed"],
)
async def test_the_order_of_a_dial_that_another_process_took_is_not_ended_here(
    tmp_path: Path, carrier: ScriptedCarrier, *, stops: bool
) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier = carrier
        other = Queue(Database(it.url), holder="another")
        async with running(it) as dialer:
            await until(lambda: bool(it.of(CallOrdered)))
            later = always(now_s() + 60.0)
            assert await other.adopt_expired(["c"], now_s=later, lease_s=600.0)
            if stops:
                it.floor.stop()
            await until(lambda: not dialer.runs)
        await other.database.close()

        assert [order.outcome for order in await orders_of(it.database)] == [""]
        assert [ordered.outcome for ordered in it.of(CallOrdered)] == ["accepted"]


@asynccontextmanager
async def relieved(it: Dialing) -> AsyncIterator[Dialer]:
    """Let another process lead, whose key for the carrier is valid."""
    store = Queue(Database(it.url), holder="another")
    carrier = ScriptedCarrier(
        calls=it.carrier.calls, record=it.carrier.record, answers_after_s=it.carrier.answers_after_s
    )
    it.floor.leads = False
    dialer = Dialer({"c": it.campaign}, **it.parts(queue=store, carrier=carrier, pool=Floor()))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dialer.run())
        try:
            yield dialer
        finally:
            task.cancel()
    await store.database.close()


class KeyRenewed(ScriptedCarrier):
    """Accepts one dial with the old key, which is invalid from then on."""

    async def dial(self, request: DialRequest) -> str:
        try:
            return await super().dial(request)
        finally:
            self.deaf = 1_000_000


@pytest.mark.parametrize("lost_answers", [0, 1], ids=["placed", "its answer was lost"])
async def test_a_replaced_process_without_an_answer_leaves_its_dial_to_the_next(
    tmp_path: Path, lost_answers: int
) -> None:
    async with dialing(tmp_path, A, B, concurrent=1) as it:
        it.carrier = KeyRenewed(answers_after_s=3.0, lost_answers=lost_answers)
        async with running(it) as old:
            await until(lambda: bool(it.carrier.record))
            async with relieved(it), asyncio.timeout(300.0):
                await it.done()

            assert not old.runs
        assert it.dialled() == [A, B]
        assert [text.why for text in it.of(DialAsked)] == ["holder_silent"]
        assert it.outcomes() == {A: "completed", B: "completed"}


async def test_a_replaced_process_continues_its_dial_after_a_lost_answer(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        async with running(it):
            await until(lambda: bool(it.of(DialPlaced)))
            it.carrier.deaf = 2
            async with relieved(it):
                await it.done()

        assert it.of(DialAsked) == []


class AwayStore(Queue):
    """A store whose database can fail and recover."""

    away = False
    away_placed = False  # only for `placed`

    async def claim(self, *args: Any, **rest: Any) -> Claim | NothingToDial:
        self._need(there=not self.away)
        return await super().claim(*args, **rest)

    async def adopt_expired(self, *args: Any, **rest: Any) -> Sequence[Claim]:
        self._need(there=not self.away)
        return await super().adopt_expired(*args, **rest)

    async def renew(self, *args: Any, **rest: Any) -> bool:
        self._need(there=not self.away)
        return await super().renew(*args, **rest)

    async def note_placed(self, *args: Any, **rest: Any) -> bool:
        self._need(there=not self.away_placed)
        return await super().note_placed(*args, **rest)

    def _need(self, *, there: bool) -> None:
        if not there:
            raise StorageError("away")


@asynccontextmanager
async def ringing_long(folder: Path) -> AsyncIterator[tuple[Dialing, AwayStore]]:
    """Open a campaign with two contacts, called one at a time, whose telephones ring for long."""
    async with dialing(folder, A, B, concurrent=1) as it:
        it.store = store = AwayStore(it.database, holder="me")
        it.carrier.answers_after_s = 100.0
        yield it, store


@pytest.mark.parametrize("away_s", [11.0, 16.0, 20.0])
async def test_after_an_outage_dials_with_expired_leases_keep_their_seats(
    tmp_path: Path, away_s: float
) -> None:
    async with ringing_long(tmp_path) as (it, store), running(it):
        await until(lambda: bool(it.of(DialPlaced)))
        store.away = True
        await asyncio.sleep(away_s)
        store.away = False
        await asyncio.sleep(30.0)

        assert it.dialled() == [A]


@pytest.mark.parametrize("before_s", [0.0, 6.0])
async def test_a_dial_interrupted_by_the_database_keeps_its_slot_until_it_is_taken_over(
    tmp_path: Path, before_s: float
) -> None:
    async with ringing_long(tmp_path) as (it, store):
        store.away_placed = True
        it.floor.free = 0
        async with running(it):
            await asyncio.sleep(before_s)  # its last search for silent dials is long ago
            it.floor.free = 4
            await until(lambda: bool(it.carrier.record))
            await asyncio.sleep(0.1)
            store.away_placed = False
            await asyncio.sleep(30.0)

        assert it.dialled() == [A]
