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

from bot.carriers import carrier_routers
from calls.events import CallRefused, Event
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from configuration.settings import TransportsSettings
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.telnyx import telnyx_call, telnyx_payload
from lab.simulators.carrier.telnyx_exchange import telnyx_exchange
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import OURS, request
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.conformance.accounts import Dialling, dialling, no_briefs
from tests.transports.twilio_server import WorkerPool, serving, until
from transports.leg import People
from transports.telnyx.dialling import TelnyxCarrier
from transports.telnyx.events import encoded_state
from transports.telnyx.rest import TelnyxRest

pytestmark = pytest.mark.virtual_time

FACTS = (LegRinging, LegAnswered, LegEnded, AnswererJudged, LegCharged)


@asynccontextmanager
async def telnyx_dialling(
    callee: Callee, *, returns_within_s: float = 0.0
) -> AsyncIterator[tuple[CarrierServer, Dialling]]:
    async with dialling("telnyx", callee, returns_within_s=returns_within_s) as on:
        yield on.server, on


def facts(it: CarrierServer) -> list[Event]:
    return [event for event in it.pool.told if isinstance(event, FACTS)]


def commands(it: CarrierServer) -> list[str]:
    return [action for _, action, _ in it.telnyx.commands]


async def told(it: CarrierServer, event: str, **payload: Any) -> int:
    """Sign an event as Telnyx, and return the answer."""
    said = telnyx_payload(telnyx_call()) | {"direction": "outgoing"} | payload
    body = json.dumps({"data": {"event_type": event, "payload": said}}).encode()
    return await post(it, body, it.telnyx.signature_headers(body))


async def post(it: CarrierServer, body: bytes, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{it.pool.url}/telnyx/voice", data=body) as answer,
    ):
        return answer.status


async def test_an_event_that_comes_three_times_is_reported_once_and_opens_one_stream() -> None:
    async with telnyx_dialling(Callee()) as (it, on):
        it.telnyx.repeats = 3
        call_id = await on.dial()
        await it.pool.call()
        assert it.pool.seats_taken == 1
        await on.account.carrier.cancel("d-1", call_id)
        await until(lambda: any(isinstance(fact, LegCharged) for fact in facts(it)))
        await asyncio.sleep(1)

        kinds = [type(fact) for fact in facts(it)]
        assert kinds == [LegRinging, LegAnswered, LegEnded, LegCharged]
        assert len(it.telnyx.commands_so_far(call_id, "streaming_start")) == 1
        assert len(it.pool.calls) == 1


async def test_an_answer_after_the_end_opens_no_stream_and_takes_no_seat() -> None:
    async with carrier_server() as it:
        news = {"client_state": encoded_state("d-1"), "call_control_id": "c1"}
        assert await told(it, "call.hangup", hangup_cause="normal_clearing", **news) == 200
        assert await told(it, "call.answered", **news) == 200

        assert commands(it) == []
        assert it.pool.seats_taken == 0


async def test_a_repeated_answer_does_not_end_the_talk_when_all_seats_are_taken() -> None:
    async with telnyx_dialling(Callee()) as (it, on):
        call_id = await on.dial()
        call = await it.pool.call()
        it.pool.why_closed = "full"  # by this very call, perhaps
        state = encoded_state("d-1")
        news = {"call_control_id": call_id, "client_state": state}
        assert await told(it, "call.answered", **news) == 200

        assert commands(it) == ["streaming_start"]
        assert call.gone_for == []
        assert CallRefused(transport="telnyx", reason="full") not in it.pool.told


async def test_a_contact_who_answers_while_all_seats_are_taken_is_hung_up_on() -> None:
    async with telnyx_dialling(Callee()) as (it, on):
        it.pool.why_closed = "full"
        await on.dial()
        await until(lambda: any(isinstance(fact, LegEnded) for fact in facts(it)))

        assert commands(it) == ["hangup"]
        assert CallRefused(transport="telnyx", reason="full") in it.pool.told


async def test_the_configured_routes_ask_for_briefs() -> None:
    it, app, briefs = WorkerPool(), FastAPI(), no_briefs()
    async with serving(app) as it.port, telnyx_exchange() as exchange:
        account = exchange.account
        telnyx = {"enabled": True, "api_key": account.api_key, "public_key": account.public_key}
        told = {"telnyx": telnyx | {"api_url": account.url}}
        transports = TransportsSettings.model_validate(told)
        for carrier_router in carrier_routers(transports, it.host(briefs.load), People()):
            app.include_router(carrier_router)
        rest = TelnyxRest(api_key=SecretStr(account.api_key), api_url=account.url)
        carrier = TelnyxCarrier(
            rest=rest,
            connection_id=exchange.connection_id,
            public_url=it.url,
            number=OURS,
            news=ToldNews(),
        )
        await carrier.dial(request("d-1"))

        await until(lambda: "no_brief" in it.reasons())


async def test_an_odd_answerer_or_price_is_not_reported() -> None:
    async with carrier_server() as it:
        odd = {
            "client_state": encoded_state("d-1"),
            "result": "machine" * 900,
            "total_cost": "1e999",
        }
        for event in ("call.machine.detection.ended", "call.cost"):
            assert await told(it, event, **odd) == 200

        assert facts(it) == []
