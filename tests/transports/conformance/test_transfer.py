"""Every carrier transfers a caller: to a person who answers, or back to the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from lab.simulators.carrier.callee import Callee, Fate
from lab.simulators.carrier.carrier import Carrier
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import Call, tone

pytestmark = pytest.mark.virtual_time

DESK: Final = Destination(name="billing", number="+15005550199")
SIP_DESK: Final = Destination(name="billing", number="sip:billing@example.com")
CAUSES: Final = {"answered": "answered", "busy": "user_busy", "no-answer": "timeout"}  # Telnyx's
EVERY: Final = pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
REDIRECTS: Final = pytest.mark.parametrize("carrier", ["twilio", "plivo"])


@dataclass(frozen=True, kw_only=True)
class Transferring:
    """A caller in a call with an agent who may transfer them."""

    carrier: str
    server: CarrierServer
    caller: Carrier
    call: Call

    def answer_as(self, callee: Callee, to: Destination = DESK) -> None:
        """Make the person at a destination behave like `callee`."""
        it = self.server
        if self.carrier == "twilio":
            it.twilio.exchange.callees[to.number] = callee
        elif self.carrier == "plivo":
            it.plivo.switch.people[to.number] = callee
        else:
            failed = "call_rejected" if callee.sip == 603 else "not_found"
            it.telnyx.people[to.number] = CAUSES.get(callee.fate, failed)

    def refuse_with(self, status: int | None) -> None:
        """Make the carrier answer every request with a status; `None` for its usual answers."""
        it = self.server
        it.twilio.answer_with = it.plivo.answer_with = it.telnyx.answer_with = status

    async def transfer(self, to: Destination = DESK, *, ring_s: float = 20.0) -> Handover:
        return await self.call.leg.transfer(to, ring_s=ring_s)

    async def leave(self) -> None:
        """Hang up as the agent, whose caller was transferred."""
        await self.call.leg.hang_up("transfer")
        await asyncio.sleep(1)
        await self.call.worker.cancel()

    async def goes_on(self) -> None:
        """Check that the caller hears the agent, in the same call."""
        await self.call.say(tone(0.3))
        assert (await self.caller.listen(quiet_s=0.2)).size
        assert (self.call.gone_for, len(self.server.pool.calls)) == ([], 1)

    @property
    def dialled(self) -> list[str]:
        """The numbers that the carrier was told to ring."""
        it = self.server
        telnyx = [fields["to"] for _, action, fields in it.telnyx.commands if action == "transfer"]
        dials = [*it.twilio.exchange.dialled, *it.plivo.switch.dialled]
        return [*telnyx, *(dial.number for dial in dials)]

    @property
    def hang_ups(self) -> int:
        """How often the carrier was told to end the call."""
        it = self.server
        twilio = [status for _, status in it.twilio.requests if status == "completed"]
        plivo = [request for request in it.plivo.requests if request[0] == "DELETE"]
        telnyx = [command for command in it.telnyx.commands if command[1] == "hangup"]
        return len(twilio) + len(plivo) + len(telnyx)


@asynccontextmanager
async def transferring(
    carrier: str, callee: Callee, *, to: Destination = DESK, returns_within_s: float = 30.0
) -> AsyncIterator[Transferring]:
    async with (
        carrier_server(returns_within_s=returns_within_s) as it,
        it.caller(carrier) as caller,
    ):
        call = await it.pool.call()
        on = Transferring(carrier=carrier, server=it, caller=caller, call=call)
        on.answer_as(callee, to)
        yield on


@EVERY
async def test_a_person_who_answers_gets_the_caller(carrier: str) -> None:
    async with transferring(carrier, Callee(talk_s=20)) as on:
        assert on.call.leg.facts.transfers
        assert await on.transfer() == "connected"

        await on.leave()
        await asyncio.sleep(5)
        assert not on.caller.ended.is_set()  # they talk
        assert (on.dialled, on.hang_ups) == ([DESK.number], 0)
        assert not any(isinstance(event, ProviderFailed) for event in on.server.pool.told)


@REDIRECTS
async def test_the_call_ends_after_the_talk(carrier: str) -> None:
    async with transferring(carrier, Callee(talk_s=20)) as on:
        await on.transfer()
        await on.leave()

        await asyncio.wait_for(on.caller.ended.wait(), 30)
        assert on.hang_ups == 0


@pytest.mark.parametrize(
    ("fate", "sip_code", "outcome", "returns_within_s"),
    [
        ("busy", None, "busy", 0),
        ("busy", None, "busy", 30),
        ("no-answer", None, "no_answer", 30),
        ("failed", None, "failed", 30),
        ("failed", 603, "declined", 30),
    ],
)
@EVERY
async def test_a_caller_without_an_answer_is_back_in_the_conversation(
    carrier: str, fate: Fate, sip_code: int | None, outcome: Handover, returns_within_s: float
) -> None:
    callee = Callee(fate=fate, sip_code=sip_code)
    async with transferring(carrier, callee, returns_within_s=returns_within_s) as on:
        assert await on.transfer() == outcome
        await on.goes_on()


@EVERY
async def test_a_caller_can_be_transferred_again(carrier: str) -> None:
    async with transferring(carrier, Callee(fate="busy")) as on:
        assert await on.transfer() == "busy"
        on.answer_as(Callee())
        assert await on.transfer() == "connected"
        await on.leave()


@REDIRECTS
async def test_a_person_who_does_not_answer_in_time_is_no_longer_called(carrier: str) -> None:
    async with transferring(carrier, Callee(ring_s=60)) as on:
        began_s = on.caller.now_s

        assert await on.transfer(ring_s=10) == "no_answer"
        assert on.caller.now_s - began_s == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [("answered", "connected"), ("busy", "busy"), ("no-answer", "no_answer")],
)
@REDIRECTS
async def test_a_sip_address_is_called(carrier: str, fate: Fate, outcome: Handover) -> None:
    async with transferring(carrier, Callee(fate=fate), to=SIP_DESK) as on:
        assert await on.transfer(SIP_DESK) == outcome
        assert on.dialled == [SIP_DESK.number]
        await on.call.leg.hang_up("transfer")
        await on.call.worker.cancel()


@EVERY
async def test_a_transfer_that_the_carrier_refuses_leaves_the_call_as_it_is(carrier: str) -> None:
    async with transferring(carrier, Callee()) as on:
        on.refuse_with(500)
        assert await on.transfer() == "failed"
        on.refuse_with(None)

        await on.goes_on()
        failed = ProviderFailed(stage="transport", provider=carrier, error="redirect answered 500")
        assert on.server.pool.told == ([] if carrier == "telnyx" else [failed])
        assert (on.caller.lost_at, on.dialled) == ([], [])


@REDIRECTS
async def test_a_caller_who_hangs_up_while_it_rings_is_reported(carrier: str) -> None:
    async with transferring(carrier, Callee(ring_s=10)) as on, asyncio.TaskGroup() as tasks:
        transfer = tasks.create_task(on.transfer())
        await asyncio.sleep(2)
        await on.call.leg.carrier_ended()

        assert await transfer == "failed"
        assert on.call.gone_for == ["caller_hung_up"]


@pytest.mark.parametrize("carrier", ["twilio", "plivo", "exotel"])
async def test_a_carrier_that_cannot_transfer_offers_no_transfer(carrier: str) -> None:
    async with carrier_server(hands_on=False) as it, it.caller(carrier):
        leg = (await it.pool.call()).leg

        assert not leg.facts.transfers
        assert await leg.transfer(DESK, ring_s=20) == "not_offered"
