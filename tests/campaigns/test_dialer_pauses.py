"""Automatic and manual pauses of a campaign, and their end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from calls.campaign_events import (
    CampaignHeld,
    CampaignPaused,
    CampaignResumed,
    DialEnded,
    DialPlaced,
)
from calls.dialled import judge_dial
from calls.outbound import CampaignState, DialOutcome, DialResult
from campaigns.dialer import CampaignBreakers
from campaigns.guard import Hold
from campaigns.model import CallingWindow
from campaigns.store.queue import Queue
from operations.database.database import StorageError
from tests.campaigns.dialing import (
    dialing,
    left_by_another,
    now_s,
    running,
    until,
)

pytestmark = pytest.mark.virtual_time

MIDNIGHT_S = 86_400.0  # these tests begin some hours after the previous one
A, B, C, D = "+15005550101", "+15005550102", "+15005550103", "+15005550104"


async def test_consecutive_failures_of_our_own_pause_the_campaign(
    tmp_path: Path,
) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 206)]
    async with dialing(tmp_path, *numbers) as it, running(it):
        it.floor.failing = dict.fromkeys(numbers, "call_failed")
        await it.in_state("paused")
        await it.settled()
        dialled = len(it.carrier.record)
        await asyncio.sleep(90)
        assert len(it.carrier.record) == dialled
        it.floor.failing = {}
        await it.store.move("c", "running", now=now_s())
        await it.done()

        (paused,) = it.of(CampaignPaused)
        (resumed,) = it.of(CampaignResumed)
        assert paused.in_a_row == 5
        assert (resumed.reason, resumed.held_s >= 90) == (paused.reason, True)
        assert set(it.outcomes().values()) == {"completed"}


async def test_a_campaign_that_paused_itself_is_resumed_despite_a_clock_put_back(
    tmp_path: Path,
) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 206)]
    async with dialing(tmp_path, *numbers) as it, running(it):
        it.floor.failing = dict.fromkeys(numbers, "call_failed")
        await it.in_state("paused")
        await it.settled()
        it.floor.failing = {}
        await it.store.move("c", "running", now=now_s() - 3600.0)
        async with asyncio.timeout(600.0):
            await it.done()


class DeafQueue(Queue):
    """Fails a number of times when a campaign is to be paused."""

    away = 2

    async def move(self, campaign: str, state: CampaignState, **more: Any) -> bool:
        if state == "paused" and self.away:
            self.away -= 1
            raise StorageError("the network is away")
        return await super().move(campaign, state, **more)


async def test_a_pause_that_could_not_be_stored_is_stored_later(
    tmp_path: Path,
) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 206)]
    async with dialing(tmp_path, *numbers) as it:
        it.store = store = DeafQueue(it.database, holder="me")
        it.floor.failing = dict.fromkeys(numbers, "call_failed")
        async with running(it):
            await until(lambda: not store.away)
            async with asyncio.timeout(600.0):
                await it.in_state("paused")
            it.floor.failing = {}
            assert await it.store.move("c", "running", now=now_s(), begins={"paused"})
            await it.done()

        (paused,) = it.of(CampaignPaused)
        assert paused.in_a_row >= 5


async def test_pauses_that_a_round_and_a_dial_store_at_once_are_each_stored_once(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        store = DeafQueue(it.database, holder="me")
        breakers = CampaignBreakers(["a", "b"], store, emit=it.told.append, now_s=now_s, limit=1)
        for campaign in ("a", "b"):
            with pytest.raises(StorageError):
                await breakers.count(campaign, DialResult(outcome=DialOutcome.AGENT_FAILED))
        await asyncio.gather(breakers.pause_tripped(), breakers.pause_tripped())

        assert sorted(paused.campaign for paused in it.of(CampaignPaused)) == ["a", "b"]


async def test_a_campaign_paused_by_its_breaker_in_an_outage_continues_when_resumed(
    tmp_path: Path,
) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 206)]
    async with dialing(tmp_path, *numbers) as it, running(it) as dialer:
        it.floor.free, it.floor.failing = 6, dict.fromkeys(numbers, "tts_out")
        await until(lambda: len(it.carrier.record) == it.campaign.concurrent == 5)
        it.floor.well["tts"] = False
        await it.in_state("paused")
        await asyncio.sleep(60)
        assert [text.reason for text in it.of(CampaignHeld)] == ["tts_down"]
        assert it.of(CampaignResumed) == []
        hold = dialer.holds.why("c")
        assert hold is not None
        assert (hold.reason, hold.outage) == ("agent_failed_in_a_row", True)
        it.floor.well["tts"], it.floor.failing = True, {}
        await it.store.move("c", "running", now=now_s())
        await it.done()

        assert [text.reason for text in it.of(CampaignResumed)] == ["agent_failed_in_a_row"]


async def test_the_end_of_a_pause_is_reported_by_the_process_that_dials_then(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        reason = "agent_failed_in_a_row"
        await it.store.move("c", "paused", reason=reason, now=now_s())
        async with running(it) as dialer:
            await asyncio.sleep(60)
            assert dialer.holds.why("c") is not None
            await it.store.move("c", "running", now=now_s())
            await it.done()

        assert it.of(CampaignPaused) == []
        assert [text.reason for text in it.of(CampaignResumed)] == [reason]


async def test_a_campaign_paused_by_an_operator_waits_for_no_recovery(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        await it.store.move("c", "paused", reason="operator", now=now_s())
        async with running(it) as dialer:
            await asyncio.sleep(60)
            assert dialer.holds.why("c") is None
            await it.store.move("c", "running", now=now_s())
            await it.done()

        assert it.of(CampaignResumed) == []


async def test_consecutive_refusals_by_the_carrier_pause_the_campaign(tmp_path: Path) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 211)]
    async with dialing(tmp_path, *numbers, concurrent=1, attempts=1) as it, running(it):
        # The trunk works: one number in between is dialled.
        it.carrier.refused = {*numbers[:4], *numbers[5:]}
        async with asyncio.timeout(600.0):
            await it.in_state("paused")
        await asyncio.sleep(90.0)

        (paused,) = it.of(CampaignPaused)
        assert (paused.reason, paused.in_a_row) == ("carrier_refused_in_a_row", 5)
        assert len(it.of(DialEnded)) == 10  # and one has all their attempts

        it.carrier.refused = set()
        await it.store.move("c", "running", now=now_s())
        await it.done()
        assert it.dialled() == [numbers[4], *numbers[10:]]


async def test_an_unhealthy_trunk_pauses_the_campaign_and_uses_up_no_attempts(
    tmp_path: Path,
) -> None:
    verdict, reason = judge_dial(401), "login_refused"
    numbers = [f"+1500555{at:04}" for at in range(200, 208)]
    async with dialing(tmp_path, *numbers, concurrent=1, attempts=1) as it, running(it):
        it.carrier.fates = dict.fromkeys(numbers, DialOutcome.FAILED)
        it.carrier.verdicts = dict.fromkeys(numbers, verdict) | {numbers[2]: judge_dial(404)}
        async with asyncio.timeout(600.0):
            await it.in_state("paused")
        await asyncio.sleep(90.0)

        (paused,) = it.of(CampaignPaused)
        assert (paused.reason, paused.in_a_row) == ("carrier_refused_in_a_row", 5)
        ended = it.of(DialEnded)
        assert [(text.reason, text.counted) for text in ended] == [
            *[(reason, False)] * 2,
            ("no_such_number", True),  # a success of the trunk resets the count
            *[(reason, False)] * 5,
        ]

        it.carrier.fates, it.carrier.verdicts = {}, {}
        await it.store.move("c", "running", now=now_s())
        await it.done()
        assert it.outcomes() == dict.fromkeys(numbers, "completed") | {numbers[2]: "no_such_number"}


async def test_no_contact_is_dialled_while_the_last_result_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [f"+1500555{at:04}" for at in range(200, 207)]
    async with dialing(tmp_path, *numbers, concurrent=1, attempts=1) as it:
        it.carrier.refused = set(numbers)
        settle = it.store.settle

        async def settle_late(*of_dial: Any, **how: Any) -> bool:
            stored = await settle(*of_dial, **how)
            await asyncio.sleep(5.0)  # stored, so the next contact has room, but not reported yet
            return stored

        monkeypatch.setattr(it.store, "settle", settle_late)
        async with running(it):
            await it.in_state("paused")
            await asyncio.sleep(90.0)

            assert len(it.of(DialEnded)) == 5
            assert len(await it.ledger()) == 5  # and the sixth is as if it had not been claimed


async def test_the_end_of_another_processs_hold_is_reported_by_the_next_leader(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.held = {"c": Hold(reason="tts_down", since_s=now_s() - 50.0, outage=True)}
        async with running(it):
            await it.done()

        (resumed,) = it.of(CampaignResumed)
        assert (resumed.reason, resumed.held_s) == ("tts_down", pytest.approx(50.0, abs=5.0))
        assert it.of(CampaignHeld) == []


async def test_an_outage_that_lasts_is_not_reported_again_by_the_next_leader(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.held = {"c": Hold(reason="tts_down", since_s=now_s() - 50.0, outage=True)}
        it.floor.well["tts"] = False
        async with running(it):
            await asyncio.sleep(60.0)
            assert it.told == []
            it.floor.well["tts"] = True
            await it.done()

        (resumed,) = it.of(CampaignResumed)
        assert resumed.held_s == pytest.approx(110.0, abs=5.0)
        assert it.of(CampaignHeld) == []


async def test_another_processs_hold_does_not_end_because_its_cause_is_unknown(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.held = {"c": Hold(reason="tts_down", since_s=now_s() - 50.0, outage=True)}

        down = ["tts_down"]

        async def rehearse() -> str:
            await asyncio.sleep(35.0)
            it.floor.well["tts"] = not down
            return down.pop() if down else ""

        it.rehearse = rehearse
        async with running(it) as dialer:
            await asyncio.sleep(20.0)
            hold = dialer.holds.why("c")
            assert hold is not None
            assert hold.reason == "tts_down"
            await asyncio.sleep(100.0)
            assert it.told == []  # an operator who has acknowledged it is not told again
            it.floor.well["tts"] = True
            await it.done()

        assert [text.reason for text in it.of(CampaignResumed)] == ["tts_down"]
        assert it.of(CampaignHeld) == []


@pytest.mark.parametrize(
    ("campaign", "free"),
    [({"window": CallingWindow(opens_s=MIDNIGHT_S - 1.0, closes_s=MIDNIGHT_S)}, 4), ({}, 0)],
    ids=["no contact may be called now", "all seats are taken"],
)
async def test_another_processs_hold_does_not_end_while_no_dial_is_due_anyway(
    tmp_path: Path, campaign: dict[str, Any], free: int
) -> None:
    async with dialing(tmp_path, A, **campaign) as it:
        it.floor.free = free
        it.held = {"c": Hold(reason="tts_down", since_s=now_s() - 50.0, outage=True)}
        async with running(it):
            await asyncio.sleep(60.0)
            assert it.told == []
            await it.store.move("c", "paused", reason="operator", now=now_s())
            await asyncio.sleep(10.0)

        assert [text.reason for text in it.of(CampaignResumed)] == ["tts_down"]


async def test_a_dead_processs_call_does_not_prove_that_an_outage_is_over(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        claim = await left_by_another(it, asked=True, call_ref="call-1")
        it.carrier.calls[claim.dial.id] = (now_s(), A)
        it.held = {"c": Hold(reason="tts_down", since_s=now_s() - 50.0, outage=True)}
        async with running(it):
            await until(lambda: bool(it.of(DialPlaced)))
            await asyncio.sleep(5.0)
            assert it.of(CampaignResumed) == []
            await it.done()

        assert [text.reason for text in it.of(CampaignResumed)] == ["tts_down"]


async def test_a_returning_leader_reads_the_holds_again(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, window=CallingWindow(opens_s=0.0, closes_s=0.0)) as it:
        async with running(it):
            await asyncio.sleep(10.0)
            it.floor.leads = False
            await asyncio.sleep(10.0)
            it.held = {"c": Hold(reason="tts_down", since_s=now_s(), outage=True)}
            it.floor.leads = True
            await asyncio.sleep(10.0)

        assert [text.reason for text in it.of(CampaignResumed)] == ["tts_down"]
