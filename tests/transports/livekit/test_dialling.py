"""Dialling through LiveKit: results by SIP status, and no telephone keeps ringing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from livekit import api
from pydantic import SecretStr

from calls.dialled import GATEWAY_LOST
from tests.transports.exchange import SECRET, Exchange
from transports.livekit.dialling import (
    CALLEE,
    AlreadyDiallingError,
    OutboundCall,
    dial,
    open_exchange,
    room_of,
)

CALL = OutboundCall(room="dial-1", trunk_id="ST_1", number="+15550142", headers={"X-Campaign": "7"})


@pytest_asyncio.fixture
async def lk(exchange: Exchange) -> AsyncIterator[api.LiveKitAPI]:
    async with open_exchange(exchange.url, "key", SecretStr(SECRET)) as client:
        yield client


async def test_a_callee_who_answers_stays(exchange: Exchange, lk: api.LiveKitAPI) -> None:
    dialled = await dial(lk, CALL)

    assert dialled.answered
    assert dialled.call_ref == "SCL_1"
    assert not exchange.removed
    (asked,) = exchange.dialled
    assert (asked.room_name, asked.sip_call_to, asked.sip_trunk_id) == (
        "dial-1", "+15550142", "ST_1",
    )  # fmt: skip
    assert asked.wait_until_answered
    assert asked.ringing_timeout.ToSeconds() == 30
    assert dict(asked.headers) == {"X-Campaign": "7"}


async def test_a_sip_address_is_called_without_a_trunks_host_in_between(
    exchange: Exchange, lk: api.LiveKitAPI
) -> None:
    desk = OutboundCall(room="person-1", trunk_id="", number="desk", host="192.0.2.7:5070")

    assert (await dial(lk, desk)).answered
    (asked,) = exchange.dialled
    assert (asked.sip_call_to, asked.trunk.hostname, asked.sip_trunk_id) == (
        "desk", "192.0.2.7:5070", "",
    )  # fmt: skip


@pytest.mark.parametrize("instead", [(200, b"<title>Soon back</title>"), (502, b'"no upstream"')])
async def test_a_server_that_is_not_livekit_places_no_call(
    exchange: Exchange, lk: api.LiveKitAPI, instead: tuple[int, bytes]
) -> None:
    exchange.instead = instead

    dialled = await dial(lk, CALL)

    assert dialled.verdict is GATEWAY_LOST


async def test_the_status_decides_and_not_the_gateways_reason(
    exchange: Exchange, lk: api.LiveKitAPI
) -> None:
    exchange.refuses["CreateSIPParticipant"] = ("permission_denied", "sip status 486")
    exchange.meta = {"sip_status_code": "486", "sip_status": "Busy here"}

    dialled = await dial(lk, CALL)

    assert (dialled.verdict.outcome, dialled.sip_code, dialled.words) == ("busy", 486, "Busy here")
    assert exchange.removed == [CALLEE]


async def test_a_ring_time_out_has_no_status(exchange: Exchange, lk: api.LiveKitAPI) -> None:
    exchange.refuses["CreateSIPParticipant"] = ("canceled", "sip request timed out")

    dialled = await dial(lk, CALL)

    assert (dialled.verdict.outcome, dialled.sip_code) == ("no-answer", None)


async def test_an_unreachable_trunk_is_not_an_unanswered_call(
    exchange: Exchange, lk: api.LiveKitAPI
) -> None:
    words = "transaction failed to complete (0 intermediate responses)"
    exchange.refuses["CreateSIPParticipant"] = ("canceled", words)

    dialled = await dial(lk, CALL)

    assert (dialled.verdict.outcome, dialled.verdict.trunk) == ("failed", "strained")
    assert dialled.words == words


async def test_an_unreachable_pbx_is_no_answer_of_the_callee(exchange: Exchange) -> None:
    async with open_exchange("http://127.0.0.1:9", "key", SecretStr(SECRET)) as lk:
        dialled = await dial(lk, CALL)

    assert (dialled.verdict.outcome, dialled.verdict.reason) == ("failed", "gateway_lost")
    assert not exchange.asked


async def test_a_second_request_calls_no_one_again(exchange: Exchange, lk: api.LiveKitAPI) -> None:
    exchange.there = [CALLEE]

    with pytest.raises(AlreadyDiallingError):
        await dial(lk, CALL)

    assert not exchange.dialled
    assert not exchange.removed


async def test_a_cancelled_wait_stops_the_ringing(exchange: Exchange, lk: api.LiveKitAPI) -> None:
    exchange.hangs = True
    dialling = asyncio.get_running_loop().create_task(dial(lk, CALL))
    async with asyncio.timeout(10):
        while not exchange.dialled:  # noqa: ASYNC110 - another thread is asked
            await asyncio.sleep(0.01)

    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling

    assert exchange.removed == [CALLEE]


def test_a_purpose_has_one_room_whose_name_is_plain() -> None:
    assert room_of("order 17/ä") == room_of("order 17/ä") == "dial-order-17-"
    assert room_of("7", prefix="call-out-") == "call-out-7"
