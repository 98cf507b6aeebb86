"""Telnyx calls whose stream has ended, and calls that Telnyx itself continues."""

import asyncio
import base64
from typing import Any

import aiohttp
import pytest

from calls.events import CallRefused, ProviderFailed
from calls.handover import Destination
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.telnyx import telnyx_call, telnyx_payload
from lab.simulators.carrier.webhook import NotConnectedError
from tests.bot.server.test_telnyx_dials import commands, telnyx_dialling, told
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import tone, until
from transports.pool import SEAT_S
from transports.telnyx.events import CALLER, HANDED_ON, plain_state

pytestmark = pytest.mark.virtual_time

BILLING = Destination(name="billing", number="+15005550199")
TOKEN = "0123456789abcdef" * 4
OVER = ("streaming.failed", "streaming.stopped")


def encoded(state: str) -> str:
    return base64.b64encode(state.encode()).decode()


async def news_of(it: CarrierServer, event: str, **payload: Any) -> int:
    """Report a call that no process knows, as Telnyx; return the answer."""
    return await told(it, event, **{"direction": "incoming"} | payload)


async def test_a_restarted_call_is_hung_up_on_while_all_seats_are_taken() -> None:
    async with carrier_server(returns_within_s=30) as it:
        it.pool.full = True
        async with it.caller("telnyx") as caller:  # its stream is closed before there is a call
            it.pool.why_closed = "busy"
            await asyncio.wait_for(caller.ended.wait(), SEAT_S + 2)

            assert caller.ended_by == "agent"
        assert commands(it) == ["answer", "streaming_start", "hangup"]
        assert it.pool.told == [CallRefused(transport="telnyx", reason="busy")]


@pytest.mark.parametrize("carrier", ["telnyx", "plivo"])
async def test_a_restarted_call_waits_for_a_seat(carrier: str) -> None:
    async with carrier_server(returns_within_s=30) as it:
        it.pool.full = True
        async with it.caller(carrier) as caller:  # its stream is closed before there is a call
            it.pool.why_closed = "busy"
            await until(lambda: bool(caller.lost_at))
            await asyncio.sleep(SEAT_S / 2)
            assert it.pool.calls == []
            it.pool.full, it.pool.why_closed = False, ""
            await it.pool.call()

            assert not caller.ended.is_set()
        assert it.pool.told == []


async def test_a_restarted_dial_is_hung_up_on_while_all_seats_are_taken() -> None:
    async with telnyx_dialling(Callee(), returns_within_s=30) as (it, on):
        it.pool.full = True
        call_id = await on.dial()
        await until(lambda: it.exchange.placed[call_id].carrier is not None)
        it.pool.why_closed = "busy"
        await until(lambda: it.exchange.placed[call_id].ended is not None)

        assert commands(it) == ["streaming_start", "hangup"]


@pytest.mark.parametrize("state", [TOKEN, CALLER, plain_state("d-1")])
@pytest.mark.parametrize("event", OVER)
async def test_our_call_that_no_process_knows_is_hung_up_on(event: str, state: str) -> None:
    async with carrier_server() as it:
        assert await news_of(it, event, client_state=encoded(state)) == 200
        assert commands(it) == ["hangup"]


async def test_a_caller_transferred_by_a_lost_process_or_of_another_application_is_left_alone() -> (
    None
):
    states = (encoded(HANDED_ON + CALLER), encoded(HANDED_ON + plain_state("d-1")), None)
    async with carrier_server() as it:
        for event in OVER:
            for state in states:
                assert await news_of(it, event, client_state=state) == 200
        assert commands(it) == []


async def test_an_event_with_an_older_state_does_not_cut_a_caller_from_a_person() -> None:
    async with carrier_server() as it, it.caller("telnyx") as caller:
        call, older = await it.pool.call(), it.telnyx.states[caller.phone.call_sid]
        it.telnyx.people[BILLING.number] = "answered"
        assert await call.leg.transfer(BILLING, ring_s=20) == "connected"
        await call.leg.hang_up("transfer")
        await until(lambda: len(caller.lost_at) == 1)
        payload = telnyx_payload(caller.phone) | {"client_state": older}
        async with aiohttp.ClientSession() as session:
            url = f"{it.pool.url}/telnyx/voice"
            await it.telnyx.emit(session, url, "streaming.stopped", payload)
        await call.worker.cancel()

        assert not caller.ended.is_set()
        assert "hangup" not in commands(it)


async def test_a_contact_who_answered_is_finally_hung_up_on_when_all_seats_are_taken() -> None:
    async with carrier_server() as it:
        it.pool.why_closed = "busy"
        it.telnyx.refuses["hangup"] = 500
        answered = {"call_control_id": "v3:x", "client_state": encoded(plain_state("d-1"))}

        assert await told(it, "call.answered", **answered) == 503
        del it.telnyx.refuses["hangup"]
        assert await told(it, "call.answered", **answered) == 200
        assert commands(it) == ["hangup"]


async def test_a_failed_hang_up_makes_telnyx_repeat_the_event() -> None:
    async with carrier_server() as it:
        it.telnyx.refuses["hangup"] = 500

        assert await news_of(it, "streaming.failed", client_state=encoded(TOKEN)) == 503
        failed = ProviderFailed(stage="transport", provider="telnyx", error="hang-up answered 500")
        assert it.pool.told == [failed]


async def test_a_lost_stream_is_followed_by_one_however_often_it_is_reported() -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        call = await it.pool.call()
        it.telnyx.repeats = 3
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(1)
        await call.say(tone(0.3))
        await until(lambda: bool(caller.ear.bursts))

        assert len(it.telnyx.commands_so_far(caller.phone.call_sid, "streaming_start")) == 2
        assert len(caller.lost_at) == 1


async def test_a_call_restarts_once_however_often_its_loss_is_reported() -> None:
    async with carrier_server(returns_within_s=30) as it:
        it.pool.full = True
        async with it.caller("telnyx") as caller:  # its stream is closed before there is a call
            await until(lambda: len(caller.lost_at) == 1)
            it.pool.full, it.telnyx.repeats = False, 4
            await it.pool.call()

            assert not caller.ended.is_set()
            assert len(it.telnyx.commands_so_far(caller.phone.call_sid, "streaming_start")) == 2


async def test_a_refused_second_stream_does_not_end_a_running_call() -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        call = await it.pool.call()
        it.telnyx.refuses["streaming_start"] = 422
        await it.news(caller, "streaming.failed")
        await asyncio.sleep(1)

        assert commands(it) == ["answer", "streaming_start"]
        assert call.gone_for == []


async def test_a_stream_that_fails_briefly_at_telnyx_is_requested_again() -> None:
    async with carrier_server() as it:
        it.telnyx.refuses["streaming_start"] = 503
        asyncio.get_running_loop().call_later(1.0, it.telnyx.refuses.clear)
        async with it.caller("telnyx") as caller:
            call = await it.pool.call()
            await call.say(tone(0.3))
            await until(lambda: bool(caller.ear.bursts))

        error = "streaming_start answered 503"
        failed = ProviderFailed(stage="transport", provider="telnyx", error=error)
        assert it.pool.told == [failed] * 3
        assert commands(it)[:2] == ["answer", "streaming_start"]


@pytest.mark.parametrize("status", [422, 429, 503])
async def test_a_call_whose_stream_is_refused_or_keeps_failing_is_hung_up_on(status: int) -> None:
    async with carrier_server() as it:
        it.telnyx.refuses["streaming_start"] = status
        with pytest.raises(NotConnectedError) as refused:
            await it.caller("telnyx").__aenter__()

        assert refused.value.said == "hung up"
        assert commands(it) == ["answer", "hangup"]
        error = f"streaming_start answered {status}"
        failed = ProviderFailed(stage="transport", provider="telnyx", error=error)
        assert set(it.pool.told) == {failed}


@pytest.mark.parametrize("status", [422, 503])
async def test_an_answered_dial_whose_stream_is_refused_or_keeps_failing_is_hung_up_on(
    status: int,
) -> None:
    async with telnyx_dialling(Callee()) as (it, on):
        it.telnyx.refuses["streaming_start"] = status
        call_id = await on.dial()
        await until(lambda: it.exchange.placed[call_id].ended is not None)

        assert commands(it) == ["hangup"]


async def test_a_failed_hang_up_is_repeated_with_the_next_event() -> None:
    async with carrier_server() as it:
        it.telnyx.refuses |= {"streaming_start": 503, "hangup": 500}
        caller = it.caller("telnyx")
        with pytest.raises(NotConnectedError):
            await caller.__aenter__()
        assert commands(it) == ["answer"]
        del it.telnyx.refuses["hangup"]
        await it.news(caller, "call.answered", client_state=it.telnyx.states[caller.phone.call_sid])

        assert commands(it) == ["answer", "hangup"]


async def test_a_failed_second_stream_does_not_end_a_running_call() -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        call = await it.pool.call()
        it.telnyx.refuses["streaming_start"] = 503
        with pytest.raises(NotConnectedError):
            await it.news(caller, "streaming.failed")

        assert commands(it) == ["answer", "streaming_start"]
        assert call.gone_for == []


async def test_a_failing_stream_of_an_ended_call_hangs_up_on_no_party() -> None:
    async with carrier_server() as it:
        it.telnyx.refuses["streaming_start"] = 503
        answered = {"call_control_id": telnyx_call().call_sid, "client_state": encoded(TOKEN)}

        assert await news_of(it, "call.answered", **answered) == 503
        assert commands(it) == []


async def test_a_running_call_takes_no_second_seat_when_its_ringing_is_repeated() -> None:
    async with carrier_server() as it, it.caller("telnyx") as caller:
        await it.pool.call()
        again = await news_of(it, "call.initiated", call_control_id=caller.phone.call_sid)

        assert again == 200
        assert (len(it.pool.calls), it.pool.seats_taken) == (1, 1)
