"""A repeated webhook for a running call leaves one conversation, with each carrier."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import (
    CallInstructions,
    NotConnectedError,
    PhoneCall,
    web_session,
)
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.test_carriers import loud_s, say
from tests.transports.twilio_server import TOKEN, Call, WorkerPool, pool, tone, until
from transports.pool import ASK_PROCESS_S

pytestmark = pytest.mark.virtual_time

BY_WEBHOOK = pytest.mark.parametrize("carrier", ["twilio", "plivo"])


class Line:
    """A server, and calls by one carrier."""

    def __init__(self, carrier: str, it: WorkerPool, opened: CarrierServer | None = None) -> None:
        self.pool, self._carrier, self._doors = it, carrier, opened

    def caller(self, phone: PhoneCall | None = None) -> Carrier:
        """Return a call that rings when it is entered."""
        if self._doors:
            return self._doors.caller(self._carrier, phone)
        return Carrier(self.pool.url, TOKEN, phone=phone)


@asynccontextmanager
async def line(carrier: str, *, returns_within_s: float = 30) -> AsyncIterator[Line]:
    if carrier == "twilio":
        async with pool(returns_within_s=returns_within_s) as it:
            yield Line(carrier, it)
        return
    async with carrier_server(returns_within_s=returns_within_s) as opened:
        yield Line(carrier, opened.pool, opened)


async def ask(caller: Carrier) -> None:
    """Ask again for the call's instructions, as the carrier; open the stream when entered."""
    async with web_session() as session:
        twiml = await caller.manner.ring(session, caller.phone, caller._server)

    async def ring(*_: object) -> CallInstructions:
        return twiml

    caller.manner.ring = ring  # type: ignore[method-assign] - it has rung


async def talks(caller: Carrier, call: Call) -> bool:
    """Return whether both hear each other."""
    before = len(call.ears.audio)
    await caller.say(tone(0.2, caller.rate_hz))
    await say(call, 0.2)
    heard = await caller.listen(quiet_s=0.3)
    came_s = (len(call.ears.audio) - before) / 2 / call.leg.facts.sample_rate_hz
    return came_s > 0.2 and loud_s(heard, caller.rate_hz) == pytest.approx(0.2, abs=0.05)


@BY_WEBHOOK
async def test_a_repeated_webhook_moves_the_conversation_to_the_next_stream(
    carrier: str,
) -> None:
    async with line(carrier) as it, it.caller() as caller:
        call = await it.pool.call()
        caller.instructions = replace(
            caller.instructions, action=None
        )  # it follows the new instructions instead
        async with it.caller(caller.phone) as again:
            await asyncio.wait_for(caller.ended.wait(), 5)

            assert await talks(again, call)
            assert (len(it.pool.calls), call.gone_for) == (1, [])
            assert it.pool.seats_taken == 1


@BY_WEBHOOK
async def test_a_repeated_webhook_ends_nothing_if_no_stream_may_follow(
    carrier: str,
) -> None:
    async with line(carrier, returns_within_s=0) as it, it.caller() as caller:
        call = await it.pool.call()
        with pytest.raises(NotConnectedError):
            await it.caller(caller.phone).__aenter__()

        assert await talks(caller, call)
        assert (len(it.pool.calls), call.gone_for) == (1, [])


@BY_WEBHOOK
async def test_both_streams_of_a_webhook_answered_twice_are_one_conversation(
    carrier: str,
) -> None:
    async with line(carrier) as it:
        first = it.caller()
        second = it.caller(first.phone)
        await ask(first)
        await ask(second)
        async with first:
            call = await it.pool.call()
            first.instructions = replace(first.instructions, action=None)
            async with second:
                await asyncio.wait_for(first.ended.wait(), 5)

                assert await talks(second, call)
                assert (len(it.pool.calls), call.gone_for) == (1, [])


async def test_exotels_second_stream_of_a_call_is_refused() -> None:
    async with line("exotel") as it, it.caller() as caller:
        call = await it.pool.call()
        async with it.caller(caller.phone) as second:
            await asyncio.wait_for(second.ended.wait(), 5)

        assert await talks(caller, call)
        assert (len(it.pool.calls), it.pool.seats_taken) == (1, 1)
        assert it.pool.reasons() == ["call_goes_on"]


async def test_an_exotel_call_goes_on_in_its_flows_next_step_after_a_lost_stream() -> None:
    async with line("exotel") as it:
        caller = it.caller()
        caller.manner.next_step = True  # type: ignore[attr-defined]
        async with caller:
            call = await it.pool.call()
            await caller.break_off()
            await until(lambda: len(caller.lost_at) == 1)

            assert await talks(caller, call)
            assert (len(it.pool.calls), call.gone_for, it.pool.reasons()) == (1, [], [])
            assert it.pool.seats_taken == 1


async def test_an_exotel_call_that_returns_after_its_end_starts_over() -> None:
    async with line("exotel") as it:
        async with it.caller() as caller:
            call = await it.pool.call()
            await caller.hang_up()
            await asyncio.wait_for(call.over.wait(), 5)
        await until(lambda: it.pool.seats_taken == 0)
        async with it.caller(caller.phone) as again:
            assert await talks(again, await it.pool.call(1))


@pytest.mark.parametrize("carrier", ["twilio", "plivo"])
async def test_a_new_call_is_answered_while_another_process_hangs(
    carrier: str,
) -> None:
    async with line(carrier) as it:
        for pool in it.pool._houses:
            ask_all = pool.peers.ask_all

            async def ask_a_hung_one(
                what: str, /, ask_all: Any = ask_all, **fields: Any
            ) -> Sequence[Any]:
                await asyncio.sleep(ASK_PROCESS_S)
                return await ask_all(what, **fields)

            pool.peers.ask_all = ask_a_hung_one
        async with it.caller() as caller:
            call = await it.pool.call()

            assert await talks(caller, call)
            assert len(caller.lost_at) == 0
