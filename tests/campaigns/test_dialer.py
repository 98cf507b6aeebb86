"""The dialler: its dials, unknown outcomes, and its waits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from calls.dialled import judge_dial
from calls.outbound import Claim, DialOutcome
from campaigns.breakers import WatchedCarrier
from campaigns.dial_run import DialRun
from campaigns.dialer import DialsInProgress
from campaigns.guard import rules_of
from campaigns.model import CallingWindow
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import CampaignStanding, Figures
from lab.simulators.carrier.callee import Callee
from tests.campaigns.dialing import (
    Dialing,
    ScriptedCarrier,
    dialing,
    now_s,
    running,
    until,
)
from tests.campaigns.placing import twilio_office
from transports.dialling import DialRequest, FoundCall

pytestmark = pytest.mark.virtual_time

A, B, C, D = "+15005550101", "+15005550102", "+15005550103", "+15005550104"


async def test_each_contact_is_dialled_and_has_one_outcome(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, B, C, attempts=1) as it, running(it):
        it.carrier.fates = {B: DialOutcome.BUSY, C: DialOutcome.VOICEMAIL}
        await it.done()

        assert it.outcomes() == {A: "completed", B: "busy", C: "voicemail"}
        assert sorted(it.dialled()) == [A, B, C]
        assert sorted(text.dial_id for text in it.of(DialEnded)) == sorted(it.carrier.record)


async def test_a_contact_who_declines_and_a_nonexistent_number_are_dialled_once(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, B, C, attempts=3) as it, running(it):
        it.carrier.fates = {A: DialOutcome.BUSY, B: DialOutcome.FAILED, C: DialOutcome.BUSY}
        it.carrier.verdicts = {A: judge_dial(603), B: judge_dial(404), C: judge_dial(486)}
        await it.done()

        assert sorted(it.dialled()) == [A, B, C, C, C]
        assert len(set(it.carrier.record)) == 5
        reasons = {it.number(text.dial_id): text.reason for text in it.of(DialEnded)}
        assert reasons == {A: "declined", B: "no_such_number", C: ""}


async def test_a_calls_own_id_replaces_its_requests_id(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, attempts=1) as it, running(it):
        it.carrier.answers_with = "order"
        await it.done()
        [dial] = await it.ledger()

        assert [text.call_ref for text in it.of(DialPlaced)] == [f"order-{dial.id}"]
        assert dial.provider_call_id == f"call-{dial.id}"
        assert dial.answered_s is not None


async def test_a_call_that_failed_on_our_side_does_not_count(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, attempts=1) as it, running(it):
        it.floor.failing = {A: "tts_out"}
        await until(lambda: bool(it.of(DialEnded)))
        it.floor.failing = {}
        await it.done()

        first, second = it.of(DialEnded)
        assert (first.outcome, first.reason, first.counted) == ("agent_failed", "tts_out", False)
        assert (second.outcome, second.counted) == ("completed", True)


async def test_a_lost_answer_is_asked_about_and_no_contact_is_dialled_twice(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it, running(it):
        it.carrier.lost_answers = 1
        await it.done()

        assert it.dialled() == [A]
        assert [(text.known, text.why) for text in it.of(DialAsked)] == [(True, "answer_lost")]
        assert it.outcomes() == {A: "completed"}


async def test_a_dial_that_never_reached_the_carrier_is_repeated_under_the_same_id(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it, running(it):
        it.carrier.deaf = 1
        await it.done()

        (asked,) = it.of(DialAsked)
        assert (asked.known, [asked.dial_id]) == (False, it.carrier.record)


@dataclass
class QueueingScript(ScriptedCarrier):
    """Lets each dial wait for its turn."""

    queue_s: float = 60.0

    async def dial(self, request: DialRequest) -> str:
        await asyncio.sleep(self.queue_s)
        await request.confirm()
        return await super().dial(request)


async def test_the_time_for_a_carrier_to_know_a_call_counts_from_the_request(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier = carrier = QueueingScript(deaf=1)
        async with running(it):
            await until(lambda: carrier.asked > 1)
            (dial_id,) = it.floor.numbers
            carrier.record.append(dial_id)
            carrier.calls[dial_id] = (now_s(), A)
            await it.done()

        assert it.dialled() == [A]


async def close_the_hours(it: Dialing) -> None:
    await asyncio.sleep(30.0)


async def pause(it: Dialing) -> None:
    await it.store.move("c", "paused", now=now_s())


async def bar(it: Dialing) -> None:
    await it.book.add_do_not_call(B, source="test", now=now_s())


@pytest.mark.parametrize("change", [close_the_hours, pause, bar])
async def test_a_queued_dial_is_requested_only_if_everything_still_allows_it(
    tmp_path: Path, change: Callable[[Dialing], Awaitable[None]]
) -> None:
    closes_s = now_s() % 86_400.0 + 30.0 if change is close_the_hours else 86_400.0
    window = CallingWindow(opens_s=0.0, closes_s=closes_s)
    async with (
        twilio_office(calls_per_s=1 / 60.0) as (office, carrier),
        dialing(tmp_path, A, B, attempts=1, concurrent=2, window=window) as it,
    ):
        office.exchange.callees = {A: Callee(fate="busy")}
        it.carrier = carrier
        async with running(it):
            await until(lambda: len(office.book) == 1 and len(it.floor.numbers) == 2)
            await change(it)
            await asyncio.sleep(120.0)

        assert [number for _, number, _ in office.book] == [A]
        assert B not in it.floor.numbers.values()  # nothing is prepared for it any more


async def test_a_dial_is_not_made_when_the_hours_have_closed_during_its_rehearsal(
    tmp_path: Path,
) -> None:
    window = CallingWindow(opens_s=0.0, closes_s=now_s() % 86_400.0 + 30.0)
    async with dialing(tmp_path, A, window=window) as it:

        async def rehearse() -> str:
            await asyncio.sleep(35.0)
            return ""

        it.rehearse = rehearse
        async with running(it):
            await asyncio.sleep(60.0)

        assert it.carrier.record == []
        assert await it.ledger() == []


async def test_a_dial_is_followed_until_its_outcome_is_known(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier.fates[A] = DialOutcome.NO_ANSWER
        async with running(it) as dialer:
            assert not dialer.runs
            await until(lambda: bool(it.carrier.record))
            assert dialer.runs
            await until(lambda: bool(it.of(DialEnded)))

            assert not dialer.runs


async def test_a_ringing_dial_is_cancelled_at_the_stop_and_does_not_count_as_an_attempt(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, attempts=1) as it:
        it.carrier.answers_after_s, it.carrier.answers_with = 20.0, "order"
        async with running(it) as dialer:
            await until(lambda: bool(it.of(DialPlaced)))
            it.floor.leads, it.floor.leaving = False, True
            await until(lambda: not dialer.runs, within_s=5.0)

        (ended,) = it.of(DialEnded)
        assert (ended.outcome, ended.counted) == ("cancelled", False)
        assert it.carrier.cancelled == {ended.dial_id: f"order-{ended.dial_id}"}


async def test_an_answered_dial_is_not_cancelled_at_the_stop(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it:
        async with running(it):
            await until(lambda: bool(it.of(DialPlaced)))
            it.floor.leads, it.floor.leaving = False, True
            await until(lambda: bool(it.of(DialEnded)))

        assert it.carrier.cancelled == {}
        assert it.outcomes() == {A: "completed"}


async def test_a_dial_not_yet_requested_is_given_back_at_the_stop(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:

        async def rehearse() -> str:
            await asyncio.sleep(20.0)
            return ""

        it.rehearse = rehearse
        async with running(it) as dialer:
            await until(lambda: bool(dialer.runs))
            it.floor.leads, it.floor.leaving = False, True
            await until(lambda: not dialer.runs)

        assert it.carrier.record == []
        assert await it.ledger() == []


async def test_while_a_stage_is_down_no_contact_is_dialled_and_it_is_reported_once(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.floor.well["tts"] = False
        async with running(it) as dialer:
            await asyncio.sleep(300)
            assert it.carrier.record == []
            hold = dialer.holds.why("c")
            assert hold is not None
            assert hold.reason == "tts_down"
            it.floor.well["tts"] = True
            await it.done()

        (held,) = it.of(CampaignHeld)
        (resumed,) = it.of(CampaignResumed)
        assert (held.reason, held.outage, resumed.reason) == ("tts_down", True, "tts_down")
        assert resumed.held_s == pytest.approx(300, abs=5)


async def test_with_skip_the_contact_is_put_back_and_the_next_one_is_considered(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, B, on_outage="skip") as it:
        it.floor.well["tts"] = False
        async with running(it):
            await until(lambda: len(it.of(ContactSkipped)) == 2)
            it.floor.well["tts"] = True
            await it.done()

        assert it.dialled() == [A, B]
        assert len(it.of(CampaignHeld)) == 1
        assert [text.counted for text in it.of(DialEnded)] == [False, False, True, True]


async def test_a_contact_skipped_during_a_long_outage_is_called_after_it(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, B, on_outage="skip", daily_calls=2) as it:
        it.floor.well["tts"] = False
        async with running(it):
            await until(lambda: len(it.of(ContactSkipped)) == 6)
            it.floor.well["tts"] = True
            async with asyncio.timeout(600.0):
                await it.done()

        assert it.dialled() == [A, B]


async def test_with_degraded_the_contact_is_dialled_anyway(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, on_outage="degraded") as it:
        it.floor.well["tts"] = False
        async with running(it):
            await it.done()

        (placed,) = it.of(DialPlaced)
        assert placed.degraded == "tts_down"


async def test_a_carrier_that_does_not_answer_holds_the_campaign_until_it_does(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, B) as it:
        it.floor.free = 1
        it.carrier.deaf = 4
        async with running(it):
            await it.done()

        assert [text.reason for text in it.of(CampaignHeld)] == ["carrier_unreachable"]
        assert len(it.of(CampaignResumed)) == 1
        assert sorted(it.dialled()) == [A, B]


async def test_no_more_dials_ring_than_there_are_seats(tmp_path: Path) -> None:
    async with dialing(tmp_path, A, B, C, D) as it:
        it.floor.free = 2
        it.carrier.answers_after_s = 1000.0  # no contact answers
        async with running(it):
            await asyncio.sleep(60)

        assert len(it.carrier.record) == 2


async def test_a_dial_that_ended_without_a_waiter_is_not_waited_for(tmp_path: Path) -> None:
    async def end() -> None:
        """End at once, with nothing to report."""

    async def count_result(campaign: str, result: Any) -> None:
        raise AssertionError(f"{result} in {campaign}")

    async with dialing(tmp_path, A) as it, asyncio.TaskGroup() as tasks:
        claim = await it.store.claim(
            "c", rules_of(it.campaign, now=now_s()), now_s=now_s, lease_s=1.0
        )
        assert isinstance(claim, Claim)
        parts = it.parts(carrier=WatchedCarrier(it.carrier))
        del parts["figures"]
        run = DialRun(campaign=it.campaign, claim=claim, **parts)
        dials = DialsInProgress(tasks, set(), count_result=count_result)
        began_s = now_s()
        dials.start_dial(run, end)
        await asyncio.sleep(0.1)  # the next contact is looked for
        await dials.wait(100.0)
        assert now_s() - began_s < 1.0
        await dials.wait(100.0)
        assert now_s() - began_s > 99.0  # the end wakes one wait only


async def test_a_process_that_does_not_lead_dials_no_contact(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it:
        it.floor.leads = False
        async with running(it):
            await asyncio.sleep(60)

        assert it.carrier.record == []


async def test_a_failed_rehearsal_skips_the_contact_before_any_dial(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A, on_outage="skip") as it:

        async def rehearse() -> str:
            await asyncio.sleep(35.0)  # longer than a lease
            it.floor.well["tts"] = False
            return "tts_down"

        it.rehearse = rehearse
        async with running(it):
            await until(lambda: bool(it.of(ContactSkipped)))
            it.rehearse = None
            assert it.carrier.record == []

        (ended,) = it.of(DialEnded)
        assert (ended.outcome, ended.reason, ended.counted) == ("agent_failed", "tts_down", False)
        assert not it.of(CampaignPaused)


async def test_a_failed_rehearsal_gives_a_held_campaigns_contact_back(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it:
        answers = ["tts_down", ""]

        async def rehearse() -> str:
            return answers.pop(0)

        it.rehearse = rehearse
        async with running(it):
            await it.done()

        assert it.dialled() == [A]
        assert [text.outcome for text in it.of(DialEnded)] == ["completed"]


async def test_each_campaign_has_its_turn_and_none_waits_for_a_large_one(tmp_path: Path) -> None:
    async with dialing(tmp_path, *(f"+1500555{at:04}" for at in range(300, 310))) as it:
        it.floor.free = 2
        small = replace(it.campaign, name="small")
        contact = NewContact(number=D, zones=("UTC",))
        await it.book.add("small", [contact], now=now_s())
        await it.store.move("small", "running", now=now_s())
        it.more = {"small": small}
        async with running(it):
            await until(lambda: D in it.dialled(), within_s=120)

        assert it.dialled().index(D) <= 2


class LateFigures(Figures):
    """Adds a contact right after the query that found none left."""

    book: Contacts
    due_s = 0.0  # when the added callback is due

    async def standings(self) -> Sequence[CampaignStanding]:
        found = await super().standings()
        if not self.due_s and not found[0].contacts.keys() - {"done"}:
            now = now_s()
            self.due_s = now + 60.0
            callback = NewContact(number=B, zones=("UTC",), due_s=self.due_s)
            await self.book.add("c", [callback], now=now)
        return found


async def test_a_campaign_that_gains_a_contact_while_found_done_continues(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.figures = figures = LateFigures(it.database)
        figures.book = it.book
        async with running(it):
            await until(lambda: it.dialled() == [A, B])
            await it.done()


async def test_a_pace_is_kept_without_falling_behind(tmp_path: Path) -> None:
    numbers = [f"+1500555{at:04}" for at in range(400, 420)]
    async with dialing(tmp_path, *numbers, dials_per_minute=60.0, concurrent=50) as it:
        it.floor.free = 50
        async with running(it):
            began_s = now_s()
            await until(lambda: len(it.carrier.record) == len(numbers))

        assert now_s() - began_s == pytest.approx(len(numbers), abs=2.0)


class ForgetfulCarrier(ScriptedCarrier):
    """Reports at the end that the call failed, without saying that it was answered."""

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        found = await super().find(dial_id, to, since_s)
        if found is None or found.outcome is None:
            return found
        return FoundCall(provider_call_id=found.provider_call_id, outcome=DialOutcome.FAILED)


async def test_a_contact_who_talked_is_not_called_again_when_the_carrier_forgets_it(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it:
        it.carrier = ForgetfulCarrier()
        async with running(it):
            await it.done()

        assert it.dialled() == [A]
        assert it.outcomes() == {A: "completed"}
