"""Placing calls with every carrier: requests, refusals, lost answers and outcomes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from pydantic import SecretStr

from calls.leg_events import LegOutcome
from calls.outbound import DialOutcome
from fallbacks.failure import Kind
from lab.simulators.carrier.callee import Callee
from tests.campaigns.placing import OURS, A, B, ended, request, withdrawn
from tests.transports.conformance.accounts import (
    OPENERS,
    PUBLIC,
    Account,
    failure_of,
    lost,
    unheard,
)
from transports.dialling import (
    CancellingCarrier,
    DialRefusedError,
    DialWithdrawnError,
    FoundCall,
    HeardLeg,
    RecallingCarrier,
)
from transports.exotel.dialling import dial_proof
from transports.telnyx.events import encoded_state

pytestmark = pytest.mark.virtual_time

FAR_AHEAD_S: Final = 4e9  # our clock differs from the carrier's
EVERY: Final = pytest.mark.parametrize("carrier", OPENERS)


def of(*carriers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("carrier", carriers)


def twilio_order(_: Account) -> Mapping[str, Any]:
    status = f"{PUBLIC}/twilio/status?dial=d-1"
    return {
        "To": A,
        "From": OURS,
        "Url": f"{PUBLIC}/twilio/voice?dial=d-1",
        "Method": "POST",
        "Timeout": "30",
        "StatusCallback": status,
        "StatusCallbackMethod": "POST",
        "StatusCallbackEvent": "completed",
        "MachineDetection": "Enable",
        "AsyncAmd": "true",
        "AsyncAmdStatusCallback": status,
        "AsyncAmdStatusCallbackMethod": "POST",
    }


def telnyx_order(it: Account) -> Mapping[str, Any]:
    return {
        "connection_id": it.api.connection_id,
        "to": A,
        "from": OURS,
        "webhook_url": f"{PUBLIC}/telnyx/voice",
        "webhook_url_method": "POST",
        "client_state": encoded_state("d-1"),
        "command_id": "d-1",
        "timeout_secs": 30,
        "answering_machine_detection": "detect",
    }


def plivo_order(_: Account) -> Mapping[str, Any]:
    status = f"{PUBLIC}/plivo/status?dial=d-1"
    return {
        "from": OURS.removeprefix("+"),
        "to": A.removeprefix("+"),
        "answer_url": f"{PUBLIC}/plivo/voice?dial=d-1",
        "answer_method": "POST",
        "ring_url": status,
        "ring_method": "POST",
        "hangup_url": status,
        "hangup_method": "POST",
        "ring_timeout": 30,
        "machine_detection": "true",
        "machine_detection_url": status,
        "machine_detection_method": "POST",
    }


def exotel_order(it: Account) -> Mapping[str, Any]:
    token = SecretStr(it.api.api_token)
    media, status = (dial_proof(token, "d-1", purpose) for purpose in ("media", "status"))
    return {
        "From": A,
        "CallerId": OURS,
        "StreamUrl": f"{PUBLIC.replace('http', 'ws', 1)}/exotel/media/d-1/{media}",
        "StreamType": "bidirectional",
        "CustomField": "d-1",
        "StatusCallback": f"{PUBLIC}/exotel/status/d-1/{status}",
    }


ORDERS: Final[Mapping[str, Callable[[Account], Mapping[str, Any]]]] = {
    "twilio": twilio_order,
    "telnyx": telnyx_order,
    "plivo": plivo_order,
    "exotel": exotel_order,
}
EVENTS: Final = {
    "twilio": {"initiated", "ringing", "answered", "completed"},
    "exotel": {"ringing", "answered", "terminal"},
}


@EVERY
async def test_a_dial_request_has_our_own_id_in_every_address(carrier: str) -> None:
    async with unheard(carrier) as it:
        await it.carrier.dial(request("d-1"))

        assert it.placed.order == ORDERS[carrier](it)
        assert it.placed.events == EVENTS.get(carrier, frozenset())
        secret = getattr(it.rest, it.key).get_secret_value()
        assert secret not in str(it.placed.order)


RINGS: Final = {
    "twilio": ("Timeout", 1),
    "telnyx": ("timeout_secs", 5),
    "plivo": ("ring_timeout", 1),
}


@of(*RINGS)
@pytest.mark.parametrize("ring_s", [0.2, 45.4, 9000.0])
async def test_a_dial_rings_as_long_as_the_carrier_allows(carrier: str, ring_s: float) -> None:
    field, least = RINGS[carrier]
    async with unheard(carrier) as it:
        await it.carrier.dial(replace(request("d-1"), patience_s=ring_s))

        assert int(it.placed.order[field]) == max(least, min(600, round(ring_s)))


@of("twilio", "plivo")
async def test_machine_detection_is_off_unless_requested(carrier: str) -> None:
    async with unheard(carrier) as it:
        await it.make(rest=it.rest, number=OURS, news=it.news, machine="").dial(request("d-1"))

        assert not [name for name in it.placed.order if "machine" in name.lower()]


PACES: Final = {"twilio": 1.0, "telnyx": 1.0, "plivo": 2.0, "exotel": 2.0}


@EVERY
async def test_an_accounts_pace_is_kept(carrier: str) -> None:
    async with unheard(carrier) as it:
        began_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(it.carrier.dial(request(f"d-{at}")) for at in range(4)))
        took_s = asyncio.get_running_loop().time() - began_s

        assert len(it.ids) == 4
        assert took_s == pytest.approx(3 / PACES[carrier], abs=0.2)


@EVERY
async def test_a_rate_limited_dial_request_is_repeated_and_places_one_call(
    carrier: str,
) -> None:
    confirmed: list[int | None] = []

    async def confirm() -> None:
        confirmed.append(it.faults.answer_with)
        it.faults.answer_with = 429 if len(confirmed) < 3 else None

    async with unheard(carrier) as it:
        await it.carrier.dial(replace(request("d-1"), confirm=confirm))

        assert (confirmed, len(it.ids)) == ([None, 429, 429], 1)


@EVERY
async def test_a_dial_withdrawn_while_it_waits_is_not_requested(carrier: str) -> None:
    async with unheard(carrier) as it:
        with pytest.raises(DialWithdrawnError):
            await it.carrier.dial(withdrawn("d-1"))

        assert it.ids == []


REFUSALS: Final = {
    "twilio": "HTTP 400, Twilio error 21211",
    "telnyx": "HTTP 422, Telnyx error 10016",
    "plivo": "HTTP 400",
    "exotel": "HTTP 400",
}


@EVERY
async def test_an_invalid_number_does_not_count_against_the_account(carrier: str) -> None:
    async with unheard(carrier) as it:
        with pytest.raises(DialRefusedError) as refused:
            await it.carrier.dial(request("d-1", to="+1"))

        assert (str(refused.value), it.ids) == (REFUSALS[carrier], [])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.AUTH),
        (404, Kind.NOT_FOUND),
        (503, Kind.OVERLOADED),
    ],
)
@EVERY
async def test_an_account_failure_does_not_count_against_the_number(
    carrier: str, status: int, kind: Kind
) -> None:
    async with unheard(carrier) as it:
        it.faults.answer_with = status
        if (carrier, status) == ("plivo", 404):  # it answers so where there is nothing yet
            kind = Kind.PROTOCOL
        assert await failure_of(it.carrier) is kind
        assert it.ids == []


@EVERY
async def test_a_wrong_key_is_in_no_message(carrier: str) -> None:
    async with unheard(carrier) as it:
        wrong = it.another(**{it.key: SecretStr("s3cret")})

        assert await failure_of(wrong) is Kind.AUTH


@EVERY
async def test_without_a_callback_a_dial_is_followed_to_its_outcome(carrier: str) -> None:
    async with unheard(carrier) as it:
        await it.carrier.dial(request("d-1"))
        await it.carrier.dial(request("d-2", B))
        busy, unanswered = await ended(it.carrier, "d-1"), await ended(it.carrier, "d-2", B)

        assert [busy.outcome, unanswered.outcome] == [DialOutcome.BUSY, DialOutcome.NO_ANSWER]
        assert [busy.provider_call_id, unanswered.provider_call_id] == it.ids


@EVERY
async def test_a_ringing_call_is_found_without_an_outcome(carrier: str) -> None:
    async with unheard(carrier, **{A: Callee(ring_s=20)}) as it:
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(1)

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(provider_call_id=it.ids[0])


HEARD: Final[Mapping[LegOutcome, DialOutcome]] = {
    "completed": DialOutcome.COMPLETED,
    "busy": DialOutcome.BUSY,
    "no-answer": DialOutcome.NO_ANSWER,
    "failed": DialOutcome.FAILED,
    "cancelled": DialOutcome.CANCELLED,
    "voicemail": DialOutcome.VOICEMAIL,
}


@pytest.mark.parametrize(
    ("carrier", "said"),
    [*(("telnyx", said) for said in HEARD), ("plivo", "busy"), ("exotel", "busy")],
)
async def test_a_callback_decides_the_outcome_and_the_carrier_is_not_asked(
    carrier: str, said: LegOutcome
) -> None:
    async with unheard(carrier) as it:
        await it.carrier.dial(request("d-1"))
        it.news.told["d-1"] = HeardLeg(call_ref="the-call", answered=True, ended=said)
        it.faults.answer_with = 503

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id="the-call", outcome=HEARD[said], answered=True
        )


@of("telnyx", "plivo", "exotel")
async def test_a_callback_shows_an_answer(carrier: str) -> None:
    async with unheard(carrier, **{A: Callee(ring_s=20)}) as it:
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(1)
        it.news.told["d-1"] = HeardLeg(call_ref=it.ids[0], answered=True)

        assert await it.carrier.find("d-1", A, 0.0) == FoundCall(
            provider_call_id=it.ids[0], answered=True
        )


@EVERY
async def test_a_dial_whose_answer_was_lost_is_found_by_a_callback_to_any_process(
    carrier: str,
) -> None:
    async with unheard(carrier) as it:
        await lost(it, request("d-1"))
        it.news.told["d-1"] = HeardLeg(call_ref=it.ids[0])

        assert await it.another().find("d-1", A, FAR_AHEAD_S)
        await asyncio.sleep(10)  # Plivo has a record by then
        assert (await ended(it.another(), "d-1")).outcome is DialOutcome.BUSY


@of("twilio", "telnyx", "plivo")
@pytest.mark.parametrize("after_s", [0.0, 10.0], ids=["ringing", "over"])
async def test_a_dial_whose_answer_was_lost_is_found_without_a_callback(
    carrier: str, after_s: float
) -> None:
    async with unheard(carrier, **{A: Callee(fate="busy", ring_s=5)}) as it:
        await lost(it, request("d-1"))
        await asyncio.sleep(after_s)
        found = await it.carrier.find("d-1", A, 0.0)

        assert found is not None
        assert len(it.ids) == 1
        queued = [getattr(it.placed, "request_uuid", "")]  # Plivo's name of a call in its queue
        assert found.provider_call_id in [*it.ids, *queued]
        if after_s:
            assert await it.another().find("d-1", B, 0.0) is None
            assert await it.another().find("d-1", A, FAR_AHEAD_S) is None


@of("twilio", "telnyx", "plivo")
async def test_a_call_of_another_dial_is_not_taken_for_ours(carrier: str) -> None:
    async with unheard(carrier) as it:
        await it.carrier.dial(request("d-1"))

        assert await it.carrier.find("d-2", A, 0.0) is None


@of("twilio", "plivo", "exotel")
async def test_a_dead_processs_dial_is_followed_by_its_stored_id(carrier: str) -> None:
    async with unheard(carrier) as it:
        await it.carrier.dial(request("d-1"))
        await asyncio.sleep(10)
        another: Any = it.another()
        assert isinstance(another, RecallingCarrier) is True
        another.recall("d-1", it.ids[0])

        found = await another.find("d-1", A, FAR_AHEAD_S)
        assert found is not None
        assert (await ended(another, "d-1")).outcome is DialOutcome.BUSY


@of("twilio", "telnyx", "plivo")
async def test_a_ringing_dial_is_cancelled(carrier: str) -> None:
    async with unheard(carrier, **{A: Callee(ring_s=30.0)}) as it:
        ordered = await it.carrier.dial(request("d-1"))
        assert isinstance(it.carrier, CancellingCarrier) is True
        await asyncio.sleep(3.0)
        await it.carrier.cancel("d-1", ordered)

        assert (await ended(it.carrier, "d-1")).outcome is DialOutcome.CANCELLED
