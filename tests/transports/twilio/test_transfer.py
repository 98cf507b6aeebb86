"""A caller is transferred through Twilio: to a person who answers, or back to the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from calls.events import ProviderFailed
from calls.handover import Destination, Handover, RingTrouble
from lab.simulators.carrier.callee import Callee, read_dial_verb
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import AgentServer
from tests.bot.server.twiml import verbs
from tests.transports.twilio_server import TOKEN, Call, WorkerPool, pool, tone
from transports.media_stream.leg import LATE_S
from transports.rest import CARRIER_REQUEST_S
from transports.twilio.rest import TwilioRest, dial_twiml

pytestmark = pytest.mark.virtual_time

ACCOUNT = "AC" + "0" * 32
DESK = Destination(name="billing", number="+15005550999")
SIP_DESK = Destination(name="billing", number="sip:billing@example.com")


class Line:
    """A caller in a call with an agent who may transfer them."""

    def __init__(self, it: WorkerPool, office: CarrierRest, caller: Carrier, call: Call) -> None:
        self.it, self.office, self.caller, self.call = it, office, caller, call


@asynccontextmanager
async def line(
    callee: Callee, *, to: Destination = DESK, returns_within_s: float = 30
) -> AsyncIterator[Line]:
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=office.url)
        async with pool(rest=rest, returns_within_s=returns_within_s) as it:
            office.exchange.server = AgentServer(
                base_url=it.url, public_url=it.url, auth_token=TOKEN
            )
            office.exchange.callees[to.number] = callee
            async with Carrier(it.url, TOKEN) as caller:
                office.register_call(caller)
                yield Line(it, office, caller, await it.call())


@pytest.mark.parametrize(
    ("callee", "outcome", "breaks_off", "returns_within_s"),
    [
        (Callee(talk_s=20), "connected", False, 30),
        (Callee(talk_s=20), "connected", True, 0),
        (Callee(fate="busy"), "busy", True, 30),
        (Callee(ring_s=60), "no_answer", False, 0),
        (Callee(ring_s=60), "no_answer", True, 30),
    ],
    ids=["answers late", "answers", "is busy", "does not answer, late", "does not answer"],
)
async def test_a_request_whose_answer_is_lost_may_be_in_progress(
    callee: Callee,
    outcome: Handover,
    *,
    breaks_off: bool,
    returns_within_s: float,
) -> None:
    async with line(callee, returns_within_s=returns_within_s) as on:
        on.office.breaks_off = breaks_off
        on.office.change_delay_s = 2.0 if breaks_off else 7.0

        assert await on.call.leg.transfer(DESK, ring_s=10) == outcome
        assert (on.call.gone_for, len(on.it.calls)) == ([], 1)
        assert [item.number for item in on.office.exchange.dialled] == [DESK.number]
        if outcome == "connected":
            await on.call.leg.hang_up()
            await on.call.worker.cancel()
            await asyncio.wait_for(on.caller.ended.wait(), 60)
        else:
            await on.call.say(tone(0.3))
            assert (await on.caller.listen(quiet_s=0.2)).size


async def test_a_request_without_effect_leaves_the_call_as_it_is() -> None:
    async with line(Callee()) as on:
        on.office.change_delay_s = 3600.0
        began_s = on.caller.now_s

        assert await on.call.leg.transfer(DESK, ring_s=20) == "failed"
        assert on.caller.now_s - began_s == pytest.approx(CARRIER_REQUEST_S + LATE_S, abs=0.5)
        await on.call.say(tone(0.3))
        assert (await on.caller.listen(quiet_s=0.2)).size
        assert on.caller.lost_at == []
        error = f"redirect not answered within {CARRIER_REQUEST_S:g} s"
        assert on.it.told == [ProviderFailed(stage="transport", provider="twilio", error=error)]


async def test_a_caller_who_returns_without_a_report_was_not_answered() -> None:
    async with line(Callee()) as on, asyncio.TaskGroup() as tasks:
        on.office.change_delay_s = 3600.0
        transfer = tasks.create_task(on.call.leg.transfer(DESK, ring_s=20))
        await asyncio.sleep(1)
        await on.caller.break_off()

        assert await asyncio.wait_for(transfer, 15) == "failed"
        await on.call.say(tone(0.3))
        assert (await on.caller.listen(quiet_s=0.2)).size


async def test_a_request_that_never_reached_twilio_is_not_waited_for() -> None:
    nowhere = TwilioRest(
        account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url="http://127.0.0.1:9"
    )

    trouble = await nowhere.ring("CA1", DESK, ring_s=20)

    assert trouble == RingTrouble(words="redirect failed: ClientConnectorError")


async def test_a_caller_whose_stream_was_lost_before_is_waited_for_while_it_rings() -> None:
    async def ring(*_: object, **__: object) -> None:
        """Accept the request; the stream was lost before."""

    async with line(Callee(), returns_within_s=30) as on, asyncio.TaskGroup() as tasks:
        leg = on.call.leg
        leg._ring = ring
        on.caller.vanish()
        await asyncio.sleep(20)
        transfer = tasks.create_task(leg.transfer(DESK, ring_s=60))
        await asyncio.sleep(50)
        assert (transfer.done(), on.call.gone_for) == (False, [])

        leg.note_transfer_result("connected")
        assert await transfer == "connected"
        await asyncio.wait_for(on.call.over.wait(), 30)


@pytest.mark.parametrize("to", [DESK, SIP_DESK], ids=["a number", "a SIP URI"])
def test_the_answer_is_as_twilios_library_would_write_it(to: Destination) -> None:
    text = dial_twiml(to, ring_s=20.4, public_url="https://agent.example.com")
    verb = read_dial_verb(text)

    assert verbs(text)[:2] == ["Response", "Refer" if to is SIP_DESK else "Dial"]
    assert verb is not None
    assert verb.number == to.number
    assert verb.action == "https://agent.example.com/twilio/after"
    if to is DESK:
        assert (verb.timeout_s, verb.callback) == (20, "https://agent.example.com/twilio/status")
