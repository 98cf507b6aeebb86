"""After a stream's end: the caller is connected again, or the call is over."""

import asyncio
from xml.etree import ElementTree

import aiohttp
import pytest
from pipecat.frames.frames import EndFrame

from calls.events import InputRefused
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import (
    PhoneCall,
    read_twiml,
    signature,
)
from tests.bot.server.test_twilio_door import start_with
from tests.bot.server.twiml import verbs
from tests.transports.twilio_server import TOKEN, WorkerPool, pool, tone, until
from transports.pool import SEAT_S

pytestmark = pytest.mark.virtual_time

HUNG_UP = ["Response", "Hangup"]
CONNECTED = ["Response", "Connect", "Stream", "Parameter"]


async def ask(
    it: WorkerPool, phone: PhoneCall, *, path: str = "after", status: str = "in-progress"
) -> str:
    """Ask for the next instructions, as Twilio; return the TwiML, or nothing after an error."""
    form, url = phone.form() | {"CallStatus": status}, f"{it.url}/twilio/{path}"
    headers = {"X-Twilio-Signature": signature(TOKEN, url, form)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=form) as answer,
    ):
        if answer.status == 503:
            return ""
        assert answer.status == 200
        assert answer.content_type == "text/xml"
        return await answer.text()


async def test_a_running_call_is_connected_with_a_token_of_its_own() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        await it.call()
        first = caller.instructions.parameters["token"]

        text = await ask(it, caller.phone)

        twiml = read_twiml(text)
        assert verbs(text) == CONNECTED
        assert twiml.stream_url == f"ws://127.0.0.1:{it.port}/twilio/media"
        assert twiml.action == f"{it.url}/twilio/after"
        assert twiml.parameters["token"] != first


async def test_a_call_that_the_agent_has_ended_is_hung_up() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await call.say(tone(0.2))
        await call.worker.queue_frame(EndFrame())
        await asyncio.wait_for(caller.ended.wait(), 5)

        assert caller.ended_by == "agent"
        assert len(caller.lost_at) == 1
        assert verbs(await ask(it, caller.phone)) == HUNG_UP


async def test_an_unknown_call_is_hung_up() -> None:
    async with pool(returns_within_s=30) as it:
        assert verbs(await ask(it, PhoneCall())) == HUNG_UP


@pytest.mark.parametrize("status", ["completed", "canceled", "busy"])
async def test_a_call_that_ended_at_the_carrier_ends_here_too(status: str) -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        caller.vanish()

        assert verbs(await ask(it, caller.phone, status=status)) == HUNG_UP
        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == ["caller_hung_up"]


async def test_without_patience_a_lost_stream_ends_the_call() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.break_off()
        await asyncio.wait_for(caller.ended.wait(), 5)

        assert call.gone_for == ["connection_lost"]


async def test_a_stream_that_never_began_is_requested_three_times() -> None:
    phone = PhoneCall()
    async with pool(returns_within_s=30) as it:
        said = [await ask(it, phone, path="voice")]
        said += [await ask(it, phone) for _ in range(3)]

        assert [verbs(item) for item in said] == [CONNECTED, CONNECTED, CONNECTED, HUNG_UP]
        assert it.calls == []


@pytest.mark.parametrize("path", ["voice", "after"])
@pytest.mark.parametrize("why_closed", ["full", "draining"])
async def test_a_call_that_cannot_begin_is_sent_to_the_fallback_only_while_draining(
    path: str, why_closed: str
) -> None:
    phone = PhoneCall()
    async with pool(returns_within_s=30) as it:
        await ask(it, phone, path="voice")
        it.open, it.why_closed = False, why_closed

        said = await ask(it, phone, path=path)

        assert (said == "") == (why_closed == "draining")
        assert not said or verbs(said) == ["Response", "Say", "Hangup"]


@pytest.mark.parametrize("direction", ["outbound-api", "outbound-dial"])
async def test_a_contact_is_not_asked_to_call_again(direction: str) -> None:
    phone = PhoneCall(direction=direction)
    async with pool(returns_within_s=30) as it:
        await ask(it, phone, path="voice")
        it.open, it.why_closed = False, "draining"

        assert verbs(await ask(it, phone)) == HUNG_UP
        assert verbs(await ask(it, PhoneCall(direction=direction), path="voice")) == HUNG_UP


async def test_a_token_for_a_running_call_is_valid_once() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1 and not call.leg._line.up.is_set())
        await until(call.leg._line.up.is_set)

        code = await start_with(it, caller.phone, caller.instructions.parameters["token"])

        assert code == 1008
        assert it.reasons() == ["token_unknown_or_used"]
        assert call.gone_for == []


async def test_a_token_for_a_running_call_is_invalid_for_another() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        await it.call()
        token = read_twiml(await ask(it, caller.phone)).parameters["token"]

        code = await start_with(it, PhoneCall(), token)

        assert (code, it.reasons()) == (1008, ["token_of_another_call"])
        assert len(it.calls) == 1


async def test_a_token_for_a_running_call_expires_after_half_a_minute() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        await it.call()
        token = read_twiml(await ask(it, caller.phone)).parameters["token"]
        it.now_ahead_s = 30.1

        code = await start_with(it, caller.phone, token)

        assert (code, it.reasons()) == (1008, ["token_expired"])


async def test_a_token_for_an_ended_call_opens_nothing() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        token = read_twiml(await ask(it, caller.phone)).parameters["token"]
        await caller.hang_up()
        await asyncio.wait_for(call.over.wait(), 5)

        code = await start_with(it, caller.phone, token)

        assert (code, it.reasons()) == (1008, ["call_is_over"])
        assert len(it.calls) == 1


async def test_a_missing_or_wrong_signature_is_forbidden() -> None:
    async with (
        pool(returns_within_s=30) as it,
        Carrier(it.url, TOKEN) as caller,
        aiohttp.ClientSession() as session,
    ):
        await it.call()
        form = caller.phone.form()
        of_another_webhook = signature(TOKEN, f"{it.url}/twilio/voice", form)
        for proof in ("", "wrong", of_another_webhook):
            headers = {"X-Twilio-Signature": proof}
            async with session.post(f"{it.url}/twilio/after", data=form, headers=headers) as answer:
                assert (answer.status, await answer.text()) == (403, "Forbidden")

        assert it.told == [InputRefused(transport="twilio", reason="wrong_signature")] * 3


async def test_every_answer_is_one_that_twilios_library_would_write() -> None:
    async with pool(returns_within_s=30) as it:
        for text in (await ask(it, PhoneCall(), path="voice"), await ask(it, PhoneCall())):
            assert ElementTree.fromstring(text).tag == "Response"  # noqa: S314
            assert verbs(text)


async def test_a_call_that_lost_its_worker_waits_for_a_seat() -> None:
    phone = PhoneCall()
    async with pool(returns_within_s=30) as it:
        await ask(it, phone, path="voice")
        it.open, it.why_closed = False, "busy"
        waiting = asyncio.create_task(ask(it, phone))
        again = asyncio.create_task(ask(it, phone))  # the carrier reports the same loss twice
        await asyncio.sleep(SEAT_S / 2)
        assert not waiting.done()
        it.open, it.why_closed = True, ""

        assert verbs(await waiting) == verbs(await again) == CONNECTED
        assert it.seats_taken == 1


async def test_a_call_that_finds_no_seat_in_time_is_told_so_and_forgotten() -> None:
    phone = PhoneCall()
    async with pool(returns_within_s=30) as it:
        await ask(it, phone, path="voice")
        it.open, it.why_closed = False, "busy"

        assert verbs(await ask(it, phone)) == ["Response", "Say", "Hangup"]
        it.open, it.why_closed = True, ""
        assert verbs(await ask(it, phone)) == HUNG_UP
