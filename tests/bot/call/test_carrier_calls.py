"""Whole telephone calls through each carrier's routes."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.server.server import bind_socket
from calls.events import AgentSaid, CallEnded, KeyPressed
from lab.callers import caller_says
from lab.simulators.carrier.carrier import Carrier
from tests.bot.carrier_server import OpenRoutes, open_routes
from tests.kit.near import Notes, near_server, steady_lab, url_of
from tests.kit.waiting import until

# The conformance suite of the transports has the same behaviours.
pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.doors]

CARRIERS = ("telnyx", "plivo", "exotel")
GREETING = "Hello, this is Holdline. How can I help?"


async def whole_conversation(call: Carrier) -> float:
    """Ask, press a key and say goodbye; return how long the greeting was."""
    async with call:
        greeting = await call.listen(within_s=20)
        await call.say(caller_says("What are your opening hours?"))
        await call.listen(within_s=20)
        await call.press("5")
        await call.say(caller_says("Where are you?"))
        await call.listen(within_s=20)
        await call.say(caller_says("Goodbye."))
        await asyncio.wait_for(call.ended.wait(), 20)
    return greeting.size / call.rate_hz


async def greeted_only(call: Carrier, *, vanishes: bool = False) -> None:
    """Hear the greeting and hang up, or be cut off."""
    async with call:
        await call.listen(within_s=20)
        if vanishes:
            call.vanish()
        else:
            await call.hang_up()


async def every_way_to_end(door: OpenRoutes, url: str) -> list[str]:
    """Make three calls: a whole one, one hung up by the caller, one cut off.

    Returns:
        The carrier's ids of the calls that we hung up.
    """
    call, second, third = (door.caller(url) for _ in range(3))
    greeting_s = await whole_conversation(call)
    await greeted_only(second)
    await greeted_only(third, vanishes=True)

    assert greeting_s > 1.0
    assert call.ended_by == "agent"
    return [call.phone.call_sid, third.phone.call_sid]


async def test_a_whole_call_and_every_way_to_end_it_by_each_carrier(tmp_path: Path) -> None:
    notes, listener = Notes(), bind_socket("127.0.0.1", 0)
    async with steady_lab() as lab, open_routes("telnyx") as door, asyncio.timeout(180):
        tree = {"server": {"admission": "seats"}, **door.changes(returns_within_s=0)}
        async with near_server(listener, notes, lab=lab, folder=tmp_path, tree=tree):
            doors = [replace(door, carrier=carrier) for carrier in CARRIERS]
            telnyx, plivo, _ = await asyncio.gather(
                *(every_way_to_end(door, url_of(listener)) for door in doors)
            )
            await until(lambda: len(notes.of(CallEnded)) == 3 * len(CARRIERS))

    ends = ("agent_hung_up", "caller_hung_up", "connection_lost")
    assert sorted(event.reason for event in notes.of(CallEnded)) == sorted(ends * len(CARRIERS))
    assert len(notes.of(KeyPressed)) == len(CARRIERS)
    calls = {entry.call_id for entry in notes.entries if isinstance(entry.event, CallEnded)}
    said = [
        [event.text for event in notes.of_call(call) if isinstance(event, AgentSaid)]
        for call in calls
    ]
    whole = [words for words in said if len(words) > 1]
    assert len(whole) == len(CARRIERS)
    for words in whole:
        assert words[0] == GREETING
        assert "nine" in words[1]
        assert "oodbye" in words[-1]
    told = [request for name in lab.instances for request in lab.record.requests(name)]
    assert all(request.ok_auth and request.well_formed for request in told), told
    assert [ref for ref, action, _ in door.telnyx.commands if action == "hangup"] == telnyx
    assert [ref for method, ref, _ in door.plivo.requests if method == "DELETE"] == plivo
