"""Telnyx's peculiarities in dialling: its states, its lists, and calls that it forgets."""

import asyncio

import pytest

from calls.dialled import judge_dial
from calls.outbound import DialOutcome
from lab.simulators.carrier.callee import Callee
from tests.campaigns.placing import OURS, A, ended, request
from tests.transports.conformance.accounts import lost, unheard
from transports.dialling import CarrierError, DialRefusedError

pytestmark = pytest.mark.virtual_time


async def test_a_call_without_events_has_the_sip_status_of_its_event_list() -> None:
    async with unheard("telnyx", **{A: Callee(fate="busy", sip_code=603)}) as it:
        await it.carrier.dial(request("d-1"))

        assert (await ended(it.carrier, "d-1")).verdict == judge_dial(603)


async def test_a_ringing_dial_whose_answer_was_lost_is_found_without_its_events() -> None:
    async with unheard("telnyx", **{A: Callee(ring_s=20)}) as it:
        it.api.lists_late = True
        await lost(it, request("d-1"))
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.provider_call_id == it.ids[0]


async def test_a_dial_whose_answer_was_lost_has_its_outcome_in_its_events() -> None:
    async with unheard("telnyx") as it:
        await lost(it, request("d-1"))
        await asyncio.sleep(5)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.outcome is DialOutcome.BUSY


async def test_a_call_with_an_unknown_end_lasts_until_telnyx_forgets_it() -> None:
    async with unheard("telnyx") as it:
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(5)
        placed = it.placed
        del placed.events_sent[1:]  # the list knows of the beginning alone

        found = await it.carrier.find("d-1", A, 0.0)
        assert found is not None
        assert found.outcome is None
        placed.ended = placed.ended.replace(year=placed.ended.year - 1)
        assert await it.carrier.find("d-1", A, 0.0) is None


async def test_a_dial_repeated_at_once_is_one_call() -> None:
    async with unheard("telnyx") as it:
        first, second = [await it.carrier.dial(request("d-1")) for _ in range(2)]

        assert [first, second] == it.ids * 2


async def test_an_unknown_application_does_not_count_against_the_number() -> None:
    async with unheard("telnyx") as it:
        it.api.connection_id = "2"
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)


async def test_without_machine_detection_it_is_disabled() -> None:
    async with unheard("telnyx") as it:
        carrier = it.make(rest=it.rest, number=OURS, news=it.news, machine="")
        await carrier.dial(request("d-1"))

        assert it.placed.order["answering_machine_detection"] == "disabled"


async def test_an_account_error_gives_no_result() -> None:
    async with unheard("telnyx") as it:
        it.faults.answer_with = 503
        with pytest.raises(CarrierError):
            await it.carrier.find("d-1", A, 0.0)


async def test_a_calls_cost_is_the_reported_one() -> None:
    async with unheard("telnyx") as it:
        it.news.costs["v3:x"] = 0.007

        assert await it.carrier.cost_of("v3:x") == pytest.approx(0.007)
        assert await it.carrier.cost_of("v3:y") is None
