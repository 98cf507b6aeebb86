"""Twilio as a campaign's carrier, against the lab's: its pace, lost answers, its words."""

import asyncio

import pytest

from calls.outbound import DialOutcome
from campaigns.carrier import CarrierError, DialRefusedError, DialWithdrawnError
from tests.campaigns.placing import A, B, ended, request, twilio_office, withdrawn

pytestmark = pytest.mark.virtual_time


async def test_an_account_s_pace_is_kept_to() -> None:
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


async def test_a_call_of_another_dial_is_not_taken_for_ours() -> None:
    async with twilio_office() as (_, it):
        await it.dial(request("d-1"))

        assert await it.find("d-2", A, 0.0) is None


async def test_a_number_that_is_none_is_refused_and_the_account_is_well() -> None:
    async with twilio_office() as (_, it):
        with pytest.raises(DialRefusedError):
            await it.dial(request("d-1", to="+1"))


async def test_an_account_in_trouble_says_nothing_of_the_number() -> None:
    async with twilio_office() as (office, it):
        office.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)


async def test_what_is_withdrawn_by_its_turn_is_not_asked_for() -> None:
    async with twilio_office() as (office, it):
        with pytest.raises(DialWithdrawnError):
            await it.dial(withdrawn("d-1"))

        assert office.requests == []
