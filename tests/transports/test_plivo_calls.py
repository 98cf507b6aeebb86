"""Outbound calls: requests to Plivo, its lists of calls, and the meaning of its refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from bot.clock import utc_now
from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from fallbacks.failure import Kind, PermanentError, TransientError
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.plivo_exchange import PlivoRestApi
from transports.dialling import DialOrder
from transports.plivo.dialling import PlivoCalls
from transports.plivo.rest import PlivoRest, ending_of

pytestmark = pytest.mark.virtual_time

ORDER = DialOrder(to="+15005550111", caller="+15005550006", ref="dial-1", machine="true")
OTHER = replace(ORDER, to="+15005550112")


@asynccontextmanager
async def desk(callee: Callee | None = None) -> AsyncIterator[tuple[PlivoRestApi, PlivoCalls]]:
    async with PlivoAccount() as account, PlivoRestApi(account) as it:
        rings = Callee(fate="busy", ring_s=30)
        it.exchange.callees = {ORDER.to: callee or rings, OTHER.to: rings}
        yield it, calls_of(account)


def calls_of(account: PlivoAccount, token: str = "") -> PlivoCalls:
    rest = PlivoRest(
        auth_id=SecretStr(account.auth_id),
        auth_token=SecretStr(token or account.auth_token),
        api_url=account.url,
    )
    return PlivoCalls(rest=rest, public_url="https://agent.example.com")


def orders(it: PlivoRestApi) -> list[dict[str, object]]:
    return [dict(item.order) for item in it.exchange.placed.values()]


async def test_a_call_is_requested_with_our_own_id_in_every_address() -> None:
    async with desk() as (it, calls):
        request_uuid = await calls.dial(ORDER)
        [placed] = it.exchange.placed.values()

        url = "https://agent.example.com/plivo/status?dial=dial-1"
        assert request_uuid == placed.request_uuid
        assert placed.order == {
            "from": "15005550006",
            "to": "15005550111",
            "answer_url": "https://agent.example.com/plivo/voice?dial=dial-1",
            "answer_method": "POST",
            "ring_url": url,
            "ring_method": "POST",
            "hangup_url": url,
            "hangup_method": "POST",
            "ring_timeout": 30,
            "machine_detection": "true",
            "machine_detection_url": url,
            "machine_detection_method": "POST",
        }


async def test_machine_detection_is_off_unless_requested() -> None:
    async with desk() as (it, calls):
        await calls.dial(replace(ORDER, machine=""))

        assert not [name for name in orders(it)[0] if name.startswith("machine")]


async def test_a_call_is_found_while_queued_while_ringing_and_after_its_end() -> None:
    async with desk(Callee(fate="busy", ring_s=5)) as (it, calls):
        it.one_id, it.exchange.calls_per_s = True, 0.5
        began = utc_now()
        await calls.dial(OTHER)
        uuid = await calls.dial(ORDER)
        waiting = await calls.fetch(uuid)
        await asyncio.sleep(3)
        ringing = await calls.fetch(uuid)
        await asyncio.sleep(5)
        between = await calls.fetch(uuid)
        await asyncio.sleep(3)
        over = await calls.fetch(uuid)

        assert waiting is not None
        assert ringing is not None
        assert over is not None
        assert (waiting.uuid, waiting.outcome, waiting.answered) == (uuid, None, False)
        assert (ringing.uuid, ringing.outcome, ringing.answered) == (uuid, None, False)
        assert between is None
        assert (over.uuid, over.outcome, over.cost) == (uuid, "busy", 0.0)
        assert over.created is not None
        assert abs((over.created - began).total_seconds()) < 2


async def test_a_call_is_found_by_its_number_in_any_list() -> None:
    async with desk(Callee(fate="busy", ring_s=5)) as (it, calls):
        it.exchange.calls_per_s = 0.5
        began = utc_now()
        await calls.dial(OTHER)
        request_uuid = await calls.dial(ORDER)
        uuid = it.book[1][0]
        found = [await calls.search(to=ORDER.to, since=began)]
        await asyncio.sleep(3)
        found.append(await calls.search(to=ORDER.to, since=began))
        await asyncio.sleep(8)
        found.append(await calls.search(to=ORDER.to, since=began))
        later = began.replace(year=began.year + 1)

        assert [[item.uuid for item in known] for known in found] == [
            [request_uuid],
            [uuid],
            [uuid],
        ]
        assert [known[0].request_uuid for known in found] == [request_uuid, request_uuid, ""]
        assert await calls.search(to="+15005550999", since=began) == []
        assert await calls.search(to=ORDER.to, since=later) == []


async def test_a_full_list_does_not_prove_that_a_call_is_missing() -> None:
    async with desk() as (it, calls):
        it.exchange.calls_per_s = 0.01
        for at in range(21):
            await calls.dial(replace(ORDER, to=f"+150055502{at:02}"))

        with pytest.raises(TransientError):
            await calls.search(to=ORDER.to, since=utc_now())


@pytest.mark.parametrize("calls_per_s", [0.01, 100.0], ids=["queued", "ringing"])
async def test_an_unanswered_call_can_be_cancelled(calls_per_s: float) -> None:
    async with desk() as (it, calls):
        it.exchange.calls_per_s = calls_per_s
        await calls.dial(OTHER)
        request_uuid = await calls.dial(ORDER)
        await asyncio.sleep(1)
        await calls.cancel(request_uuid)
        await asyncio.sleep(3)
        over = await calls.fetch(it.book[1][0])

        assert over is not None
        assert over.outcome == "cancelled"


async def test_without_an_id_no_request_is_made_that_would_end_every_call() -> None:
    asked: list[tuple[object, ...]] = []

    async def ask(*each: object) -> None:
        asked.append(each)

    rest: Any = SimpleNamespace(ask=ask)
    await PlivoCalls(rest=rest, public_url="https://agent.example.com").cancel("")

    assert asked == []


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [("busy", "busy"), ("no-answer", "no-answer"), ("failed", "failed")],
)
async def test_a_record_has_the_end_of_a_call(fate: Fate, outcome: LegOutcome) -> None:
    async with desk(Callee(fate=fate)) as (it, calls):
        await calls.dial(ORDER)
        await asyncio.sleep(5)
        over = await calls.fetch(it.book[0][0])

        assert over is not None
        assert (over.outcome, over.answered, over.length_s) == (outcome, False, None)


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("completed", "4000", "completed"),
        ("completed", "4010", "completed"),
        ("completed", "3010", "busy"),
        ("completed", "6010", "no-answer"),
        ("busy", "3010", "busy"),
        ("busy", "", "busy"),
        ("no-answer", "3000", "no-answer"),
        ("no-answer", "", "no-answer"),
        ("timeout", "6010", "no-answer"),
        ("timeout", "", "failed"),
        ("failed", "2000", "failed"),
        ("cancel", "1000", "cancelled"),
        ("cancel", "", "cancelled"),
        ("failed", "3020", "busy"),
        ("", "9999", "failed"),
        ("something else", "", "failed"),
    ],
)
def test_plivos_statuses_of_an_end_are_the_fields(
    status: str, code: str, outcome: LegOutcome
) -> None:
    assert OUTCOMES[ending_of(status, code)] == outcome


async def test_an_invalid_number_is_refused() -> None:
    async with desk() as (_, calls):
        with pytest.raises(PermanentError) as refused:
            await calls.dial(replace(ORDER, to="+1"))

        assert refused.value.failure.kind is Kind.BAD_REQUEST
        assert refused.value.failure.reason == "HTTP 400"


async def test_a_wrong_key_is_permanent_and_in_no_message() -> None:
    async with PlivoAccount() as account:
        with pytest.raises(PermanentError) as refused:
            await calls_of(account, token="s3cret").dial(ORDER)

    assert refused.value.failure.kind is Kind.AUTH
    assert "s3cret" not in str(refused.value)


async def test_an_empty_answer_is_no_certain_refusal() -> None:
    async with PlivoAccount() as account:
        with pytest.raises(TransientError) as unclear:
            await calls_of(account).dial(ORDER)

    assert unclear.value.failure.kind is Kind.PROTOCOL


async def test_a_carrier_that_is_down_places_nothing_and_says_so() -> None:
    async with PlivoAccount() as account, PlivoRestApi(account) as it:
        account.answer_with = 503
        with pytest.raises(TransientError) as refused:
            await calls_of(account).dial(ORDER)

        assert refused.value.failure.kind is Kind.OVERLOADED
        assert it.book == []
