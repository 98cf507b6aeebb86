"""Outbound calls over Exotel: callbacks, how media finds its dial, and access."""

import asyncio
import json
from collections.abc import Mapping

import aiohttp
import pytest
from pydantic import SecretStr

from calls.events import CallRefused, InputRefused
from calls.leg_events import LegAnswered, LegEnded, LegRinging
from calls.leg_progress import StatusCallback
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import GivenStreamManner, exotel_call
from tests.transports.carrier_server import KEY, TOKEN, CarrierServer, carrier_server
from tests.transports.conformance.accounts import dialling
from transports.exotel.dialling import Purpose, dial_proof
from transports.exotel.routes import ExotelAuthenticator, exotel_callback, read_callback
from transports.media_stream.webhooks import MAX_WEBHOOK_BYTES

pytestmark = pytest.mark.virtual_time


def proof_of(ref: str, purpose: Purpose = "status") -> str:
    return dial_proof(SecretStr(TOKEN), ref, purpose)


async def told(
    it: CarrierServer,
    *events: Mapping[str, str],
    ref: str = "d-1",
    proof: str = "",
    body: bytes | None = None,
) -> list[int]:
    """Post callbacks of a dial, as JSON, and return their answers."""
    url = f"{it.pool.url}/exotel/status/{ref}/{proof or proof_of(ref)}"
    statuses: list[int] = []
    for item in events or ({},):
        data = json.dumps(item).encode() if body is None else body
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=data) as answer,
        ):
            statuses.append(answer.status)
    return statuses


def event(kind: str, status: str = "in-progress", call_sid: str = "c1") -> dict[str, str]:
    return {"CallSid": call_sid, "EventType": kind, "Status": status}


async def test_a_call_that_we_hang_up_ends_with_its_stream() -> None:
    async with dialling("exotel", Callee(ring_s=1)) as it:
        await it.dial()
        call = await it.server.pool.call()
        await call.leg.hang_up()
        ended = await it.ended()
        await call.worker.cancel()

        assert ended.outcome == "completed"
        assert call.gone_for == []


async def test_callbacks_are_read_as_parts() -> None:
    async with dialling("exotel", Callee(fate="busy")) as it:
        it.account.exchange.callback_format = "parts"
        await it.dial()

        assert (await it.ended()).outcome == "busy"
        assert [type(fact) for fact in it.facts()] == [LegRinging, LegEnded]


async def test_an_answer_without_a_callback_is_known_by_its_stream() -> None:
    async with dialling("exotel", Callee(ring_s=1)) as it:
        it.account.exchange.silent = {"ringing", "answered"}
        call_sid = await it.dial()
        await it.server.pool.call()

        assert it.facts() == [LegAnswered(call_ref=call_sid, ref="d-1", after_s=0.0)]


async def test_an_end_that_overtakes_the_answer_is_the_end() -> None:
    async with carrier_server() as it:
        said = (event("terminal", "completed"), event("answered"), event("ringing"))
        assert await told(it, *said) == [200, 200, 200]

        assert it.pool.told == [LegEnded(call_ref="c1", ref="d-1", outcome="completed")]


async def test_a_second_stream_of_a_call_is_accepted_without_a_seat() -> None:
    async with carrier_server() as it:
        url = f"ws{it.pool.url[4:]}/exotel/media/d-1/{proof_of('d-1', 'media')}"
        it.pool.why_closed = "draining"
        async with Carrier(
            it.pool.url, "", phone=exotel_call(), manner=GivenStreamManner(url)
        ) as lost:
            await asyncio.wait_for(lost.ended.wait(), 5)
        it.pool.why_closed = ""
        async with Carrier(it.pool.url, "", phone=lost.phone, manner=GivenStreamManner(url)):
            call = await it.pool.call()

            assert call.leg.facts.dial_id == "d-1"
        assert CallRefused(transport="exotel", reason="draining") in it.pool.told


async def test_an_address_is_valid_for_one_stream() -> None:
    async with carrier_server() as it:
        url = f"ws{it.pool.url[4:]}/exotel/media/d-1/{proof_of('d-1', 'media')}"
        async with Carrier(it.pool.url, "", phone=exotel_call(), manner=GivenStreamManner(url)):
            call = await it.pool.call()
            second = Carrier(it.pool.url, "", phone=exotel_call(), manner=GivenStreamManner(url))
            async with second:
                await asyncio.wait_for(second.ended.wait(), 5)

            assert second.close_code == 1008
            assert InputRefused(transport="exotel", reason="stream_used") in it.pool.told
            assert it.pool.calls == [call]
            assert call.gone_for == []
            assert it.pool.seats_taken == 1


FORGED = {
    "nothing": "-",
    "another dial's": proof_of("d-2"),
    "the stream's": proof_of("d-1", "media"),
    "one digit off": proof_of("d-1")[:-1] + ("0" if proof_of("d-1")[-1] != "0" else "1"),
    "something endless": "0" * 5000,
}


WRONG = InputRefused(transport="exotel", reason="wrong_credentials")


async def test_a_callback_without_its_dials_proof_is_forbidden_and_changes_nothing() -> None:
    async with carrier_server() as it:
        for proof in FORGED.values():
            assert await told(it, event("terminal", "busy"), proof=proof) == [403]

        assert it.pool.told == [WRONG] * len(FORGED)


STRANGE = {
    "nothing": "-",
    "another dial's": proof_of("d-2", "media"),
    "the callback's": proof_of("d-1"),
}


async def test_a_stream_without_its_dials_proof_is_refused() -> None:
    # The applet's own pair does not prove a dial.
    pair = {"Authorization": aiohttp.encode_basic_auth(KEY, TOKEN)}
    async with carrier_server() as it, aiohttp.ClientSession(headers=pair) as session:
        for proof in STRANGE.values():
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with session.ws_connect(f"{it.pool.url}/exotel/media/d-1/{proof}"):
                    pass
            assert refused.value.status == 403

        assert it.pool.told == [WRONG] * len(STRANGE)


@pytest.mark.parametrize(
    ("address", "accepted"), [("203.0.113.5", True), ("203.0.113.99", False), ("", False)]
)
def test_an_outbound_stream_must_come_from_a_known_address_if_there_are_any(
    address: str, *, accepted: bool
) -> None:
    authenticator = ExotelAuthenticator(token=SecretStr(TOKEN), addresses=("203.0.113.0/28",))

    assert authenticator.accepts_dial("d-1", proof_of("d-1", "media"), address) is accepted


def test_without_outbound_calls_no_proof_is_valid() -> None:
    proof = proof_of("d-1", "media")

    assert not ExotelAuthenticator().accepts_dial("d-1", proof, "127.0.0.1")


async def test_a_dials_address_cannot_end_another_call() -> None:
    async with carrier_server() as it:
        await told(it, event("terminal", "busy", call_sid="c-of-d-2"))
        await told(it, event("terminal", "completed", call_sid="c-of-d-2"), ref="d-2")

        ends = [item for item in it.pool.told if isinstance(item, LegEnded)]
        said = [(end.ref, end.outcome) for end in ends]
        assert said == [("d-1", "busy"), ("d-2", "completed")]


BODIES: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "webhook_is_no_form"),
    "a list": (b"[]", 400, "webhook_is_no_form"),
    "nothing in it": (b"{}", 400, "webhook_is_no_form"),
    "too deep": (b"[" * 20_000, 400, "webhook_is_no_form"),
    "no call": (b'{"Status": "busy"}', 400, "webhook_without_call_id"),
    "a call without a name": (b'{"CallSid": ""}', 400, "webhook_without_call_id"),
    "an endless name": (json.dumps({"CallSid": "c" * 65}).encode(), 400, "webhook_without_call_id"),
    "too long": (b" " * (MAX_WEBHOOK_BYTES + 1), 413, "webhook_too_big_or_too_slow"),
}


async def test_an_unreadable_callback_is_refused() -> None:
    async with carrier_server() as it:
        statuses = [await told(it, body=body) for body, _, _ in BODIES.values()]

        assert statuses == [[status] for _, status, _ in BODIES.values()]
        assert it.pool.reasons() == [reason for _, _, reason in BODIES.values()]


SAID: dict[str, tuple[dict[str, str], str, str]] = {
    "it rings": ({"eventtype": "ringing", "status": "queued"}, "ringing", ""),
    "somebody answered": ({"eventtype": "answered", "status": "completed"}, "in-progress", ""),
    "over": ({"eventtype": "terminal", "status": "no-answer"}, "no-answer", ""),
    "over, in capitals": ({"eventtype": "TERMINAL", "status": "Busy"}, "busy", ""),
    "over, without the event": ({"status": "completed"}, "completed", ""),
    "called off": ({"eventtype": "terminal", "status": "canceled"}, "canceled", ""),
    "failed": ({"eventtype": "terminal", "status": "failed"}, "failed", ""),
    "over, in a word of its own": ({"eventtype": "terminal", "status": "gone"}, "failed", "gone"),
    "over, without a word": ({"eventtype": "terminal"}, "failed", ""),
    "endless": ({"eventtype": "terminal", "status": "x" * 9000}, "failed", "x" * 64),
    "going on": ({"status": "in-progress"}, "", ""),
    "nothing": ({}, "", ""),
}


@pytest.mark.parametrize(("more", "status", "reason"), SAID.values(), ids=SAID.keys())
def test_a_callbacks_status_and_reason_are_its_fields(
    more: dict[str, str], status: str, reason: str
) -> None:
    assert exotel_callback({"callsid": "c1"} | more, ref="d-1") == StatusCallback(
        call_ref="c1", ref="d-1", status=status, reason=reason
    )


PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="CallSid"\r\n\r\nc1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="Status"\r\n\r\nbusy\r\n--x--\r\n'
)
FORMS: dict[str, tuple[bytes, str, dict[str, str] | None]] = {
    "parts": (PARTS, 'multipart/form-data; boundary="x"', {"callsid": "c1", "status": "busy"}),
    "parts without a boundary": (PARTS, "multipart/form-data", None),
    "parts that are none": (b"", "multipart/form-data; boundary=x", None),
    "a form": (b"CallSid=c1&Status=busy", "application/x-www-form-urlencoded",
               {"callsid": "c1", "status": "busy"}),
    "a form of no kind": (b"CallSid=c1", "", {"callsid": "c1"}),
    "a name twice": (b"CallSid=c1&CallSid=c2", "", None),
    "no text": (b"\xff\xfe", "", None),
    "JSON": (b'{"CallSid": "c1", "Legs": [1]}', "application/json; charset=utf-8",
             {"callsid": "c1"}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "fields"), FORMS.values(), ids=FORMS.keys())
def test_a_callbacks_fields_are_read_in_any_format(
    body: bytes, kind: str, fields: dict[str, str] | None
) -> None:
    assert read_callback(body, kind) == fields
