"""Outbound calls: requests to Telnyx, and the meaning of its refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr

from bot.clock import utc_now
from fallbacks.failure import Kind, PermanentError, Scope, TransientError
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from transports.dialling import DialOrder
from transports.telnyx.dialling import TelnyxCalls, TelnyxRecord
from transports.telnyx.events import state_of
from transports.telnyx.rest import TelnyxRest

pytestmark = pytest.mark.virtual_time

ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="dial-1", machine="detect")


@asynccontextmanager
async def office(
    callee: Callee | None = None, *, key: str = ""
) -> AsyncIterator[tuple[TelnyxExchange, TelnyxCalls]]:
    async with telnyx_exchange() as it:
        it.mute = True  # without a receiver of events
        it.callees = {ORDER.to: callee or Callee(fate="busy", ring_s=30)}
        rest = TelnyxRest(api_key=SecretStr(key or it.account.api_key), api_url=it.account.url)
        calls = TelnyxCalls(
            rest=rest, connection_id=it.connection_id, public_url="https://agent.example.com"
        )
        yield it, calls


async def test_a_call_is_requested_with_our_own_id_in_its_state() -> None:
    async with office() as (it, calls):
        record = await calls.dial(ORDER)

        assert it.placed[record.call_id].order == {
            "connection_id": it.connection_id,
            "to": ORDER.to,
            "from": ORDER.caller,
            "webhook_url": "https://agent.example.com/telnyx/voice",
            "webhook_url_method": "POST",
            "client_state": state_of("dial-1"),
            "command_id": "dial-1",
            "timeout_secs": 30,
            "answering_machine_detection": "detect",
        }


@pytest.mark.parametrize(("ring_s", "asked"), [(0.5, 5), (5.4, 5), (45.0, 45), (9000.0, 600)])
async def test_it_rings_as_long_as_telnyx_allows(ring_s: float, asked: int) -> None:
    async with office() as (it, calls):
        record = await calls.dial(replace(ORDER, ring_s=ring_s))

        assert it.placed[record.call_id].order["timeout_secs"] == asked


async def test_a_ringing_call_is_not_over_and_is_found_by_our_own_id() -> None:
    async with office() as (_, calls):
        record = await calls.dial(ORDER)
        await asyncio.sleep(1)

        assert await calls.fetch(record.call_id) == TelnyxRecord(call_id=record.call_id)
        assert await calls.active("dial-1") == TelnyxRecord(call_id=record.call_id)
        assert await calls.active("dial-2") is None


async def test_an_ended_call_has_its_outcome_in_its_events() -> None:
    async with office(Callee(fate="busy", ring_s=3)) as (_, calls):
        began = utc_now()
        record = await calls.dial(ORDER)
        await asyncio.sleep(5)

        known = await calls.fetch(record.call_id)
        assert known == TelnyxRecord(call_id=record.call_id, over=True)
        assert await calls.active("dial-1") is None
        listed = await calls.search("dial-1", to=ORDER.to, since=began)
        assert listed == TelnyxRecord(
            call_id=record.call_id, over=True, status="busy", sip_code=486
        )


async def test_events_of_other_dials_numbers_and_days_are_not_ours() -> None:
    async with office(Callee(fate="busy", ring_s=3)) as (_, calls):
        began = utc_now()
        await calls.dial(ORDER)
        await asyncio.sleep(5)

        assert await calls.search("dial-2", to=ORDER.to, since=began) is None
        assert await calls.search("dial-1", to="+15005550999", since=began) is None
        later = began.replace(year=began.year + 1)
        assert await calls.search("dial-1", to=ORDER.to, since=later) is None


async def test_ten_minutes_after_its_end_telnyx_has_forgotten_a_call() -> None:
    async with office(Callee(fate="busy", ring_s=3)) as (it, calls):
        record = await calls.dial(ORDER)
        await asyncio.sleep(5)
        placed = it.placed[record.call_id]
        assert placed.ended is not None
        placed.ended = placed.ended.replace(year=placed.ended.year - 1)

        assert await calls.fetch(record.call_id) is None


async def test_a_dial_repeated_at_once_is_one_call() -> None:
    async with office() as (it, calls):
        first, second = await calls.dial(ORDER), await calls.dial(ORDER)

        assert first.call_id == second.call_id
        assert len(it.book) == 1


async def test_an_invalid_number_is_the_numbers_fault() -> None:
    async with office() as (_, calls):
        with pytest.raises(PermanentError) as refused:
            await calls.dial(replace(ORDER, to="+1"))

        failure = refused.value.failure
        assert (failure.kind, failure.scope) == (Kind.BAD_REQUEST, Scope.PAYLOAD)
        assert failure.reason == "HTTP 422, Telnyx error 10016"


async def test_an_unknown_application_is_not_the_numbers_fault() -> None:
    async with office() as (_, calls):
        with pytest.raises(PermanentError) as refused:
            await replace(calls, connection_id="1").dial(ORDER)

        assert refused.value.failure.scope is not Scope.PAYLOAD


async def test_a_wrong_key_is_permanent_and_in_no_message() -> None:
    async with office(key="s3cret") as (_, calls):
        with pytest.raises(PermanentError) as refused:
            await calls.dial(ORDER)

    assert refused.value.failure.kind is Kind.AUTH
    assert "s3cret" not in str(refused.value)


async def test_too_many_calls_a_second_are_refused_for_their_pace_alone() -> None:
    async with office() as (it, calls):
        it.calls_per_s = 1.0
        await calls.dial(ORDER)
        with pytest.raises(TransientError) as refused:
            await calls.dial(replace(ORDER, ref="dial-2"))

        assert refused.value.failure.kind is Kind.RATE_LIMITED
        assert len(it.placed) == 1


async def test_a_telnyx_that_is_down_places_nothing_and_says_so() -> None:
    async with office() as (it, calls):
        it.account.answer_with = 503
        with pytest.raises(TransientError) as refused:
            await calls.dial(ORDER)

        assert refused.value.failure.kind is Kind.OVERLOADED
        assert it.placed == {}
