"""Exotel's peculiarities in dialling: proofs, missing reports, and answers in any form."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pydantic import SecretStr

from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from calls.outbound import DialOutcome
from fallbacks.failure import Kind
from tests.campaigns.placing import A, B, request
from tests.kit.served import served
from tests.transports.conformance.accounts import failure_of, lost, unheard
from transports.dialling import CarrierError, DialRefusedError, FoundCall, HeardLeg
from transports.exotel.dialling import (
    MAX_EXOTEL_CALL_S,
    UNREPORTED_S,
    dial_proof,
    ending_of,
    is_proven,
)
from transports.exotel.rest import MAX_ANSWER_BYTES

pytestmark = pytest.mark.virtual_time

TOKEN = SecretStr("a-token")


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """Serve one answer to every request."""

    async def say(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", say)
    async with served(app) as url:
        yield url


async def test_only_a_callback_proves_an_answer() -> None:
    async with unheard("exotel") as it:
        call_sid = await it.carrier.dial(request("d-1"))
        before = await it.carrier.find("d-1", A, 0.0)  # `in-progress`, as from the request on
        it.news.told["d-1"] = HeardLeg(call_ref=call_sid, answered=True)
        after = await it.carrier.find("d-1", A, 0.0)

        assert before == FoundCall(provider_call_id=call_sid)
        assert after == FoundCall(provider_call_id=call_sid, answered=True)


async def test_a_dial_without_any_report_is_unknown_and_never_repeated() -> None:
    async with unheard("exotel") as it:
        await lost(it, request("d-1"))
        at_once = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(UNREPORTED_S - 1)
        waited_for = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(1)
        given_up = await it.carrier.find("d-1", A, 0.0)

        assert at_once == waited_for == FoundCall(provider_call_id="")
        assert given_up == FoundCall(provider_call_id="", outcome=DialOutcome.UNKNOWN)


async def test_a_lost_processs_dial_does_not_prove_that_no_call_was_made() -> None:
    async with unheard("exotel") as it:
        assert await it.another().find("d-1", A, 0.0) == FoundCall(provider_call_id="")


async def test_a_call_unknown_to_exotel_is_waited_for_and_then_unknown() -> None:
    async with unheard("exotel") as it:
        call_sid = await it.carrier.dial(request("d-1"))
        it.api.forgets = True
        before = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(UNREPORTED_S)

        assert before == FoundCall(provider_call_id=call_sid)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id=call_sid, outcome=DialOutcome.UNKNOWN
        )


async def test_a_talk_unknown_to_exotel_lasts_as_long_as_a_stream_may() -> None:
    async with unheard("exotel") as it:
        it.api.forgets = True
        it.news.told["d-1"] = HeardLeg(call_ref="the-call", answered=True)
        await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(MAX_EXOTEL_CALL_S - 1)
        talking = await it.carrier.find("d-1", A, 0.0)
        await asyncio.sleep(1)

        assert talking == FoundCall(provider_call_id="the-call", answered=True)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id="the-call", outcome=DialOutcome.UNKNOWN, answered=True
        )


@pytest.mark.parametrize("status", [401, 402, 404])
async def test_a_request_that_exotel_refused_placed_no_call(status: int) -> None:
    async with unheard("exotel") as it:
        it.faults.answer_with = status
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)
        assert await it.carrier.find("d-1", A, 0.0) is None


async def test_a_request_that_never_reached_exotel_placed_no_call() -> None:
    async with unheard("exotel") as it:
        nowhere = it.another(api_url="http://127.0.0.1:9")
        with pytest.raises(CarrierError):
            await nowhere.dial(request("d-1"))

        assert await nowhere.find("d-1", A, 0.0) is None


async def test_an_account_error_proves_nothing() -> None:
    async with unheard("exotel") as it:
        it.faults.answer_with = 503
        with pytest.raises(CarrierError) as error:
            await it.carrier.dial(request("d-1"))

        assert not isinstance(error.value, DialRefusedError)
        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id="")


async def test_a_refusal_does_not_count_for_the_repeated_dial() -> None:
    async with unheard("exotel") as it:
        it.faults.answer_with = 401
        with pytest.raises(CarrierError):
            await it.carrier.dial(request("d-1"))
        it.faults.answer_with = None
        await lost(it, request("d-1"))

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id="")


async def test_a_price_is_known_some_time_after_the_end_and_not_before() -> None:
    async with unheard("exotel") as it:
        call_sid = await it.carrier.dial(request("d-1"))
        it.placed.answered = True
        before = await it.carrier.cost_of(call_sid)
        await asyncio.sleep(10)

        assert before is None
        assert await it.carrier.cost_of(call_sid) == pytest.approx(1.5)


async def test_an_account_that_does_not_answer_gives_no_price() -> None:
    async with unheard("exotel") as it:
        it.faults.answer_with = 500
        with pytest.raises(CarrierError):
            await it.carrier.cost_of("c1")


async def test_a_number_that_wants_no_calls_does_not_count_against_the_account() -> None:
    async with unheard("exotel") as it:
        it.api.barred = {B}
        with pytest.raises(DialRefusedError, match="HTTP 403"):
            await it.carrier.dial(request("d-1", to=B))


async def test_a_forbidden_account_does_not_count_against_the_number() -> None:
    async with unheard("exotel") as it:
        it.faults.answer_with = 403

        assert await failure_of(it.carrier) is Kind.AUTH


@pytest.mark.parametrize("body", [b'{"Call": {"Sid": "c1"}}', b'{"call": {"sid": "c1"}}'])
async def test_names_are_read_in_both_documented_spellings(body: bytes) -> None:
    async with unheard("exotel") as it, answering(body) as url:
        assert await it.another(api_url=url).dial(request("d-1")) == "c1"


UNCLEAR = {
    "an error that is called well": b'{"RestException": {"Status": 400, "Message": "no"}}',
    "no id": b'{"Call": {"Sid": ""}}',
    "an id that is none": b'{"Call": {"Sid": 7}}',
    "a list": b"[]",
    "no JSON": b"<TwilioResponse/>",
    "too deep": b'{"Call": ' + b"[" * 20_000,
    "too long": b'{"Call": {"Sid": "c1"}}' + b" " * MAX_ANSWER_BYTES,
}


@pytest.mark.parametrize("body", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_an_answer_without_an_id_is_no_certain_refusal(body: bytes) -> None:
    async with unheard("exotel") as it, answering(body) as url:
        assert await failure_of(it.another(api_url=url)) is Kind.PROTOCOL


def test_a_proof_is_valid_for_one_dial_one_purpose_and_one_account() -> None:
    shown = dial_proof(TOKEN, "dial-1", "status")

    assert is_proven(TOKEN, "dial-1", shown, "status")
    assert not is_proven(TOKEN, "dial-2", shown, "status")
    assert not is_proven(TOKEN, "dial-1", shown, "media")
    assert not is_proven(SecretStr("another"), "dial-1", shown, "status")


@pytest.mark.parametrize("shown", ["", "0" * 64, "é" * 64, "0" * 100_000])
def test_an_invalid_proof_is_rejected(shown: str) -> None:
    assert not is_proven(TOKEN, "dial-1", shown, "media")


@pytest.mark.parametrize("ref", ["", "d" * 65])
def test_a_dial_with_an_empty_or_overlong_name_cannot_be_proven(ref: str) -> None:
    assert not is_proven(TOKEN, ref, dial_proof(TOKEN, ref, "media"), "media")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("completed", "completed"),
        ("Completed", "completed"),
        ("busy", "busy"),
        ("no-answer", "no-answer"),
        ("failed", "failed"),
        ("canceled", "cancelled"),
        ("queued", None),
        ("ringing", None),
        ("in-progress", None),
        ("", None),
    ],
)
def test_exotels_statuses_of_an_end_are_the_fields(status: str, outcome: LegOutcome | None) -> None:
    word = ending_of(status)

    assert (OUTCOMES[word] if word else None) == outcome
