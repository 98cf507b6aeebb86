"""Outbound calls: requests to Exotel, its statuses, and the meaning of its refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus

import pytest
from aiohttp import web
from pydantic import SecretStr

from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from fallbacks.failure import Kind, PermanentError, Scope, ServiceError, TransientError
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.exotel import ExotelAccount, ExotelDial
from transports.dialling import DialOrder
from transports.exotel.dialling import ExotelCalls, dial_proof, ending_of, is_proven
from transports.exotel.rest import MOST_ANSWER_BYTES, ExotelRest

pytestmark = pytest.mark.virtual_time

ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="dial-1")
TOKEN = SecretStr("a-token")


@asynccontextmanager
async def account(callee: Callee | None = None) -> AsyncIterator[tuple[ExotelAccount, ExotelCalls]]:
    async with ExotelAccount() as it:
        it.exchange.callees = {ORDER.to: callee or Callee(fate="busy", ring_s=5)}
        yield it, calls_of(it)


def calls_of(it: ExotelAccount, *, token: str = "", url: str = "") -> ExotelCalls:
    rest = ExotelRest(
        account_sid=SecretStr(it.account_sid),
        api_key=SecretStr(it.api_key),
        api_token=SecretStr(token or it.api_token),
        api_url=url or it.url,
    )
    return ExotelCalls(rest=rest, public_url="https://agent.example.com")


@asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """Serve one answer to every request."""

    async def say(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", say)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def placed(it: ExotelAccount) -> ExotelDial:
    [dial] = it.exchange.placed.values()
    return dial


async def failed(calls: ExotelCalls) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await calls.dial(ORDER)
    return caught.value


async def test_a_call_is_requested_with_proven_addresses() -> None:
    async with account() as (it, calls):
        call_sid = await calls.dial(ORDER)
        dial, token = placed(it), SecretStr(it.api_token)
        media, status = (dial_proof(token, "dial-1", name) for name in ("media", "status"))

        assert call_sid == dial.phone.call_sid
        assert dial.order == {
            "From": "+15005550111",
            "CallerId": "+15005550006",
            "StreamUrl": f"wss://agent.example.com/exotel/media/dial-1/{media}",
            "StreamType": "bidirectional",
            "CustomField": "dial-1",
            "StatusCallback": f"https://agent.example.com/exotel/status/dial-1/{status}",
        }
        assert dial.events == {"ringing", "answered", "terminal"}
        assert it.api_token not in str(dial.order)


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


async def test_a_call_lasts_until_its_end_and_has_a_price_some_time_later() -> None:
    async with account() as (_, calls):
        call_sid = await calls.dial(ORDER)
        ringing = await calls.fetch(call_sid)
        await asyncio.sleep(6)
        over = await calls.fetch(call_sid)
        await asyncio.sleep(3)
        billed = await calls.fetch(call_sid)

        assert ringing is not None
        assert over is not None
        assert billed is not None
        assert (ringing.outcome, ringing.cost) == (None, None)
        assert (over.outcome, over.cost) == ("busy", None)
        assert (billed.outcome, billed.cost) == ("busy", 0.0)


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [("busy", "busy"), ("no-answer", "no-answer"), ("failed", "failed")],
)
async def test_an_ended_call_has_its_outcome(fate: Fate, outcome: LegOutcome) -> None:
    async with account(Callee(fate=fate)) as (_, calls):
        call_sid = await calls.dial(ORDER)
        await asyncio.sleep(5)
        over = await calls.fetch(call_sid)

        assert over is not None
        assert over.outcome == outcome


async def test_an_unknown_call_is_no_call() -> None:
    async with account() as (_, calls):
        assert await calls.fetch("no/such?call") is None


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


@pytest.mark.parametrize("body", [b'{"Call": {"Sid": "c1"}}', b'{"call": {"sid": "c1"}}'])
async def test_names_are_read_in_both_documented_spellings(body: bytes) -> None:
    async with ExotelAccount() as it, answering(body) as url:
        assert await calls_of(it, url=url).dial(ORDER) == "c1"


UNCLEAR = {
    "an error that is called well": b'{"RestException": {"Status": 400, "Message": "no"}}',
    "no id": b'{"Call": {"Sid": ""}}',
    "an id that is none": b'{"Call": {"Sid": 7}}',
    "a list": b"[]",
    "no JSON": b"<TwilioResponse/>",
    "too deep": b'{"Call": ' + b"[" * 20_000,
    "too long": b'{"Call": {"Sid": "c1"}}' + b" " * MOST_ANSWER_BYTES,
}


@pytest.mark.parametrize("body", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_an_answer_without_an_id_is_no_certain_refusal(body: bytes) -> None:
    async with ExotelAccount() as it, answering(body) as url:
        error = await failed(calls_of(it, url=url))

        assert isinstance(error, TransientError)
        assert error.failure.kind is Kind.PROTOCOL


async def test_an_invalid_number_is_refused() -> None:
    async with account() as (it, calls):
        with pytest.raises(PermanentError) as refused:
            await calls.dial(replace(ORDER, to="+1"))

        assert refused.value.failure.kind is Kind.BAD_REQUEST
        assert it.book == []


async def test_a_do_not_disturb_number_is_refused_and_the_key_is_healthy() -> None:
    async with account() as (it, calls):
        it.barred = {ORDER.to}
        failure = (await failed(calls)).failure

        assert (failure.kind, failure.scope) == (Kind.BAD_REQUEST, Scope.PAYLOAD)
        assert failure.reason == "HTTP 403"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (HTTPStatus.PAYMENT_REQUIRED, Kind.QUOTA),
        (HTTPStatus.FORBIDDEN, Kind.AUTH),
        (HTTPStatus.NOT_FOUND, Kind.NOT_FOUND),
        (HTTPStatus.TOO_MANY_REQUESTS, Kind.RATE_LIMITED),
        (HTTPStatus.SERVICE_UNAVAILABLE, Kind.OVERLOADED),
    ],
)
async def test_an_account_failure_has_a_kind(status: int, kind: Kind) -> None:
    async with account() as (it, calls):
        it.answer_with = status

        assert (await failed(calls)).failure.kind is kind
        assert it.book == []


async def test_a_wrong_token_is_permanent_and_in_no_message() -> None:
    async with ExotelAccount() as it:
        error = await failed(calls_of(it, token="s3cret"))

        assert error.failure.kind is Kind.AUTH
        assert "s3cret" not in str(error)
