"""Outbound calls: requests to Twilio, and the meaning of its refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from bot.clock import utc_now
from calls.handover import Destination
from fallbacks.failure import Kind, PermanentError, Scope, TransientError
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.rest import CarrierRest
from tests.transports.test_exotel_calls import answering
from transports.dialling import DialOrder
from transports.twilio.dialling import TwilioCalls
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time

ACCOUNT = "AC" + "0" * 32
TOKEN = "12345"
ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="dial-1", machine="Enable")


@asynccontextmanager
async def office(**callees: Callee) -> AsyncIterator[tuple[CarrierRest, TwilioCalls]]:
    async with CarrierRest(ACCOUNT, TOKEN) as it:
        it.exchange.callees = {ORDER.to: Callee(fate="busy", ring_s=30)} | callees
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=it.url)
        yield it, TwilioCalls(rest=rest, public_url="https://agent.example.com")


async def test_a_call_is_requested_with_our_own_id_in_every_callback() -> None:
    async with office() as (it, calls):
        record = await calls.dial(ORDER)
        order = it.exchange.placed[record.call_sid]

        assert record.status == "queued"
        assert (record.to, record.caller) == (ORDER.to, ORDER.caller)
        url = "https://agent.example.com/twilio/status?dial=dial-1"
        assert order.order["StatusCallback"] == order.order["AsyncAmdStatusCallback"] == url
        assert order.order["Url"] == "https://agent.example.com/twilio/voice?dial=dial-1"
        assert order.events == {"initiated", "ringing", "answered", "completed"}
        assert (order.order["MachineDetection"], order.order["AsyncAmd"]) == ("Enable", "true")
        assert order.order["Timeout"] == "30"


async def test_a_call_is_looked_up_and_found_by_its_number_and_time() -> None:
    async with office() as (_, calls):
        began = utc_now()
        record = await calls.dial(ORDER)
        await asyncio.sleep(1)

        assert (await calls.fetch(record.call_sid)).status == "ringing"
        assert [call.call_sid for call in await calls.search(to=ORDER.to, since=began)] == [
            record.call_sid
        ]
        assert await calls.search(to="+15005550999", since=began) == []
        later = began.replace(year=began.year + 1)
        assert await calls.search(to=ORDER.to, since=later) == []


async def test_a_ringing_call_can_be_cancelled() -> None:
    async with office() as (it, calls):
        record = await calls.dial(ORDER)
        await asyncio.sleep(1)
        await calls.cancel(record.call_sid)

        assert it.exchange.placed[record.call_sid].statuses[-1] == "canceled"


@pytest.mark.parametrize(
    ("to", "kind", "scope"),
    [("+1", Kind.BAD_REQUEST, Scope.PAYLOAD), ("sip:x@y", Kind.BAD_REQUEST, Scope.PAYLOAD)],
)
async def test_an_invalid_number_is_the_numbers_fault(to: str, kind: Kind, scope: Scope) -> None:
    async with office() as (_, calls):
        with pytest.raises(PermanentError) as refused:
            await calls.dial(DialOrder(to=to, caller=ORDER.caller, ref="1"))

        assert (refused.value.failure.kind, refused.value.failure.scope) == (kind, scope)
        assert refused.value.failure.reason == "HTTP 400, Twilio error 21211"


async def test_a_wrong_key_is_permanent_and_in_no_message() -> None:
    async with CarrierRest(ACCOUNT, TOKEN) as it:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr("s3cret"), api_url=it.url)
        with pytest.raises(PermanentError) as refused:
            await TwilioCalls(rest=rest, public_url="http://x").dial(ORDER)

    assert refused.value.failure.kind is Kind.AUTH
    assert "s3cret" not in str(refused.value)


async def test_more_than_one_call_a_second_is_refused_for_its_pace_alone() -> None:
    async with office() as (it, calls):
        await calls.dial(ORDER)
        with pytest.raises(TransientError) as refused:
            await calls.dial(ORDER)

        assert refused.value.failure.kind is Kind.RATE_LIMITED
        assert len(it.exchange.placed) == 1


async def test_a_carrier_that_is_down_places_nothing_and_says_so() -> None:
    async with office() as (it, calls):
        it.answer_with = 503
        with pytest.raises(TransientError) as refused:
            await calls.dial(ORDER)

        assert refused.value.failure.kind is Kind.OVERLOADED
        assert it.exchange.placed == {}


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
