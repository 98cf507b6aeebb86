"""Calls that we place, with every carrier: their events, their streams, and what proves them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pytest

from bot.call.briefs import Briefs
from bot.outbound.call_ledger import CarrierReports
from calls.dialled import judge_dial
from calls.events import CallRefused, InputRefused
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegRinging
from configuration.agent import AgentSettings
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.plivo import plivo_call, plivo_form
from lab.simulators.carrier.telnyx import telnyx_call, telnyx_payload
from lab.simulators.carrier.webhook import PhoneCall, signature
from tests.campaigns.placing import OURS, A
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.conformance.accounts import OPENERS, dialling, no_briefs
from tests.transports.twilio_server import COMMON, tone, until
from tests.transports.twilio_server import TOKEN as TWILIO_TOKEN
from transports.telnyx.events import encoded_state

pytestmark = pytest.mark.virtual_time

EVERY: Final = pytest.mark.parametrize("carrier", OPENERS)


def of(*carriers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("carrier", carriers)


async def report(
    it: CarrierServer,
    carrier: str,
    call_ref: str = "",
    *,
    path: str = "status",
    address: str = "",
    dial: str = "",
    signed_dial: str | None = None,
    proof: str | None = None,
    **more: Any,
) -> int:
    """Report the end of a call, as a carrier that signs; return the answer's status.

    Args:
        it: The server.
        carrier: A carrier that signs.
        call_ref: The carrier's id of the call; a new one if empty.
        path: The webhook.
        address: The server's address in the signature; its usual one if empty.
        dial: Our own id of the dial.
        signed_dial: The id that is signed, if it differs from `dial`.
        proof: Sent in place of the valid signature.
        more: Further fields.
    """
    signed_dial = dial if signed_dial is None else signed_dial
    if carrier == "telnyx":
        body, headers = _telnyx_report(it, call_ref, dial, signed_dial, more)
        named, url = "telnyx-signature-ed25519", f"{it.pool.url}/telnyx/voice"
    else:
        base, query = f"/{carrier}/{path}", f"?dial={dial}" if dial else ""
        signed = (address or it.pool.url) + base + (f"?dial={signed_dial}" if signed_dial else "")
        url = f"{it.pool.url}{base}{query}"
        if carrier == "twilio":
            body = PhoneCall().form() | {"CallStatus": "completed"} | more
            body |= {"CallSid": call_ref} if call_ref else {}
            named = "X-Twilio-Signature"
            headers = {named: signature(TWILIO_TOKEN, signed, body)}
        else:
            body = plivo_form(plivo_call(), "completed") | {"Event": "Hangup"} | more
            body |= {"CallUUID": call_ref} if call_ref else {}
            named, headers = "X-Plivo-Signature-V3", it.plivo.signature_headers(signed, body)
    if proof is not None:
        headers[named] = proof
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=body) as answer,
    ):
        return answer.status


def _telnyx_report(
    it: CarrierServer, call_ref: str, dial: str, signed_dial: str, more: dict[str, Any]
) -> tuple[bytes, dict[str, str]]:
    payload = telnyx_payload(telnyx_call()) | {"direction": "outgoing"} | more
    payload |= {"call_control_id": call_ref} if call_ref else {}
    payload |= {"client_state": encoded_state(signed_dial)} if signed_dial else {}
    signed = json.dumps({"data": {"event_type": "call.hangup", "payload": payload}}).encode()
    body = signed.replace(encoded_state(signed_dial).encode(), encoded_state(dial).encode())
    return body, it.telnyx.signature_headers(signed)


ENDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "twilio": {"sip_code": 200},
    "telnyx": {"sip_code": 200, "reason": "normal_clearing"},
    "plivo": {},
    "exotel": {},
}


@EVERY
async def test_a_call_that_we_place_is_an_ordinary_call(carrier: str) -> None:
    async with dialling(carrier, Callee(ring_s=3)) as it:
        await it.dial()
        call, person = await it.server.pool.call(), await it.person()
        await call.say(tone(0.3))
        await until(lambda: bool(person.ear.bursts))
        await person.hang_up()
        await it.ended()

        ref = it.account.ids[0]
        facts = call.leg.facts
        assert (facts.direction, facts.call_ref, facts.dial_id) == ("outbound", ref, "d-1")
        assert facts.caller.endswith(OURS.removeprefix("+"))
        assert facts.called.endswith(A.removeprefix("+"))
        ringing, answered, ended = it.facts(LegRinging, LegAnswered, LegEnded)
        assert ringing == LegRinging(call_ref=ref, ref="d-1")
        assert isinstance(answered, LegAnswered)
        assert (answered.call_ref, answered.ref) == (ref, "d-1")
        assert answered.after_s == pytest.approx(3, abs=0.5)
        assert ended == LegEnded(call_ref=ref, ref="d-1", outcome="completed", **ENDS[carrier])
        assert person.complaints == []


UNANSWERED: Final[Mapping[str, Mapping[Fate, tuple[int | None, str]]]] = {
    "twilio": {"busy": (486, ""), "no-answer": (487, ""), "failed": (404, "")},
    "telnyx": {
        "busy": (486, "user_busy"),
        "no-answer": (None, "timeout"),
        "failed": (404, "not_found"),
    },
    "plivo": {"busy": (None, ""), "no-answer": (None, ""), "failed": (None, "2000")},
    "exotel": {"busy": (None, ""), "no-answer": (None, ""), "failed": (None, "")},
}


@pytest.mark.parametrize("fate", ["busy", "no-answer", "failed"])
@EVERY
async def test_an_unanswered_call_has_an_outcome(carrier: str, fate: Fate) -> None:
    async with dialling(carrier, Callee(fate=fate)) as it:
        await it.dial()
        ended = await it.ended()

        assert [type(fact) for fact in it.facts()] == [LegRinging, LegEnded]
        assert ended.outcome == fate
        assert (ended.sip_code, ended.reason) == UNANSWERED[carrier][fate]
        assert it.server.telnyx.commands == []


@pytest.mark.parametrize(
    ("carrier", "machine", "answerer"),
    [
        ("twilio", "Enable", "machine_start"),
        ("telnyx", "detect", "machine_start"),
        ("telnyx", "premium", "machine_start"),
        ("plivo", "true", "machine"),
    ],
)
async def test_a_machine_is_reported_and_no_person_was_reached(
    carrier: str, machine: str, answerer: str
) -> None:
    async with dialling(carrier, Callee(answered_by="machine_start")) as it:
        it.account.carrier.machine = machine
        await it.dial()
        await until(lambda: bool(it.facts(AnswererJudged)))
        await (await it.person()).hang_up()

        [judged] = it.facts(AnswererJudged)
        assert isinstance(judged, AnswererJudged)
        assert (judged.answerer, judged.machine, judged.ref) == (answerer, True, "d-1")
        assert (await it.ended()).outcome == "voicemail"


@pytest.mark.parametrize(("carrier", "after_s"), [("twilio", 2.0), ("telnyx", 0.0)])
async def test_a_person_is_reported(carrier: str, after_s: float) -> None:
    async with dialling(carrier, Callee()) as it:
        await it.dial()
        await until(lambda: bool(it.facts(AnswererJudged)))

        assert it.facts(AnswererJudged) == [
            AnswererJudged(
                call_ref=it.account.ids[0],
                ref="d-1",
                answerer="human",
                machine=False,
                after_s=after_s,
            )
        ]


@EVERY
async def test_callbacks_that_come_three_times_are_reported_once(carrier: str) -> None:
    async with dialling(carrier, Callee(fate="busy")) as it:
        repeating = it.account.faults if carrier == "telnyx" else it.account.exchange
        repeating.repeats = 3
        await it.dial()
        await it.ended()
        await asyncio.sleep(1)

        assert [type(fact) for fact in it.facts()] == [LegRinging, LegEnded]


@of("twilio", "telnyx", "plivo")
async def test_a_call_that_ended_at_the_carrier_ends_here_even_if_its_line_is_lost(
    carrier: str,
) -> None:
    async with dialling(carrier, Callee()) as it:
        ref = await it.dial()
        call = await it.server.pool.call()
        (await it.person()).vanish()
        await report(it.server, carrier, it.account.ids[0] or ref, dial="d-1")

        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == ["caller_hung_up"]


SOURCES: Final = {"telnyx": "hangup_source", "plivo": "HangupSource"}


@pytest.mark.parametrize(
    ("carrier", "by", "gone_for"),
    [
        ("telnyx", "callee", "caller_hung_up"),
        ("telnyx", "unknown", "caller_hung_up"),
        ("telnyx", "caller", "line_ended"),  # our side of a call that we placed
        ("plivo", "Callee", "caller_hung_up"),
        ("plivo", "Carrier", "caller_hung_up"),
        ("plivo", "", "caller_hung_up"),
        ("plivo", "API Request", "line_ended"),
        ("plivo", "Caller", "line_ended"),
    ],
)
async def test_a_carriers_report_says_who_ended_a_call(
    carrier: str, by: str, gone_for: str
) -> None:
    async with dialling(carrier, Callee()) as it:
        ref = await it.dial()
        call = await it.server.pool.call()
        (await it.person()).vanish()
        said = {SOURCES[carrier]: by}
        await report(it.server, carrier, it.account.ids[0] or ref, dial="d-1", **said)

        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == [gone_for]


@of("twilio", "telnyx", "plivo")
async def test_a_lost_stream_is_followed_by_another(carrier: str) -> None:
    async with dialling(carrier, Callee()) as it:
        await it.dial()
        call, person = await it.server.pool.call(), await it.person()
        await person.break_off()
        await until(lambda: len(person.lost_at) == 1)
        await asyncio.sleep(0.5)
        await call.say(tone(0.3))
        await until(lambda: bool(person.ear.bursts))

        assert (call.gone_for, len(it.server.pool.calls)) == ([], 1)


@of("twilio", "telnyx", "plivo")
async def test_a_second_stream_of_a_call_that_never_began_still_has_its_dial(carrier: str) -> None:
    async with dialling(carrier, Callee(ring_s=1)) as it:
        it.server.pool.full = True
        await it.dial()
        await it.person()
        it.server.pool.full = False
        call = await it.server.pool.call()

        assert call.leg.facts.dial_id == "d-1"


@EVERY
async def test_a_contact_without_a_brief_is_not_talked_to(carrier: str) -> None:
    async with dialling(carrier, Callee(ring_s=1), briefs=no_briefs()) as it:
        await it.dial()
        ended = await it.ended()

        refused = {event.reason for event in it.server.pool.told if isinstance(event, CallRefused)}
        assert refused == {"no_brief"}
        assert (it.server.pool.calls, it.server.pool.seats_taken) == ([], 0)
        assert ended.outcome == "completed"


@EVERY
async def test_an_incoming_caller_needs_no_brief(carrier: str) -> None:
    async with carrier_server(briefs=no_briefs()) as it, it.caller(carrier):
        call = await it.pool.call()

        assert (call.leg.facts.direction, call.leg.facts.dial_id) == ("inbound", "")


@of("twilio", "telnyx", "plivo")
@pytest.mark.parametrize("with_stop", [True, False])
async def test_a_contact_who_hung_up_during_the_brief_lookup_is_not_talked_to(
    *, carrier: str, with_stop: bool
) -> None:
    found, briefs = asyncio.Event(), Briefs()

    async def look_up(_: str) -> AgentSettings | None:
        await found.wait()
        return AgentSettings()

    briefs.look_up = look_up
    async with dialling(carrier, Callee(), briefs=briefs) as it:
        await it.dial()
        person = await it.person()
        await asyncio.sleep(0.2)
        if with_stop:
            await person.hang_up()
        else:
            person.vanish()
        await it.ended()
        found.set()
        call = await it.server.pool.call()
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]


@pytest.mark.parametrize("proof", ["", "d3Jvbmc="])
@of("twilio", "telnyx", "plivo")
async def test_a_wrong_signature_is_forbidden_and_ends_no_call(carrier: str, proof: str) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller(carrier) as caller:
        call = await it.pool.call()

        assert await report(it, carrier, caller.phone.call_sid, proof=proof) == 403
        await asyncio.sleep(1)
        assert it.pool.told == [InputRefused(transport=carrier, reason="wrong_signature")]
        assert call.gone_for == []


@of("twilio", "telnyx", "plivo")
async def test_our_own_id_is_signed(carrier: str) -> None:
    async with carrier_server() as it:
        assert await report(it, carrier, dial="1", signed_dial="2") == 403
        assert await report(it, carrier, dial="1") < 300


@pytest.mark.parametrize(
    ("carrier", "path"),
    [
        *(("twilio", path) for path in ("voice", "after", "status")),
        *(("plivo", path) for path in ("voice", "after", "transfer", "status")),
    ],
)
@pytest.mark.parametrize(
    ("address", "accepted"), [(COMMON, True), ("https://other.example.com", False)]
)
async def test_a_carrier_may_sign_for_each_of_our_addresses_and_no_other(
    *, carrier: str, path: str, address: str, accepted: bool
) -> None:
    async with carrier_server() as it:
        status = await report(it, carrier, path=path, address=address)

        assert (status < 300, status == 403) == (accepted, not accepted)


OVERLONG: Final[Mapping[str, Mapping[str, str]]] = {
    "twilio": {
        "CallStatus": "failed",
        "SipResponseCode": "٤٨٦",
        "MachineDetectionDuration": "9" * 5000,
        "AnsweredBy": "machine" + "x" * 9000,
        "ErrorCode": "1" * 9000,
    },
    "telnyx": {"hangup_cause": "c" * 9000, "sip_hangup_cause": "9" * 5000},
    "plivo": {"CallStatus": "failed", "HangupCauseCode": "1" * 9000},
}


@of(*OVERLONG)
async def test_odd_and_overlong_words_are_bounded(carrier: str) -> None:
    async with carrier_server() as it:
        assert await report(it, carrier, dial="r" * 5000, **OVERLONG[carrier]) < 300

        [ended] = [event for event in it.pool.told if isinstance(event, LegEnded)]
        assert (len(ended.reason), len(ended.ref), ended.sip_code) == (64, 64, None)
        for judged in (event for event in it.pool.told if isinstance(event, AnswererJudged)):
            assert (len(judged.answerer), judged.after_s) == (64, 0.0)


@pytest.mark.parametrize(("fate", "sip_code"), [("busy", 603), ("failed", 503)])
@of("twilio", "telnyx")
async def test_a_statuss_meaning_for_number_and_trunk_reaches_the_campaign(
    carrier: str, fate: Fate, sip_code: int
) -> None:
    async with dialling(carrier, Callee(fate=fate, sip_code=sip_code)) as it:
        it.account.carrier.news = reports = CarrierReports()
        await it.dial()
        await it.ended()
        for event in it.server.pool.told:
            reports.note(event)
        found = await it.account.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert found.verdict == judge_dial(sip_code)
