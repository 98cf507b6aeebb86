"""One call outside any campaign, and its reported result."""

import asyncio
from dataclasses import replace

import pytest

from calls.outbound import DialOutcome, DialResult
from campaigns.dialing import MAX_CALL_S, DialerSettings
from campaigns.one_call import OneCall
from campaigns.order_gate import Order
from tests.campaigns.dialing import Floor, ScriptedCarrier, now_s
from tests.kit.dials import OpenGate
from transports.dialling import FoundCall

pytestmark = pytest.mark.virtual_time

A = "+15005550101"


async def called(carrier: ScriptedCarrier, floor: Floor | None = None) -> DialResult:
    floor = floor or Floor()
    floor.numbers["one-1"] = A
    call = OneCall(
        carrier=carrier,
        gate=OpenGate(),
        calls=floor,
        pool=floor,
        settings=DialerSettings(),
        now_s=now_s,
    )
    result = await call.make(Order(id="one-1", source="api", by="an operator", number=A))
    assert isinstance(result, DialResult)
    return result


async def test_a_call_with_a_talk_is_completed() -> None:
    result = await called(ScriptedCarrier())

    assert (result.outcome, result.length_s) == (DialOutcome.COMPLETED, 20.0)


async def test_a_busy_number_is_called_once() -> None:
    carrier = ScriptedCarrier(fates={A: DialOutcome.BUSY})

    result = await called(carrier)

    assert result.outcome is DialOutcome.BUSY
    assert carrier.record == ["one-1"]


async def test_a_call_whose_answer_was_lost_is_followed_anyway() -> None:
    carrier = ScriptedCarrier(lost_answers=1)

    result = await called(carrier)

    assert result.outcome is DialOutcome.COMPLETED
    assert carrier.record == ["one-1"]


async def test_a_call_without_a_status_has_an_unknown_end() -> None:
    result = await called(ScriptedCarrier(deaf=10_000))

    assert (result.outcome, result.reason) == (DialOutcome.UNKNOWN, "lost_at_carrier")


class EndlessScript(ScriptedCarrier):
    """Reports no end of a call."""

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        found = await super().find(dial_id, to, since_s)
        return found and replace(found, outcome=None)


@pytest.mark.parametrize("answers_after_s", [1e9, 0.0], ids=["rings", "talks"])
async def test_a_call_whose_end_the_carrier_lost_is_followed_for_a_bounded_time(
    answers_after_s: float,
) -> None:
    async with asyncio.timeout(MAX_CALL_S + 300.0):
        result = await called(EndlessScript(answers_after_s=answers_after_s))

    assert result.outcome is DialOutcome.UNKNOWN


async def test_a_failure_of_the_agent_is_reported() -> None:
    result = await called(ScriptedCarrier(), Floor(failing={A: "call_failed"}))

    assert (result.outcome, result.reason) == (DialOutcome.AGENT_FAILED, "call_failed")


async def test_a_number_that_the_carrier_refuses_has_failed() -> None:
    result = await called(ScriptedCarrier(refused={A}))

    assert (result.outcome, result.reason) == (DialOutcome.FAILED, "carrier_refused")


@pytest.mark.parametrize(
    ("answers_after_s", "called_off"), [(20.0, ["one-1"]), (0.0, [])], ids=["rings", "talks"]
)
async def test_a_stopping_server_cancels_ringing_dials(
    answers_after_s: float, called_off: list[str]
) -> None:
    carrier = ScriptedCarrier(answers_after_s=answers_after_s)

    result = await called(carrier, Floor(leaving=True))

    expected = DialOutcome.CANCELLED if called_off else DialOutcome.COMPLETED
    assert result.outcome is expected
    assert list(carrier.cancelled) == called_off
