"""Twilio as a campaign's carrier, against the lab's: its pace, lost answers, its statuses."""

import asyncio

import pytest

from calls.dialled import judge_dial
from calls.outbound import DialOutcome
from lab.simulators.carrier.callee import Callee
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import A, B, ended, request, twilio_office, withdrawn
from transports.dialling import (
    CarrierError,
    DialRefusedError,
    DialWithdrawnError,
    FoundCall,
    HeardLeg,
)

FAR_AHEAD_S = 4e9  # our clock differs from Twilio's

pytestmark = pytest.mark.virtual_time


async def test_an_accounts_pace_is_kept() -> None:
    async with twilio_office() as (office, it):
        await asyncio.gather(*(it.dial(request(f"d-{at}", A)) for at in range(4)))

        assert len(office.book) == 4
        assert len(office.requests) == 4  # none was refused for coming too soon


async def test_a_dial_is_found_by_its_id_and_has_its_outcome() -> None:
    async with twilio_office() as (_, it):
        sid = await it.dial(request("d-1"))
        await it.dial(request("d-2", B))

        assert (await ended(it, "d-1")).outcome is DialOutcome.BUSY
        assert (await ended(it, "d-1")).provider_call_id == sid
        assert (await ended(it, "d-2", B)).outcome is DialOutcome.NO_ANSWER


async def test_a_dial_whose_answer_was_lost_is_found_by_number_and_time() -> None:
    async with twilio_office() as (office, it):
        office.swallow = 1
        with pytest.raises(CarrierError):
            await it.dial(request("d-1"))

        found = await it.find("d-1", A, 0.0)

        assert found is not None
        assert found.provider_call_id == office.book[0][0]


async def test_a_dial_whose_answer_was_lost_is_found_by_a_callback_of_any_process() -> None:
    async with twilio_office() as (office, it):
        office.swallow = 1
        with pytest.raises(CarrierError):
            await it.dial(request("d-1"))
        call_sid = office.book[0][0]
        it.news = ToldNews(told={"d-1": HeardLeg(call_ref=call_sid)})

        found = await it.find("d-1", A, FAR_AHEAD_S)

        assert found is not None
        assert found.provider_call_id == call_sid


async def test_a_dead_processs_dial_is_found_by_the_id_in_the_ledger() -> None:
    async with twilio_office() as (_, it):
        call_sid = await it.dial(request("d-1"))
        it.news.refs.clear()
        it.recall("d-1", call_sid)

        found = await it.find("d-1", A, FAR_AHEAD_S)

        assert found is not None
        assert found.provider_call_id == call_sid


async def test_a_late_callbacks_sip_status_is_waited_for() -> None:
    async with twilio_office() as (office, it):
        news = it.news = ToldNews()
        call_sid = await it.dial(request("d-1"))
        while not office.exchange.placed[call_sid].over:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.5)
        assert await it.find("d-1", A, 0.0) == FoundCall(provider_call_id=call_sid)

        news.told["d-1"] = HeardLeg(call_ref=call_sid, ended="busy", sip_code=603)
        found = await it.find("d-1", A, 0.0)

        assert found is not None
        assert (found.outcome, found.verdict) == (DialOutcome.BUSY, judge_dial(603))


async def test_without_a_callback_the_accounts_status_is_the_end() -> None:
    async with twilio_office() as (_, it):
        await it.dial(request("d-1"))
        found = await ended(it, "d-1")

        assert (found.outcome, found.verdict) == (DialOutcome.BUSY, None)


async def test_an_id_unknown_to_the_account_is_no_call_and_no_account_error() -> None:
    async with twilio_office() as (_, it):
        it.recall("d-1", "CA-of-an-account-before-this-one")

        assert await it.find("d-1", A, 0.0) is None


async def test_a_call_of_another_dial_is_not_taken_for_ours() -> None:
    async with twilio_office() as (_, it):
        await it.dial(request("d-1"))

        assert await it.find("d-2", A, 0.0) is None


async def test_an_invalid_number_does_not_count_against_the_account() -> None:
    async with twilio_office() as (_, it):
        with pytest.raises(DialRefusedError):
            await it.dial(request("d-1", to="+1"))


async def test_a_number_in_a_country_that_the_account_may_not_call_is_refused() -> None:
    async with twilio_office() as (office, it):
        office.not_permitted = ("+99",)
        with pytest.raises(DialRefusedError):
            await it.dial(request("d-1", to="+99500555011"))
        await it.dial(request("d-2"))

        assert [number for _, number, _ in office.book] == [A]


async def test_an_account_error_does_not_count_against_the_number() -> None:
    async with twilio_office() as (office, it):
        office.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)


async def test_a_dial_withdrawn_before_its_turn_is_not_requested() -> None:
    async with twilio_office() as (office, it):
        with pytest.raises(DialWithdrawnError):
            await it.dial(withdrawn("d-1"))

        assert office.requests == []


async def test_a_ringing_dial_is_cancelled() -> None:
    async with twilio_office() as (office, carrier):
        office.exchange.callees = {A: Callee(ring_s=30.0)}
        ordered = await carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        await carrier.cancel("d-1", ordered)

        assert (await ended(carrier, "d-1")).outcome is DialOutcome.CANCELLED
