"""Plivo's peculiarities in dialling: its three lists, its two ids, and its statuses."""

import asyncio

import pytest

from calls.dialled import judge_dial
from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from calls.outbound import DialOutcome
from fallbacks.failure import Kind
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.plivo_exchange import PlivoDial
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import A, B, ended, request
from tests.transports.conformance.accounts import Account, failure_of, lost, unheard
from transports.dialling import CarrierError, FoundCall, HeardLeg
from transports.plivo.rest import SIP_CODES, ending_of
from transports.plivo.routes import plivo_callback

pytestmark = pytest.mark.virtual_time


def picked_up(it: Account) -> PlivoDial:
    """Make the one call an answered one, without a server to talk to."""
    dial = it.placed
    dial.answered = dial.created
    return dial


@pytest.mark.parametrize("one_id", [True, False], ids=["one id", "two ids"])
async def test_a_call_is_followed_while_queued_while_ringing_and_after_its_end(
    *, one_id: bool
) -> None:
    async with unheard("plivo", **{A: Callee(fate="busy", ring_s=5), B: Callee(ring_s=30)}) as it:
        it.api.one_id, it.exchange.calls_per_s = one_id, 0.5
        await it.carrier.dial(request("d-0", B))
        order = await it.carrier.dial(request("d-1"))
        queued = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(3)
        ringing = await it.carrier.find("d-1", A, 0.0)
        over = await ended(it.carrier, "d-1")

        assert (order == it.ids[1]) is one_id
        assert queued == FoundCall(provider_call_id=order)
        assert ringing == FoundCall(provider_call_id=it.ids[1])
        assert over == FoundCall(provider_call_id=it.ids[1], outcome=DialOutcome.BUSY, cost=0.0)


async def test_a_full_list_does_not_prove_that_a_call_is_missing() -> None:
    async with unheard("plivo") as it:
        it.exchange.calls_per_s = 0.01
        for at in range(21):
            await it.carrier.dial(request(f"d-{at}", B))

        with pytest.raises(CarrierError):
            await it.another(ToldNews()).find("x", A, 0.0)


async def test_a_queued_dial_is_cancelled() -> None:
    async with unheard("plivo") as it:
        it.exchange.calls_per_s = 0.01
        await it.carrier.dial(request("d-0", B))
        ordered = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(1)
        await it.carrier.cancel("d-1", ordered)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED


async def test_without_an_id_no_request_is_made_that_would_end_every_call() -> None:
    async with unheard("plivo") as it:
        it.faults.answer_with = 503  # any request fails
        await it.carrier.cancel("d-1", "")


async def test_an_empty_answer_is_no_certain_refusal() -> None:
    async with unheard("plivo") as it:
        it.faults.orders = None

        assert await failure_of(it.carrier) is Kind.PROTOCOL


async def test_a_reported_machine_counts_even_without_a_hangup_callback() -> None:
    async with unheard("plivo") as it:
        await it.carrier.dial(request("d-1"))
        uuid = picked_up(it).phone.call_sid
        it.news.told["d-1"] = HeardLeg(call_ref=uuid, answered=True, machine=True)
        found = await ended(it.carrier, "d-1")

        assert (found.outcome, found.answered) == (DialOutcome.VOICEMAIL, True)


async def test_a_call_is_recognised_by_its_request_among_others_to_the_number() -> None:
    async with unheard("plivo") as it:
        await it.another(ToldNews()).dial(request("somebody-else-s"))
        await asyncio.sleep(10)
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(0.5)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.provider_call_id == it.ids[1]


async def test_another_requests_call_is_not_taken_for_one_without_a_record_yet() -> None:
    async with unheard("plivo") as it:
        it.exchange.recorded_after_s = 1e6
        order = await it.carrier.dial(request("d-1"))
        await asyncio.sleep(4)
        await it.another(ToldNews()).dial(request("somebody-else-s"))
        await asyncio.sleep(0.5)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found == FoundCall(provider_call_id=order)


async def test_a_call_between_two_lists_is_waited_for() -> None:
    async with unheard("plivo") as it:
        it.exchange.recorded_after_s = 40.0
        await it.carrier.dial(request("d-1"))

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.BUSY


async def test_a_call_missing_for_long_is_no_call_unless_a_callback_reported_it() -> None:
    async with unheard("plivo") as it:
        it.exchange.recorded_after_s = 1e6
        await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))
        it.news.told["d-2"] = HeardLeg(call_ref=it.ids[1])
        await it.carrier.find("d-2", B, 0.0)
        await asyncio.sleep(120)

        assert await it.carrier.find("d-1", A, 0.0) is None
        assert (await ended(it.carrier, "d-2", B)).outcome is DialOutcome.UNKNOWN


async def test_a_price_is_known_with_the_record_and_not_before() -> None:
    async with unheard("plivo") as it:
        await it.carrier.dial(request("d-1"))
        uuid = picked_up(it).phone.call_sid
        before = await it.carrier.cost_of(uuid)
        await asyncio.sleep(10)

        assert before is None
        assert await it.carrier.cost_of(uuid) == pytest.approx(0.01)


async def test_a_ringing_dial_whose_answer_was_lost_is_cancelled() -> None:
    async with unheard("plivo") as it:
        it.exchange.callees = {A: Callee(fate="busy", ring_s=20.0)}
        await lost(it, request("d-1"))
        await asyncio.sleep(3.0)
        found = await it.carrier.find("d-1", A, 0.0)
        assert found is not None
        await it.carrier.cancel("d-1", found.provider_call_id)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED


async def test_a_dial_answered_meanwhile_is_not_hung_up_on() -> None:
    async with unheard("plivo") as it:
        it.exchange.callees = {A: Callee(fate="busy", ring_s=20.0)}
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        talk = picked_up(it)
        talk.status = "in-progress"
        await it.carrier.cancel("d-1", talk.phone.call_sid)

        assert not talk.over


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("completed", "4000", "completed"),
        ("completed", "4010", "completed"),
        ("completed", "3010", "busy"),
        ("completed", "6010", "no-answer"),
        ("busy", "3010", "busy"),
        ("busy", "", "busy"),
        ("no-answer", "3000", "no-answer"),
        ("no-answer", "", "no-answer"),
        ("timeout", "6010", "no-answer"),
        ("timeout", "", "failed"),
        ("failed", "2000", "failed"),
        ("completed", "2000", "failed"),
        ("completed", "1010", "failed"),
        ("completed", "2010", "failed"),
        ("cancel", "1000", "cancelled"),
        ("cancel", "", "cancelled"),
        ("failed", "3020", "busy"),
        ("", "9999", "failed"),
        ("something else", "", "failed"),
    ],
)
def test_plivos_statuses_of_an_end_are_the_fields(
    status: str, code: str, outcome: LegOutcome
) -> None:
    assert OUTCOMES[ending_of(status, code)] == outcome


@pytest.mark.parametrize(
    ("code", "reason"),
    [("1010", "payment_required"), ("2030", "forbidden"), ("2040", "forbidden")],
)
def test_a_call_that_our_account_may_not_place_is_no_failure_of_its_number(
    code: str, reason: str
) -> None:
    form = {"CallUUID": "c-1", "Event": "Hangup", "CallStatus": "completed"}
    callback = plivo_callback(form | {"HangupCauseCode": code}, ref="d-1")
    verdict = judge_dial(SIP_CODES.get(callback.reason))

    assert (callback.status, verdict.reason, verdict.trunk) == ("failed", reason, "refusing")
