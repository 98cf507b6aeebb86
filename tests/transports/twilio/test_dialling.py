"""Twilio's peculiarities in dialling: its records, its SIP statuses, and its commands."""

import asyncio

import pytest
from pydantic import SecretStr

from calls.dialled import judge_dial
from calls.handover import Destination
from calls.outbound import DialOutcome
from tests.campaigns.placing import ACCOUNT, A, ended, request
from tests.transports.conformance.accounts import TOKEN, unheard
from tests.transports.exotel.test_dialling import answering
from transports.dialling import DialRefusedError, FoundCall, HeardLeg
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time


async def test_a_late_callbacks_sip_status_is_waited_for() -> None:
    async with unheard("twilio") as it:
        call_sid = await it.carrier.dial(request("d-1"))
        while not it.placed.over:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.5)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id=call_sid)

        it.news.told["d-1"] = HeardLeg(call_ref=call_sid, ended="busy", sip_code=603)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert (found.outcome, found.verdict) == (DialOutcome.BUSY, judge_dial(603))


async def test_without_a_callback_the_accounts_status_is_the_end() -> None:
    async with unheard("twilio") as it:
        await it.carrier.dial(request("d-1"))
        found = await ended(it.carrier, "d-1")

        assert (found.outcome, found.verdict) == (DialOutcome.BUSY, None)


async def test_an_id_unknown_to_the_account_is_no_call_and_no_account_error() -> None:
    async with unheard("twilio") as it:
        it.carrier.recall("d-1", "CA-of-an-account-before-this-one")

        assert await it.carrier.find("d-1", A, 0.0) is None


async def test_a_number_in_a_country_that_the_account_may_not_call_is_refused() -> None:
    async with unheard("twilio") as it:
        it.api.not_permitted = ("+99",)
        with pytest.raises(DialRefusedError):
            await it.carrier.dial(request("d-1", to="+99500555011"))
        await it.carrier.dial(request("d-2"))

        assert [number for _, number, _ in it.api.book] == [A]


@pytest.mark.parametrize(
    ("status", "hung_up", "redirected"),
    [(200, None, None), (503, "hang-up answered 503", "redirect answered 503")],
)
async def test_the_result_of_a_command_is_its_status_and_not_a_truncated_answer(
    status: int, hung_up: str | None, redirected: str | None
) -> None:
    async with answering(b'{"sid": "CA', status) as url:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=url)

        assert await rest.complete("CA1") == hung_up
        ringing = await rest.ring("CA1", Destination(name="a", number="+1"), ring_s=20)
        assert (ringing and ringing.words) == redirected
