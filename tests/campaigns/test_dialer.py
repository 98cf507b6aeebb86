"""The dialer: whom it dials, what it does about the unknown, and when it waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from calls.campaign_events import (
    CampaignHeld,
    CampaignPaused,
    CampaignResumed,
    ContactSkipped,
    DialAsked,
    DialEnded,
    DialPlaced,
)
from calls.outbound import Claim, DialOutcome
from campaigns.dialer import Dialer
from tests.campaigns.dialing import Dialing, dialing, now_s

pytestmark = pytest.mark.virtual_time

A, B, C, D = "+15005550101", "+15005550102", "+15005550103", "+15005550104"


@asynccontextmanager
async def running(it: Dialing) -> AsyncIterator[Dialer]:
    dialer = it.dialer()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dialer.run())
        try:
            yield dialer
        finally:
            task.cancel()


async def until(holds: Callable[[], bool], *, within_s: float = 1000.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - a stand-in tells nobody
            await asyncio.sleep(0.5)


async def test_each_contact_is_dialled_and_has_one_outcome() -> None:
    it = dialing(A, B, C, attempts=1)
    it.carrier.fates = {B: DialOutcome.BUSY, C: DialOutcome.VOICEMAIL}

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.outcomes() == {A: "completed", B: "busy", C: "voicemail"}
    assert sorted(it.carrier.record) == ["1-1", "2-1", "3-1"]
    assert {each.dial_id for each in it.of(DialEnded)} == set(it.carrier.record)


async def test_who_was_busy_is_dialled_again_later() -> None:
    it = dialing(A)
    it.carrier.fates = {A: DialOutcome.BUSY}

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.carrier.record == ["1-1", "1-2", "1-3"]


async def test_a_call_that_failed_for_our_reasons_does_not_count() -> None:
    it = dialing(A, attempts=1)
    it.floor.failing = {A: "tts_out"}

    async with running(it):
        await until(lambda: bool(it.of(DialEnded)))
        it.floor.failing = {}
        await until(lambda: it.queue.state == "done")

    first, second = it.of(DialEnded)
    assert (first.outcome, first.reason, first.counted) == ("agent_failed", "tts_out", False)
    assert (second.outcome, second.counted) == ("completed", True)


async def test_a_lost_answer_is_asked_about_and_nobody_is_dialled_twice() -> None:
    it = dialing(A)
    it.carrier.lost_answers = 1

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.carrier.record == ["1-1"]
    assert it.of(DialAsked) == [
        DialAsked(campaign="c", dial_id="1-1", known=True, why="answer_lost")
    ]
    assert it.outcomes() == {A: "completed"}


async def test_a_dial_that_the_carrier_never_had_is_made_anew_under_the_same_id() -> None:
    it = dialing(A)
    it.carrier.deaf = 1

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.carrier.record == ["1-1"]
    assert it.of(DialAsked)[0].known is False


async def test_a_dead_process_s_dial_is_asked_about_before_anybody_is_dialled() -> None:
    it = dialing(A, B)
    claimed = await it.queue.claim("c", None, now=0.0, lease_s=1.0)
    assert isinstance(claimed, Claim)
    it.queue.orphans = [claimed]
    it.carrier.calls[claimed.dial.id] = (0.0, A)
    it.carrier.record.append(claimed.dial.id)

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.carrier.record == ["1-1", "2-1"]
    assert it.of(DialAsked) == [
        DialAsked(campaign="c", dial_id="1-1", known=True, why="holder_silent")
    ]


async def test_while_a_stage_is_down_nobody_is_dialled_and_it_is_told_once() -> None:
    it = dialing(A)
    it.floor.well["tts"] = False

    async with running(it) as dialer:
        await asyncio.sleep(300)
        assert it.carrier.record == []
        hold = dialer.why("c")
        assert hold is not None
        assert hold.reason == "tts_down"
        it.floor.well["tts"] = True
        await until(lambda: it.queue.state == "done")

    (held,) = it.of(CampaignHeld)
    (resumed,) = it.of(CampaignResumed)
    assert (held.reason, held.outage, resumed.reason) == ("tts_down", True, "tts_down")
    assert resumed.held_s == pytest.approx(300, abs=5)


async def test_with_skip_the_contact_is_put_back_and_the_next_one_is_looked_at() -> None:
    it = dialing(A, B, on_outage="skip")
    it.floor.well["tts"] = False

    async with running(it):
        await until(lambda: len(it.of(ContactSkipped)) == 2)
        it.floor.well["tts"] = True
        await until(lambda: it.queue.state == "done")

    assert [each.dial_id for each in it.of(ContactSkipped)][:2] == ["1-1", "2-1"]
    assert it.carrier.record == ["1-2", "2-2"]
    assert len(it.of(CampaignHeld)) == 1
    assert [each.counted for each in it.of(DialEnded)] == [False, False, True, True]


async def test_with_degraded_the_contact_is_dialled_all_the_same() -> None:
    it = dialing(A, on_outage="degraded")
    it.floor.well["tts"] = False

    async with running(it):
        await until(lambda: it.queue.state == "done")

    (placed,) = it.of(DialPlaced)
    assert placed.degraded == "tts_down"


async def test_a_carrier_that_does_not_answer_holds_the_campaign_until_it_does() -> None:
    it = dialing(A, B)
    it.floor.free = 1
    it.carrier.deaf = 4

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert [each.reason for each in it.of(CampaignHeld)] == ["carrier_unreachable"]
    assert len(it.of(CampaignResumed)) == 1
    assert sorted(it.carrier.record) == ["1-1", "2-1"]


async def test_no_more_are_dialled_than_we_have_seats() -> None:
    it = dialing(A, B, C, D)
    it.floor.free = 2
    most = 0

    async with running(it):
        while it.queue.state != "done":
            most = max(most, sum(each.outcome is None for each in it.queue.dials.values()))
            await asyncio.sleep(0.5)

    assert most <= 4  # two that ring, and those who are in a call already
    assert len(it.carrier.record) == 4


async def test_several_in_a_row_that_failed_for_our_reasons_pause_the_campaign() -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 220)]
    it = dialing(*numbers)
    it.floor.free = 1
    it.floor.failing = dict.fromkeys(numbers, "call_failed")

    async with running(it) as dialer:
        await until(lambda: it.queue.state == "paused")
        await dialer.settle_down()
        dialled = len(it.carrier.record)
        await asyncio.sleep(300)
        assert len(it.carrier.record) == dialled
        it.floor.failing = {}
        await it.queue.move("c", "running", now=now_s())
        await until(lambda: it.queue.state == "done")

    (paused,) = it.of(CampaignPaused)
    assert paused.in_a_row == 5
    assert set(it.outcomes().values()) == {"completed"}


async def test_who_is_on_the_do_not_call_list_by_then_is_not_dialled() -> None:
    it = dialing(A, B)
    it.queue.on_list = {A}

    async with running(it):
        await until(lambda: it.queue.state == "done")

    assert it.carrier.record == ["2-1"]


async def test_a_number_that_the_carrier_refuses_has_failed() -> None:
    it = dialing(A)
    it.carrier.refused = {A}

    async with running(it):
        await until(lambda: it.queue.state == "done")

    (ended,) = it.of(DialEnded)
    assert (ended.outcome, ended.reason) == ("failed", "carrier_refused")


async def test_a_process_that_does_not_lead_its_house_dials_nobody() -> None:
    it = dialing(A)
    it.floor.leads = False

    async with running(it):
        await asyncio.sleep(60)

    assert it.carrier.record == []
