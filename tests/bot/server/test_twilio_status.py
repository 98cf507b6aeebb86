"""Twilio's status callbacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from pydantic import SecretStr

from bot.outbound.call_ledger import CarrierReports
from calls.dialled import judge_dial
from calls.events import Event, InputRefused
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegRinging
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import AgentServer, PhoneCall, signature
from tests.transports.twilio_server import TOKEN, WorkerPool, pool, tone, until
from transports.dialling import DialOrder, DialRequest
from transports.twilio.dialling import TwilioCalls, TwilioCarrier
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time

ACCOUNT = "AC" + "0" * 32
ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="d-1", machine="Enable")


async def told(it: WorkerPool, form: dict[str, str], *, query: str = "", proof: str = "") -> int:
    url = f"{it.url}/twilio/status{query}"
    headers = {"X-Twilio-Signature": proof or signature(TOKEN, url, form)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=form) as answer,
    ):
        assert await answer.text() == ("Forbidden" if answer.status == 403 else "")
        return answer.status


@asynccontextmanager
async def dialling(callee: Callee) -> AsyncIterator[tuple[WorkerPool, CarrierRest, TwilioCalls]]:
    async with CarrierRest(ACCOUNT, TOKEN) as office, pool(returns_within_s=30) as it:
        office.exchange.server = AgentServer(base_url=it.url, public_url=it.url, auth_token=TOKEN)
        office.exchange.callees[ORDER.to] = callee
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=office.url)
        yield it, office, TwilioCalls(rest=rest, public_url=it.url)


def leg_facts(it: WorkerPool) -> list[Event]:
    kinds = (LegRinging, LegAnswered, LegEnded, AnswererJudged)
    return [event for event in it.told if isinstance(event, kinds)]


async def test_an_outbound_call_is_an_ordinary_call() -> None:
    async with dialling(Callee(ring_s=3)) as (it, office, calls):
        record = await calls.dial(ORDER)
        call = await it.call()
        person = office.exchange.placed[record.call_sid].carrier
        assert person is not None
        await call.say(tone(0.3))
        await until(lambda: bool(person.ear.bursts))
        await until(lambda: len(leg_facts(it)) == 3)
        await person.hang_up()
        await until(lambda: len(leg_facts(it)) == 4)

        assert call.leg.facts.direction == "outbound"
        assert call.leg.facts.call_ref == record.call_sid
        sid, ref = record.call_sid, "d-1"
        ringing, answered, judged, ended = leg_facts(it)
        assert ringing == LegRinging(call_ref=sid, ref=ref)
        assert isinstance(answered, LegAnswered)
        assert answered.after_s == pytest.approx(3, abs=0.5)
        assert judged == AnswererJudged(
            call_ref=sid, ref=ref, answerer="human", machine=False, after_s=2.0
        )
        assert ended == LegEnded(call_ref=sid, ref=ref, outcome="completed", sip_code=200)


@pytest.mark.parametrize(
    ("fate", "outcome", "sip_code"),
    [("busy", "busy", 486), ("no-answer", "no-answer", 487), ("failed", "failed", 404)],
)
async def test_an_unanswered_call_has_an_outcome(fate: Fate, outcome: str, sip_code: int) -> None:
    async with dialling(Callee(fate=fate)) as (it, _, calls):
        await calls.dial(ORDER)
        await until(lambda: len(leg_facts(it)) == 2)

        ended = leg_facts(it)[-1]
        assert isinstance(ended, LegEnded)
        assert (ended.outcome, ended.sip_code) == (outcome, sip_code)


@pytest.mark.parametrize(
    ("fate", "sip_code"), [("busy", 603), ("failed", 404), ("failed", 403), ("failed", 503)]
)
async def test_a_statuss_meaning_for_number_and_trunk_reaches_the_campaign(
    fate: Fate, sip_code: int
) -> None:
    book = CarrierReports()
    async with dialling(Callee(fate=fate, sip_code=sip_code)) as (it, _, calls):
        carrier = TwilioCarrier(calls=calls, number=ORDER.caller, news=book)
        await carrier.dial(DialRequest(dial_id="d-1", to=ORDER.to, campaign="c"))
        await until(lambda: any(isinstance(event, LegEnded) for event in it.told))
        for item in it.told:
            book.note(item)

        found = await carrier.find("d-1", ORDER.to, 0.0)

        assert found is not None
        assert found.verdict == judge_dial(sip_code)


async def test_a_machine_is_reported_and_no_person_was_reached() -> None:
    async with dialling(Callee(answered_by="machine_start")) as (it, office, calls):
        record = await calls.dial(ORDER)
        await until(lambda: any(isinstance(event, AnswererJudged) for event in it.told))
        person = office.exchange.placed[record.call_sid].carrier
        assert person is not None
        await person.hang_up()
        await until(lambda: any(isinstance(event, LegEnded) for event in it.told))

        ended = leg_facts(it)[-1]
        assert isinstance(ended, LegEnded)
        assert ended.outcome == "voicemail"


async def test_callbacks_that_come_three_times_are_told_once() -> None:
    async with dialling(Callee(fate="busy")) as (it, office, calls):
        office.exchange.repeats = 3
        await calls.dial(ORDER)
        await until(lambda: any(isinstance(event, LegEnded) for event in it.told))
        await asyncio.sleep(1)

        assert [type(leg_fact) for leg_fact in leg_facts(it)] == [LegRinging, LegEnded]


async def test_a_call_that_ended_at_the_carrier_ends_here_even_if_its_line_is_lost() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        caller.vanish()
        form = caller.phone.form() | {"CallStatus": "completed", "SequenceNumber": "3"}

        assert await told(it, form) == 204
        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == ["caller_hung_up"]


async def test_odd_numbers_and_overlong_words_are_bounded() -> None:
    form = PhoneCall().form() | {
        "CallStatus": "failed",
        "SipResponseCode": "٤٨٦",
        "MachineDetectionDuration": "9" * 5000,
        "AnsweredBy": "machine" + "x" * 9000,
        "ErrorCode": "1" * 9000,
    }
    async with pool() as it:
        assert await told(it, form, query=f"?dial={'r' * 5000}") == 204

        judged, ended = leg_facts(it)
        assert isinstance(judged, AnswererJudged)
        assert isinstance(ended, LegEnded)
        assert max(len(judged.answerer), len(ended.reason), len(ended.ref)) == 64
        assert (judged.after_s, ended.sip_code) == (0.0, None)


@pytest.mark.parametrize("proof", ["wrong", "jnHHJVRuc+5O5HxzOjyUz1Q19Bc="])
async def test_a_wrong_signature_is_forbidden_and_ends_no_call(proof: str) -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        form = caller.phone.form() | {"CallStatus": "completed"}

        assert await told(it, form, proof=proof) == 403
        await asyncio.sleep(1)
        assert it.told == [InputRefused(transport="twilio", reason="wrong_signature")]
        assert call.gone_for == []


async def test_our_own_id_is_part_of_the_signed_address() -> None:
    form = PhoneCall().form() | {"CallStatus": "ringing"}
    async with pool() as it:
        proof = signature(TOKEN, f"{it.url}/twilio/status?dial=1", form)

        assert await told(it, form, query="?dial=2", proof=proof) == 403
