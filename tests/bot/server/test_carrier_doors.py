"""What carriers' webhooks and media sockets must prove before a call is built."""

import asyncio
import base64
import json
import re
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from plivo import plivoxml
from pydantic import SecretStr

from calls.events import CallRefused, InputRefused, ProviderFailed
from lab.simulators.carrier.exotel import ExotelManner
from lab.simulators.carrier.plivo import plivo_call
from lab.simulators.carrier.telnyx import telnyx_call, telnyx_payload
from tests.transports.carrier_server import KEY, TOKEN, CarrierServer, carrier_server
from tests.transports.twilio_server import until
from transports.exotel.routes import ExotelAuthenticator

pytestmark = pytest.mark.virtual_time

PHONE = plivo_call()
FORM = {"CallUUID": PHONE.call_sid, "From": "15005550006", "To": "15005550100"}


async def post(
    it: CarrierServer, path: str, body: bytes | dict[str, str], headers: dict[str, str]
) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{it.pool.url}{path}", data=body) as answer,
    ):
        return answer.status, await answer.text()


async def plivo(
    it: CarrierServer, form: dict[str, str], path: str = "/plivo/voice"
) -> tuple[int, str]:
    return await post(it, path, form, it.plivo.signature_headers(f"{it.pool.url}{path}", form))


def news(event: str, **payload: Any) -> bytes:
    told = telnyx_payload(telnyx_call()) | payload
    return json.dumps({"data": {"event_type": event, "payload": told}}).encode()


async def telnyx(it: CarrierServer, body: bytes) -> int:
    return (await post(it, "/telnyx/voice", body, it.telnyx.signature_headers(body)))[0]


async def test_plivo_is_answered_as_its_own_package_would_write_it() -> None:
    async with carrier_server() as it:
        status, text = await plivo(it, FORM)

        [token] = re.findall(r"token=(\w+)", text)
        expected = plivoxml.ResponseElement()
        expected.add(
            plivoxml.StreamElement(
                f"ws://127.0.0.1:{it.pool.port}/plivo/media",
                bidirectional=True,
                keepCallAlive=True,
                audioTrack="inbound",
                contentType="audio/x-mulaw;rate=8000",
                extraHeaders=f"token={token}",
            )
        )
        expected.add(plivoxml.RedirectElement(f"{it.pool.url}/plivo/after", method="POST"))
        assert status == 200
        assert len(token) >= 32
        assert canonical(text) == canonical(expected.to_string())


def canonical(text: str) -> str:
    root = ElementTree.fromstring(text)  # noqa: S314 - ours, or the package's
    return ElementTree.canonicalize(ElementTree.tostring(root), strip_text=True)


async def test_plivos_busy_tone_is_written_as_its_own_package_would() -> None:
    async with carrier_server() as it:
        it.pool.open, it.pool.why_closed = False, "full"
        _, text = await plivo(it, FORM)

        expected = plivoxml.ResponseElement().add(plivoxml.HangupElement(reason="busy"))
        assert canonical(text) == canonical(expected.to_string())
        assert it.pool.told == [CallRefused(transport="plivo", reason="full")]


BROKEN: dict[str, tuple[str, bytes | dict[str, str], dict[str, str], int, str]] = {
    "plivo, unsigned": ("plivo", FORM, {}, 403, "wrong_signature"),
    "plivo, a forged signature": (
        "plivo",
        FORM,
        {"X-Plivo-Signature-V3": "forged", "X-Plivo-Signature-V3-Nonce": "1"},
        403,
        "wrong_signature",
    ),
    "plivo, a nonce without end": (
        "plivo",
        FORM,
        {"X-Plivo-Signature-V3": "forged", "X-Plivo-Signature-V3-Nonce": "1" * 5000},
        403,
        "wrong_signature",
    ),
    "plivo, no text": ("plivo", b"\xff\xfe=\x00", {}, 400, "webhook_is_no_form"),
    "plivo, a field twice": ("plivo", b"From=1&From=2", {}, 400, "webhook_is_no_form"),
    "plivo, too big": ("plivo", b"x" * 100_000, {}, 413, "webhook_too_big_or_too_slow"),
    "telnyx, unsigned": ("telnyx", b"{}", {}, 403, "wrong_signature"),
    "telnyx, forged": (
        "telnyx",
        b"{}",
        {"telnyx-timestamp": "1", "telnyx-signature-ed25519": "AAAA"},
        403,
        "wrong_signature",
    ),
    "telnyx, too big": ("telnyx", b"x" * 100_000, {}, 413, "webhook_too_big_or_too_slow"),
}


async def test_a_forged_webhook_is_refused() -> None:
    async with carrier_server() as it:
        for carrier, body, headers, status, reason in BROKEN.values():
            answered, text = await post(it, f"/{carrier}/voice", body, headers)

            assert answered == status
            assert "Stream" not in text
            assert it.pool.told[-1] == InputRefused(transport=carrier, reason=reason)
        assert it.telnyx.commands == []
        assert len(it.pool.told) == len(BROKEN)


async def test_an_old_telnyx_event_is_refused() -> None:
    async with carrier_server(utc_s=lambda: 2_000_000_000.0) as it:
        assert await telnyx(it, news("call.initiated")) == 403
        assert it.pool.told == [InputRefused(transport="telnyx", reason="webhook_too_old")]


async def test_a_signed_webhook_without_a_call_is_refused() -> None:
    odd = (b"", b"[]", b'{"data":[]}', b"[" * 5000, news("call.initiated", call_control_id=5))
    async with carrier_server() as it:
        for body in odd:
            assert await telnyx(it, body) == 400
        assert (await plivo(it, {"From": "1"}))[0] == 400
        assert it.pool.reasons() == ["webhook_without_call_id"] * (len(odd) + 1)


async def test_an_irrelevant_event_causes_no_command() -> None:
    async with carrier_server() as it:
        for body in (
            news("call.initiated", direction="outgoing"),  # a call of ours
            news("call.answered"),  # by another application
            news("call.dtmf.received"),
        ):
            assert await telnyx(it, body) == 200
        assert (it.telnyx.commands, it.pool.told) == ([], [])


async def test_an_event_is_retried_after_a_failure_of_telnyxs_own_side() -> None:
    async with carrier_server() as it:
        for status, answered in ((500, 503), (429, 503), (422, 200), (401, 200)):
            it.telnyx.answer_with = status

            assert await telnyx(it, news("call.initiated")) == answered
            error = f"answer answered {status}"
            failed = ProviderFailed(stage="transport", provider="telnyx", error=error)
            assert it.pool.told[-1] == failed


@pytest.mark.parametrize("carrier", ["telnyx", "plivo"])
async def test_a_token_is_valid_once_and_for_its_own_call_only(carrier: str) -> None:
    async with carrier_server() as it, it.caller(carrier) as caller:
        await it.pool.call()
        used = await start_with(it, carrier, caller.instructions.parameters["token"])
        guessed = await start_with(it, carrier, "a" * 64)
        missing = await start_with(it, carrier, "")

        assert (used, guessed, missing) == (1008, 1008, 1008)
        assert len(it.pool.calls) == 1
        assert it.pool.reasons() == [
            "token_unknown_or_used",
            "token_unknown_or_used",
            "token_missing",
        ]


async def start_with(it: CarrierServer, carrier: str, token: str) -> int | None:
    """Open a stream of another call with a token; return its close code."""
    caller = it.caller(carrier)
    twiml = caller.instructions.__class__(stream_url=None, parameters={"token": token}, said="")
    url = f"ws://127.0.0.1:{it.pool.port}/{carrier}/media"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for message in caller.manner.opening_messages(caller.phone, twiml):
            await socket.send_json(message)
        async with asyncio.timeout(5):
            await socket.receive()
        return socket.close_code


@pytest.mark.parametrize("carrier", ["telnyx", "plivo"])
async def test_a_token_presented_for_another_call_is_consumed(carrier: str) -> None:
    async with carrier_server() as it:
        if carrier == "plivo":
            token = re.findall(r"token=(\w+)", (await plivo(it, FORM))[1])[0]
        else:
            await telnyx(it, news("call.initiated"))
            token = token_of(it)

        codes = [await start_with(it, carrier, token) for _ in range(2)]

        assert codes == [1008, 1008]
        assert it.pool.reasons() == ["token_of_another_call", "token_unknown_or_used"]


def token_of(it: CarrierServer) -> str:
    """Return the token that Telnyx was given with the answer."""
    [(_, _, fields)] = it.telnyx.commands
    return base64.b64decode(fields["client_state"]).decode()


async def test_exotels_handshake_must_show_the_password() -> None:
    wrong = aiohttp.encode_basic_auth(KEY, "wrong"), aiohttp.encode_basic_auth("wrong", TOKEN)
    async with carrier_server() as it, aiohttp.ClientSession() as session:
        for shown in ("", *wrong, f"Bearer {TOKEN}"):
            headers = {"Authorization": shown} if shown else {}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with session.ws_connect(f"{it.pool.url}/exotel/media", headers=headers):
                    pass
            assert refused.value.status == 403

        told = InputRefused(transport="exotel", reason="wrong_credentials")
        assert it.pool.told == [told] * 4


PAIR = aiohttp.encode_basic_auth(KEY, TOKEN)
BOTH = ExotelAuthenticator(
    key=SecretStr(KEY), token=SecretStr(TOKEN), addresses=("203.0.113.0/28",)
)
NEAR = ExotelAuthenticator(addresses=("203.0.113.0/28", "2001:db8::/32"))
HANDSHAKES: dict[str, tuple[ExotelAuthenticator, str, str, bool]] = {
    "a known address": (NEAR, "", "203.0.113.5", True),
    "a known address of the other kind": (NEAR, "", "2001:db8::1", True),
    "an unknown address": (NEAR, "", "203.0.113.99", False),
    "no address": (NEAR, "", "", False),
    "both": (BOTH, PAIR, "203.0.113.5", True),
    "the pair from elsewhere": (BOTH, PAIR, "198.51.100.1", False),
    "the address without the pair": (BOTH, "", "203.0.113.5", False),
    "letters that are no ASCII": (BOTH, "Basic é", "203.0.113.5", False),
    "nothing to go by": (ExotelAuthenticator(), "", "127.0.0.1", False),
}


@pytest.mark.parametrize(
    ("authenticator", "authorization", "address", "accepted"),
    HANDSHAKES.values(),
    ids=HANDSHAKES.keys(),
)
def test_an_exotel_handshake_needs_valid_credentials(
    authenticator: ExotelAuthenticator, authorization: str, address: str, *, accepted: bool
) -> None:
    assert authenticator.accepts_inbound(authorization, address) is accepted


async def test_an_unknown_codec_ends_the_stream() -> None:
    async with carrier_server() as it:
        caller = it.caller("exotel")
        opening = ExotelManner(rate_hz=8000).opening_messages(caller.phone, caller.instructions)
        opening[1]["start"]["media_format"]["sample_rate"] = "44100"
        url = f"{it.pool.url}/exotel/media"
        headers = {"Authorization": PAIR}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(url) as socket,
        ):
            for message in opening:
                await socket.send_json(message)
            await socket.receive()

            assert socket.close_code == 1003
        await until(lambda: bool(it.pool.told))
        assert it.pool.reasons() == ["unknown_codec"]
