"""Outbound calls over Telnyx: events, and access."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from bot.call.briefs import Briefs
from bot.carriers import carrier_routers
from bot.config.agent import AgentSettings
from bot.config.settings import TransportsSettings
from calls.events import CallRefused, Event, InputRefused
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.telnyx import telnyx_call, telnyx_payload
from lab.simulators.carrier.telnyx_exchange import telnyx_exchange
from tests.transports.carrier_server import Doors, doors
from tests.transports.twilio_server import WorkerPool, serving, tone, until
from transports.dialling import DialOrder
from transports.leg import People
from transports.telnyx.dialling import TelnyxCalls
from transports.telnyx.events import state_of
from transports.telnyx.rest import TelnyxRest

pytestmark = pytest.mark.virtual_time

ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="d-1", machine="detect")
FACTS = (LegRinging, LegAnswered, LegEnded, AnswererJudged, LegCharged)


@asynccontextmanager
async def dialling(callee: Callee, **how: Any) -> AsyncIterator[tuple[Doors, TelnyxCalls]]:
    async with doors(**how) as it:
        it.exchange.callees[ORDER.to] = callee
        rest = TelnyxRest(api_key=SecretStr(it.telnyx.api_key), api_url=it.telnyx.url)
        yield (
            it,
            TelnyxCalls(rest=rest, connection_id=it.exchange.connection_id, public_url=it.pool.url),
        )


def no_briefs() -> Briefs:
    """Return briefs that know no dial."""

    async def look_up(_: str) -> AgentSettings | None:
        return None

    briefs = Briefs()
    briefs.look_up = look_up
    return briefs


def facts(it: Doors) -> list[Event]:
    return [event for event in it.pool.told if isinstance(event, FACTS)]


def commands(it: Doors) -> list[str]:
    return [action for _, action, _ in it.telnyx.commands]


async def told(it: Doors, event: str, **payload: Any) -> int:
    """Sign an event as Telnyx, and return the answer."""
    said = telnyx_payload(telnyx_call()) | {"direction": "outgoing"} | payload
    body = json.dumps({"data": {"event_type": event, "payload": said}}).encode()
    return await post(it, body, it.telnyx.signed(body))


async def post(it: Doors, body: bytes, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{it.pool.url}/telnyx/voice", data=body) as answer,
    ):
        return answer.status


async def test_an_outbound_call_is_an_ordinary_call() -> None:
    async with dialling(Callee(ring_s=3)) as (it, calls):
        record = await calls.dial(ORDER)
        call = await it.pool.call()
        person = it.exchange.placed[record.call_id].carrier
        assert person is not None
        await call.say(tone(0.3))
        await until(lambda: bool(person.ear.bursts))
        await until(lambda: len(facts(it)) == 3)
        await person.hang_up()
        await until(lambda: len(facts(it)) == 5)

        said = call.leg.facts
        assert (said.direction, said.call_ref, said.dial_id) == ("outbound", record.call_id, "d-1")
        assert (said.caller, said.called) == (ORDER.caller, ORDER.to)
        ref = record.call_id
        ringing, answered, judged, ended, charged = facts(it)
        assert ringing == LegRinging(call_ref=ref, ref="d-1")
        assert isinstance(answered, LegAnswered)
        assert answered.after_s == pytest.approx(3, abs=0.5)
        assert judged == AnswererJudged(
            call_ref=ref, ref="d-1", answerer="human", machine=False, after_s=0.0
        )
        assert ended == LegEnded(
            call_ref=ref, ref="d-1", outcome="completed", sip_code=200, reason="normal_clearing"
        )
        assert charged == LegCharged(call_ref=ref, ref="d-1", cost=0.007)


@pytest.mark.parametrize(
    ("fate", "outcome", "sip_code"),
    [("busy", "busy", 486), ("no-answer", "no-answer", None), ("failed", "failed", 404)],
)
async def test_an_unanswered_call_has_an_outcome(
    fate: Fate, outcome: str, sip_code: int | None
) -> None:
    async with dialling(Callee(fate=fate)) as (it, calls):
        await calls.dial(ORDER)
        await until(lambda: len(facts(it)) == 2)

        ended = facts(it)[-1]
        assert isinstance(ended, LegEnded)
        assert (ended.outcome, ended.sip_code) == (outcome, sip_code)
        assert commands(it) == []


@pytest.mark.parametrize("means", ["detect", "premium"])
async def test_a_machine_is_reported_and_no_person_was_reached(means: Any) -> None:
    order = DialOrder(to=ORDER.to, caller=ORDER.caller, ref="d-1", machine=means)
    async with dialling(Callee(answered_by="machine_start")) as (it, calls):
        record = await calls.dial(order)
        await until(lambda: any(isinstance(fact, AnswererJudged) for fact in facts(it)))
        person = it.exchange.placed[record.call_id].carrier
        assert person is not None
        await person.hang_up()
        await until(lambda: any(isinstance(fact, LegEnded) for fact in facts(it)))

        judged, ended = facts(it)[-2:]
        assert isinstance(judged, AnswererJudged)
        assert (judged.answerer, judged.machine) == ("machine_start", True)
        assert isinstance(ended, LegEnded)
        assert ended.outcome == "voicemail"


async def test_an_event_that_comes_three_times_is_told_once_and_opens_one_stream() -> None:
    async with dialling(Callee()) as (it, calls):
        it.telnyx.repeats = 3
        record = await calls.dial(ORDER)
        await it.pool.call()
        await calls.cancel(record.call_id)
        await until(lambda: any(isinstance(fact, LegCharged) for fact in facts(it)))
        await asyncio.sleep(1)

        kinds = [type(fact) for fact in facts(it)]
        assert kinds == [LegRinging, LegAnswered, LegEnded, LegCharged]
        assert len(it.telnyx.asked_so_far(record.call_id, "streaming_start")) == 1
        assert len(it.pool.calls) == 1


async def test_an_answer_after_the_end_opens_no_stream_and_takes_no_seat() -> None:
    async with doors() as it:
        news = {"client_state": state_of("d-1"), "call_control_id": "c1"}
        assert await told(it, "call.hangup", hangup_cause="normal_clearing", **news) == 200
        assert await told(it, "call.answered", **news) == 200

        assert commands(it) == []
        assert it.pool.seats_taken == 0


async def test_a_repeated_answer_does_not_end_the_talk_when_all_seats_are_taken() -> None:
    async with dialling(Callee()) as (it, calls):
        record = await calls.dial(ORDER)
        call = await it.pool.call()
        it.pool.why_closed = "full"  # by this very call, perhaps
        state = state_of(ORDER.ref)
        news = {"call_control_id": record.call_id, "client_state": state}
        assert await told(it, "call.answered", **news) == 200

        assert commands(it) == ["streaming_start"]
        assert call.gone_for == []
        assert CallRefused(transport="telnyx", reason="full") not in it.pool.told


async def test_a_contact_who_answers_while_all_seats_are_taken_is_hung_up_on() -> None:
    async with dialling(Callee()) as (it, calls):
        it.pool.why_closed = "full"
        await calls.dial(ORDER)
        await until(lambda: any(isinstance(fact, LegEnded) for fact in facts(it)))

        assert commands(it) == ["hangup"]
        assert CallRefused(transport="telnyx", reason="full") in it.pool.told


async def test_a_contact_without_a_brief_is_hung_up_on() -> None:
    async with dialling(Callee(), briefs=no_briefs()) as (it, calls):
        await calls.dial(ORDER)
        await until(lambda: any(isinstance(fact, LegEnded) for fact in facts(it)))

        assert commands(it) == ["streaming_start", "hangup"]
        assert CallRefused(transport="telnyx", reason="no_brief") in it.pool.told
        assert it.pool.calls == []


@pytest.mark.parametrize("with_stop", [True, False])
async def test_a_contact_who_hung_up_during_the_brief_lookup_is_not_talked_to(
    *, with_stop: bool
) -> None:
    found, briefs = asyncio.Event(), Briefs()

    async def look_up(_: str) -> AgentSettings | None:
        await found.wait()
        return AgentSettings()

    briefs.look_up = look_up
    async with dialling(Callee(), briefs=briefs, returns_within_s=30) as (it, calls):
        record = await calls.dial(ORDER)
        await until(lambda: it.exchange.placed[record.call_id].carrier is not None)
        await asyncio.sleep(0.2)
        person = it.exchange.placed[record.call_id].carrier
        assert person is not None
        if with_stop:
            await person.hang_up()
        else:
            person.vanish()
        await until(lambda: any(isinstance(fact, LegEnded) for fact in facts(it)))
        found.set()
        call = await it.pool.call()
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]


async def test_the_configured_door_asks_for_briefs() -> None:
    it, app, briefs = WorkerPool(), FastAPI(), no_briefs()
    async with serving(app) as it.port, telnyx_exchange() as exchange:
        account = exchange.account
        telnyx = {"enabled": True, "api_key": account.api_key, "public_key": account.public_key}
        told = {"telnyx": telnyx | {"api_url": account.url}}
        transports = TransportsSettings.model_validate(told)
        for carrier_router in carrier_routers(transports, it.host(briefs.load), People()):
            app.include_router(carrier_router)
        rest = TelnyxRest(api_key=SecretStr(account.api_key), api_url=account.url)
        calls = TelnyxCalls(rest=rest, connection_id=exchange.connection_id, public_url=it.url)
        await calls.dial(ORDER)

        await until(lambda: "no_brief" in it.reasons())


async def test_a_lost_outbound_stream_is_followed_by_another() -> None:
    async with dialling(Callee(), returns_within_s=30) as (it, calls):
        record = await calls.dial(ORDER)
        call = await it.pool.call()
        person = it.exchange.placed[record.call_id].carrier
        assert person is not None
        await person.break_off()
        await until(lambda: commands(it).count("streaming_start") == 2)
        await asyncio.sleep(0.5)
        await call.say(tone(0.3))
        await until(lambda: bool(person.ear.bursts))

        assert call.gone_for == []
        assert len(it.pool.calls) == 1


async def test_a_call_that_ended_at_telnyx_ends_here_even_if_its_line_is_lost() -> None:
    async with dialling(Callee(), returns_within_s=30) as (it, calls):
        record = await calls.dial(ORDER)
        call = await it.pool.call()
        person = it.exchange.placed[record.call_id].carrier
        assert person is not None
        person.vanish()

        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == ["caller_hung_up"]


async def test_a_ringing_call_can_be_cancelled() -> None:
    async with dialling(Callee(ring_s=30)) as (it, calls):
        record = await calls.dial(ORDER)
        await until(lambda: len(facts(it)) == 1)
        assert await calls.cancel(record.call_id) is None
        await until(lambda: len(facts(it)) == 2)

        ended = facts(it)[-1]
        assert isinstance(ended, LegEnded)
        assert ended.outcome == "cancelled"


@pytest.mark.parametrize("signature", ["AAAA", "", "jnHHJVRuc+5O5HxzOjyUz1Q19Bc="])
async def test_an_event_with_a_wrong_signature_is_forbidden_and_changes_nothing(
    signature: str,
) -> None:
    async with doors() as it:
        said = telnyx_payload(telnyx_call()) | {"client_state": state_of("d-1")}
        body = json.dumps({"data": {"event_type": "call.hangup", "payload": said}}).encode()
        headers = it.telnyx.signed(body) | {"telnyx-signature-ed25519": signature}

        assert await post(it, body, headers) == 403
        assert it.pool.told == [InputRefused(transport="telnyx", reason="wrong_signature")]


async def test_our_own_id_is_part_of_the_signed_address() -> None:
    async with doors() as it:
        said = telnyx_payload(telnyx_call()) | {"client_state": state_of("d-1")}
        body = json.dumps({"data": {"event_type": "call.hangup", "payload": said}}).encode()
        other = body.replace(state_of("d-1").encode(), state_of("d-2").encode())
        assert other != body

        assert await post(it, other, it.telnyx.signed(body)) == 403
        assert facts(it) == []


async def test_odd_and_overlong_words_are_bounded() -> None:
    async with doors() as it:
        state = state_of("r" * 5000)
        for event in ("call.machine.detection.ended", "call.hangup", "call.cost"):
            told_ = await told(
                it,
                event,
                call_control_id="v3:x",
                client_state=state,
                result="machine" * 900,
                hangup_cause="c" * 9000,
                sip_hangup_cause="9" * 5000,
                total_cost="1e999",
            )
            assert told_ == 200

        [ended] = facts(it)
        assert isinstance(ended, LegEnded)
        assert (len(ended.reason), len(ended.ref), ended.sip_code) == (64, 64, None)
