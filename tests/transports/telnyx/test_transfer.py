"""A caller is transferred by Telnyx, or stays with the agent."""

import asyncio

import pytest

from calls.handover import Destination, Handover
from tests.bot.server.test_telnyx_dials import told
from tests.transports.carrier_server import carrier_server
from transports.rest import CARRIER_REQUEST_S
from transports.telnyx.events import is_handed_on
from transports.telnyx.transfer import BRIDGED_S, transfer_result

pytestmark = pytest.mark.virtual_time

BILLING = Destination(name="billing", number="+15005550199")
SALES = Destination(name="sales", number="+15005550198")
NEWS: dict[str, tuple[str, str, Handover | None]] = {
    "connected": ("call.bridged", "", "connected"),
    "ringing": ("call.initiated", "", None),
    "picked up": ("call.answered", "", None),
    "busy": ("call.hangup", "user_busy", "busy"),
    "not picked up": ("call.hangup", "timeout", "no_answer"),
    "declined": ("call.hangup", "call_rejected", "declined"),
    "no such number": ("call.hangup", "not_found", "failed"),
    "a cause of tomorrow": ("call.hangup", "weather", "failed"),
}


@pytest.mark.parametrize(("event", "cause", "outcome"), NEWS.values(), ids=NEWS.keys())
def test_an_event_of_the_other_leg_has_its_meaning(
    event: str, cause: str, outcome: Handover | None
) -> None:
    assert transfer_result(event, cause) == outcome


async def test_the_state_of_the_call_shows_a_ringing_person_only_while_they_ring() -> None:
    async with carrier_server() as it, it.caller("telnyx") as caller, asyncio.TaskGroup() as tasks:
        call, ref = await it.pool.call(), caller.phone.call_sid
        transfer = tasks.create_task(call.leg.transfer(BILLING, ring_s=20))
        await asyncio.sleep(10)
        ringing = it.telnyx.states[ref]
        assert await transfer == "no_answer"

        assert is_handed_on(ringing)
        assert not is_handed_on(it.telnyx.states[ref])
        assert it.pool.told == []


async def test_a_repeated_busy_event_does_not_affect_the_next_person() -> None:
    async with carrier_server() as it, it.caller("telnyx"), asyncio.TaskGroup() as tasks:
        call = await it.pool.call()
        it.telnyx.people[BILLING.number] = "user_busy"
        assert await call.leg.transfer(BILLING, ring_s=20) == "busy"
        busy = {
            "direction": "outgoing",
            "client_state": it.telnyx.commands[2][2]["target_leg_client_state"],
            "hangup_cause": "user_busy",
        }
        transfer = tasks.create_task(call.leg.transfer(SALES, ring_s=20))
        await asyncio.sleep(10)
        await told(it, "call.hangup", **busy)

        assert await transfer == "no_answer"


async def test_a_caller_is_with_the_person_though_the_event_of_joining_is_lost() -> None:
    async with carrier_server() as it, it.caller("telnyx"), asyncio.TaskGroup() as tasks:
        call = await it.pool.call()
        transfer = tasks.create_task(call.leg.transfer(BILLING, ring_s=20))
        _, asked = await it.telnyx.wait_for_command(call.leg.facts.call_ref, "transfer")
        person = {"direction": "outgoing", "client_state": asked["target_leg_client_state"]}
        await told(it, "call.answered", **person)
        await asyncio.sleep(BRIDGED_S + 0.5)

        assert transfer.done()
        assert await transfer == "connected"


async def test_a_person_who_hangs_up_before_joining_leaves_the_caller_to_us() -> None:
    async with carrier_server() as it, it.caller("telnyx"), asyncio.TaskGroup() as tasks:
        call = await it.pool.call()
        transfer = tasks.create_task(call.leg.transfer(BILLING, ring_s=20))
        _, asked = await it.telnyx.wait_for_command(call.leg.facts.call_ref, "transfer")
        person = {"direction": "outgoing", "client_state": asked["target_leg_client_state"]}
        await told(it, "call.answered", **person)
        await told(it, "call.hangup", **person, hangup_cause="normal_clearing")

        assert await transfer == "failed"


async def test_a_late_answer_to_a_transfer_counts_and_rings_once() -> None:
    async with carrier_server() as it, it.caller("telnyx"):
        call = await it.pool.call()
        it.telnyx.people[BILLING.number] = "answered"
        it.telnyx.late_s["transfer"] = CARRIER_REQUEST_S + 1

        assert await call.leg.transfer(BILLING, ring_s=20) == "connected"
        ref = call.leg.facts.call_ref
        assert len(it.telnyx.commands_so_far(ref, "transfer")) == 1
        assert it.telnyx.commands[-1][2]["timeout_secs"] == 20
