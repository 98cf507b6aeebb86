"""What the webhook and a media socket must prove before a call is built."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.workers.pool import MAX_KEPT, KeyValueStore
from calls.events import CallRefused, InputRefused
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import (
    CallInstructions,
    NotConnectedError,
    PhoneCall,
    read_twiml,
    signature,
    start_message,
)
from tests.transports.twilio_server import COMMON, TOKEN, WorkerPool, pool, until
from transports.media_stream import sockets
from transports.media_stream.leg import CarriedCall
from transports.media_stream.tokens import Ticket, Tokens

pytestmark = pytest.mark.virtual_time

FORM = PhoneCall().form()
CONNECTED = json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


async def ring(
    it: WorkerPool, form: dict[str, str], *, proof: str | None, query: str = ""
) -> tuple[int, str]:
    headers = {} if proof is None else {"X-Twilio-Signature": proof}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{it.url}/twilio/voice{query}", data=form) as answer,
    ):
        return answer.status, await answer.text()


def signed(it: WorkerPool, form: dict[str, str], query: str = "") -> str:
    return signature(TOKEN, f"{it.url}/twilio/voice{query}", form)


async def test_the_answer_connects_the_call_to_our_media_socket_with_a_token() -> None:
    async with pool() as it:
        status, text = await ring(it, FORM, proof=signed(it, FORM))

        twiml = read_twiml(text)
        assert status == 200
        assert twiml.stream_url == f"ws://127.0.0.1:{it.port}/twilio/media"
        assert len(twiml.parameters["token"]) >= 32
        assert re.findall(r"<(\w+)", text) == ["Response", "Connect", "Stream", "Parameter"]


async def test_a_query_string_is_part_of_the_signed_address() -> None:
    async with pool() as it:
        right = await ring(it, FORM, proof=signed(it, FORM, "?a=1&b=2"), query="?a=1&b=2")
        wrong = await ring(it, FORM, proof=signed(it, FORM), query="?a=1&b=2")

        assert (right[0], wrong[0]) == (200, 403)


async def test_twilio_may_sign_for_each_of_our_addresses_and_no_other() -> None:
    async with pool() as it, aiohttp.ClientSession() as session:
        for path in ("/twilio/voice", "/twilio/after", "/twilio/status"):
            for signed_for, accepted in ((COMMON, True), ("https://other.example.com", False)):
                proof = {"X-Twilio-Signature": signature(TOKEN, f"{signed_for}{path}", FORM)}
                async with session.post(f"{it.url}{path}", data=FORM, headers=proof) as answer:
                    status = answer.status

                assert (status < 300, status == 403) == (accepted, not accepted), path


async def test_a_stream_goes_to_our_own_address_whichever_name_the_webhook_used() -> None:
    async with pool() as it:
        _, text = await ring(it, FORM, proof=signature(TOKEN, f"{COMMON}/twilio/voice", FORM))

        assert read_twiml(text).stream_url == f"ws://127.0.0.1:{it.port}/twilio/media"


async def test_a_missing_or_wrong_signature_is_forbidden() -> None:
    changed = FORM | {"From": "+19995550000"}  # in transit
    async with pool() as it:
        shown = [
            *((FORM, proof) for proof in (None, "", "wrong", "jnHHJVRuc+5O5HxzOjyUz1Q19Bc=")),
            (changed, signed(it, FORM)),
        ]
        answers = [await ring(it, form, proof=proof) for form, proof in shown]

        assert [status for status, _ in answers] == [403] * 5
        assert not any("Stream" in text for _, text in answers)
        assert it.told == [InputRefused(transport="twilio", reason="wrong_signature")] * 5


async def test_a_webhook_that_is_too_big_or_no_text_is_refused() -> None:
    async with pool() as it, aiohttp.ClientSession() as session:
        too_big, _ = await ring(it, FORM | {"Extra": "x" * 100_000}, proof="whatever")
        async with session.post(f"{it.url}/twilio/voice", data=b"\xff\xfe=\x00") as answer:
            assert (too_big, answer.status) == (413, 400)


async def test_a_full_server_says_so_and_hangs_up() -> None:
    async with pool() as it:
        it.open, it.why_closed = False, "full"

        with pytest.raises(NotConnectedError) as refused:
            await Carrier(it.url, TOKEN).__aenter__()

        assert refused.value.status == 200
        assert "busy" in refused.value.said
        _, text = await ring(it, FORM, proof=signed(it, FORM))
        assert re.findall(r"<(\w+)", text) == ["Response", "Say", "Hangup"]
        assert it.told[0] == CallRefused(transport="twilio", reason="full")


async def test_a_server_that_has_become_full_closes_the_socket() -> None:
    async with pool() as it:
        it.full = True

        async with Carrier(it.url, TOKEN) as caller:
            await asyncio.wait_for(caller.ended.wait(), 5)

        assert caller.close_code == 1013


@asynccontextmanager
async def media_socket(
    it: WorkerPool, *, proof: str | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {} if proof is None else {"X-Twilio-Signature": proof}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"ws://127.0.0.1:{it.port}/twilio/media") as socket,
    ):
        yield socket


async def start_with(it: WorkerPool, phone: PhoneCall, token: str | None) -> int | None:
    """Open a stream with a token; return its close code."""
    parameters = {} if token is None else {"token": token}
    twiml = CallInstructions(stream_url=None, parameters=parameters, said="")
    async with media_socket(it) as socket:
        await socket.send_str(CONNECTED)
        await socket.send_json(start_message(phone, twiml))
        async with asyncio.timeout(5):
            await socket.receive()
        return socket.close_code


async def token_for(it: WorkerPool, phone: PhoneCall) -> str:
    _, text = await ring(it, phone.form(), proof=signed(it, phone.form()))
    return read_twiml(text).parameters["token"]


async def test_without_a_token_no_call_is_assembled() -> None:
    async with pool() as it:
        codes = [await start_with(it, PhoneCall(), token) for token in (None, "", "guessed")]

        assert codes == [1008] * 3
        assert it.calls == []
        assert len(it.told) == 3


async def test_a_token_is_valid_once() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        await it.call()

        code = await start_with(it, caller.phone, caller.instructions.parameters["token"])

        assert code == 1008
        assert len(it.calls) == 1
        assert it.reasons() == ["token_unknown_or_used"]


async def test_a_token_of_another_call_is_refused() -> None:
    async with pool() as it:
        token = await token_for(it, PhoneCall())

        code = await start_with(it, PhoneCall(), token)

        assert code == 1008
        assert it.reasons() == ["token_of_another_call"]


async def test_a_token_expires_after_a_minute() -> None:
    phone = PhoneCall()
    async with pool() as it:
        token = await token_for(it, phone)
        it.now_ahead_s = 60.1

        code = await start_with(it, phone, token)

        assert code == 1008
        assert it.reasons() == ["token_expired"]


BEFORE_START = {
    "media": (json.dumps({"event": "media", "media": {"payload": "////"}}), "media_before_start"),
    "a key": (json.dumps({"event": "dtmf", "dtmf": {"digit": "1"}}), "media_before_start"),
    "stop": (json.dumps({"event": "stop"}), "media_before_start"),
    "no JSON": ("hello", "not_json"),
    "much too much": ("x" * 100_000, "message_too_big"),
}


async def test_only_a_start_message_begins_a_call() -> None:
    async with pool() as it:
        for text, reason in BEFORE_START.values():
            async with media_socket(it) as socket:
                await socket.send_str(CONNECTED)
                await socket.send_str(text)
                closing = await asyncio.wait_for(socket.receive(), 5)

            assert closing.type is aiohttp.WSMsgType.CLOSE
            assert it.reasons()[-1] == reason
        assert it.calls == []
        assert len(it.reasons()) == len(BEFORE_START)


async def test_the_servers_own_limit_is_reported_before_a_start_too() -> None:
    async with pool() as it, media_socket(it) as socket:
        await socket.send_str("x" * 1_000_000)
        await until(lambda: bool(it.told))

        assert it.reasons() == ["message_too_big"]


async def test_a_socket_that_never_starts_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "START_S", 0.1)
    async with pool() as it, media_socket(it) as socket:
        await socket.send_str(CONNECTED)
        closing = await asyncio.wait_for(socket.receive(), 5)

        assert closing.type is aiohttp.WSMsgType.CLOSE
        assert it.reasons() == ["no_start_in_time"]


async def test_a_socket_that_chatters_without_a_start_is_closed() -> None:
    async with pool() as it, media_socket(it) as socket:
        for _ in range(10):
            await socket.send_str('{"event":"weather"}')
        closing = await asyncio.wait_for(socket.receive(), 5)

        assert closing.type is aiohttp.WSMsgType.CLOSE
        assert it.reasons() == ["no_start"]


async def test_the_oldest_socket_without_a_start_is_closed_to_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "MAX_WAITING", 1)
    async with pool() as it, media_socket(it) as first, media_socket(it) as second:
        closing = await asyncio.wait_for(first.receive(), 5)

        assert closing.data == 1013
        assert not second.closed
        assert it.reasons() == ["too_many_sockets_without_a_start"]


@pytest.mark.parametrize("slash", ["", "/"], ids=["as in the TwiML", "with a trailing slash"])
async def test_a_signed_handshake_is_not_dropped_for_an_unsigned_one(
    slash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_WAITING", 1)
    async with pool() as it:
        proof = signature(TOKEN, f"ws://127.0.0.1:{it.port}/twilio/media{slash}", {})
        async with media_socket(it, proof=proof) as twilio, media_socket(it) as stranger:
            closing = await asyncio.wait_for(stranger.receive(), 5)

            assert closing.data == 1013
            assert not twilio.closed


async def test_a_wrong_signature_counts_as_unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_WAITING", 1)
    async with (
        pool() as it,
        media_socket(it, proof="forged") as first,
        media_socket(it) as second,
    ):
        closing = await asyncio.wait_for(first.receive(), 5)

        assert closing.data == 1013
        assert not second.closed


CALL = CarriedCall(call_ref="CA1", caller="a", called="b")


def ticket_store() -> KeyValueStore:
    return KeyValueStore(clock=lambda: 0.0)


async def test_a_ticket_is_returned_for_its_own_call_only_once() -> None:
    tokens, ticket = Tokens(ticket_store(), "twilio"), Ticket(call=CALL, seat=7)
    token = await tokens.issue(ticket, now=0.0)

    assert await tokens.redeem(token, call_sid="CA1", now=59.9) == ticket
    assert await tokens.redeem(token, call_sid="CA1", now=59.9) == "token_unknown_or_used"


async def test_a_token_of_another_carrier_is_refused_and_stays_valid() -> None:
    key_values = ticket_store()
    token = await Tokens(key_values, "twilio").issue(Ticket(call=CALL), now=0.0)
    told = await Tokens(key_values, "telnyx").redeem(token, call_sid="CA1", now=0.0)

    assert told == "token_unknown_or_used"
    assert await Tokens(key_values, "twilio").redeem(token, call_sid="CA1", now=0.0) == Ticket(
        call=CALL
    )


@pytest.mark.parametrize(
    "token",
    ["call CA1", "progress CA1", "call CA1".ljust(64), "A" * 64, "é" * 64, "a" * 65],
    ids=["a call", "its progress", "as long", "capitals", "other letters", "longer"],
)
async def test_a_malformed_token_takes_no_stored_call(token: str) -> None:
    key_values = ticket_store()
    await key_values.keep(f"twilio token {token}", "what is known of a call", for_s=60.0)

    told = await Tokens(key_values, "twilio").redeem(token, call_sid="CA1", now=0.0)

    assert told == "token_unknown_or_used"
    assert await key_values.take(f"twilio token {token}") == "what is known of a call"


async def test_unused_tokens_fill_no_memory() -> None:
    tokens, ticket = Tokens(ticket_store(), "twilio"), Ticket(call=CALL)
    first = await tokens.issue(ticket, now=0.0)
    last = [await tokens.issue(ticket, now=1.0) for _ in range(MAX_KEPT)][-1]

    assert await tokens.redeem(first, call_sid="CA1", now=2.0) == "token_unknown_or_used"
    assert await tokens.redeem(last, call_sid="CA1", now=2.0) == ticket
