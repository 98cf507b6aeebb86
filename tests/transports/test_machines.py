"""Calls over two machines behind one name, through a real HAProxy with `deploy/haproxy.cfg`."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
from fastapi import FastAPI

from bot.server.machine_paths import MachinePaths
from bot.workers.agent_check import serve_checks
from bot.workers.listener import bind_socket
from bot.workers.pool import KeyValueStore
from calls.events import CallRefused
from calls.handover import Destination
from calls.resume import ResumeState
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.telnyx import TelnyxManner, telnyx_call, telnyx_payload
from lab.simulators.carrier.telnyx_exchange import telnyx_exchange
from runtime import clock
from tests.campaigns.placing import ACCOUNT
from tests.kit.haproxy import MACHINES, answers, haproxy
from tests.transports.carrier_server import KEY, TOKEN, CarrierServer
from tests.transports.twilio_server import TOKEN as TWILIO_TOKEN
from tests.transports.twilio_server import WorkerPool, serving, until
from transports.leg import MOVED
from transports.media_stream.line import LinePatience
from transports.media_stream.tokens import MAX_BEGINNINGS
from transports.pool import ELSEWHERE

CARRIERS = ("twilio", "telnyx", "plivo", "exotel")
UP = b"ready up 100%\n"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Two machines behind one address, with all carriers' accounts."""

    url: str
    servers: Mapping[str, CarrierServer]
    lines: dict[str, bytes]  # what each machine answers to the balancer's checks
    stacks: Mapping[str, AsyncExitStack]  # each machine, until its stack is closed

    def caller(self, carrier: str) -> Carrier:
        """Return a call to the common address, that rings when it is entered."""
        it = self.servers["a"]
        match carrier:
            case "twilio":
                call = Carrier(self.url, TWILIO_TOKEN)
                it.twilio.register_call(call)
            case "telnyx":
                manner = TelnyxManner(it.telnyx)
                call = Carrier(self.url, "", phone=telnyx_call(), manner=manner)
                it.telnyx.register_call(call)
            case "plivo":
                call = Carrier(self.url, "", phone=plivo_call(), manner=PlivoManner(it.plivo))
                it.plivo.register_call(call)
            case _:
                manner = ExotelManner(key=KEY, token=TOKEN, rate_hz=8000)
                call = Carrier(self.url, "", phone=exotel_call(), manner=manner)
        return call

    def orders(self) -> list[object]:
        """Return the orders about calls that the carriers have had."""
        it = self.servers["a"]
        started = ("answer", "streaming_start")
        telnyx = [action for _, action, _ in it.telnyx.commands if action not in started]
        return [*it.twilio.requests, *telnyx, *it.plivo.requests]

    def counts(self) -> list[int]:
        """Return how many calls each machine has answered."""
        return [len(self.servers[name].pool.calls) for name in MACHINES]


@asynccontextmanager
async def machines(store: KeyValueStore | None = None) -> AsyncIterator[Machines]:
    """Run two machines, with a common store if there is one."""
    lines: dict[str, bytes] = dict.fromkeys(MACHINES, UP)
    async with AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(CarrierRest(ACCOUNT, TWILIO_TOKEN))
        exchange = await stack.enter_async_context(telnyx_exchange())
        plivo = await stack.enter_async_context(PlivoAccount())
        apps = {name: FastAPI() for name in MACHINES}
        pools: dict[str, WorkerPool] = {name: WorkerPool(store) for name in MACHINES}
        checks, stacks = dict[str, int](), dict[str, AsyncExitStack]()
        for name, app in apps.items():
            app.add_middleware(MachinePaths)
            stacks[name] = await stack.enter_async_context(AsyncExitStack())
            pools[name].port = await stacks[name].enter_async_context(serving(app))
            listener = bind_socket("127.0.0.1", 0)
            checks[name] = listener.getsockname()[1]
            server = await serve_checks(listener, lambda name=name: lines[name])
            await stacks[name].enter_async_context(server)
        url = stack.enter_context(haproxy({name: it.port for name, it in pools.items()}, checks))
        servers = dict[str, CarrierServer]()
        for name, pool in pools.items():
            addresses = (f"{url}/m/{name}", url)
            servers[name] = CarrierServer(
                pool=pool,
                twilio=twilio,
                exchange=exchange,
                host=replace(pool.host(), addresses=addresses, machine=name),
                plivo=plivo,
                codec="PCMU",
                content_type="audio/x-mulaw;rate=8000",
                rate_hz=8000,
            )
            patience = LinePatience(returns_within_s=10.0)
            for routes in servers[name].routes(
                patience, utc_s=lambda: clock.utc_now().timestamp(), hands_on=True
            ):
                apps[name].include_router(routes.router)
        await answers(url)
        yield Machines(url=url, servers=servers, lines=lines, stacks=stacks)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_calls_spread_and_each_stays_on_its_machine(carrier: str) -> None:
    async with machines() as them, AsyncExitStack() as stack, asyncio.timeout(30):
        callers = [await stack.enter_async_context(them.caller(carrier)) for _ in range(6)]
        await until(lambda: sum(them.counts()) == len(callers))

        assert them.counts() == [3, 3]
        for caller in callers:
            await caller.break_off()
        if carrier != "exotel":  # it opens no second stream
            await until(lambda: all(len(caller.lost_at) == 1 for caller in callers))
            await asyncio.sleep(0.5)  # the balancer could send the next streams anywhere
            assert them.counts() == [3, 3]  # no call has begun again
            assert not any(caller.ended.is_set() for caller in callers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("percents", "counts"), [((33, 66), [4, 8]), ((1, 5), [2, 10]), ((95, 95), [6, 6])]
)
async def test_new_calls_follow_the_free_seats(
    percents: tuple[int, int], counts: list[int]
) -> None:
    async with machines() as them, AsyncExitStack() as stack, asyncio.timeout(30):
        for name, percent in zip(MACHINES, percents, strict=True):
            them.lines[name] = f"ready up {percent}%\n".encode()
        await asyncio.sleep(1.5)  # the balancer asks every second
        for _ in range(12):
            await stack.enter_async_context(them.caller("twilio"))
        await until(lambda: sum(them.counts()) == 12)

        assert them.counts() == pytest.approx(counts, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
async def test_a_full_machine_passes_new_calls_to_one_that_has_room(carrier: str) -> None:
    async with machines() as them, AsyncExitStack() as stack, asyncio.timeout(30):
        them.servers["a"].pool.why_closed = ELSEWHERE
        for _ in range(4):
            await stack.enter_async_context(them.caller(carrier))
        await until(lambda: sum(them.counts()) == 4)

        assert them.counts() == [0, 4]
        assert not any(isinstance(it, CallRefused) for it in them.servers["a"].pool.told)


@pytest.mark.slow
async def test_calls_stay_with_a_machine_that_takes_no_more() -> None:
    async with machines() as them, AsyncExitStack() as stack, asyncio.timeout(30):
        callers = [await stack.enter_async_context(them.caller("twilio")) for _ in range(2)]
        await until(lambda: them.counts() == [1, 1])
        them.lines["a"] = b"drain\n"
        await asyncio.sleep(1.5)  # the balancer asks every second
        for caller in callers:
            await caller.break_off()
        await until(lambda: all(len(caller.lost_at) == 1 for caller in callers))
        callers += [await stack.enter_async_context(them.caller("twilio")) for _ in range(2)]
        await until(lambda: sum(them.counts()) == 4)

        assert them.counts() == [1, 3]
        assert not any(caller.ended.is_set() for caller in callers)


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
async def test_requests_for_a_machine_that_is_gone_reach_the_other_one(carrier: str) -> None:
    async with machines() as them, asyncio.timeout(30):
        caller = await them.stacks["b"].enter_async_context(them.caller(carrier))
        await until(lambda: sum(them.counts()) == 1)
        had = MACHINES[them.counts().index(1)]
        assert had == "a"  # both are empty, and the balancer takes the first
        await them.stacks["a"].aclose()
        await until(lambda: bool(caller.lost_at))

        # The other one does not know the call: it has no store in common with the first.
        if carrier == "telnyx":
            await asyncio.sleep(1.0)
            assert "hangup" not in [action for _, action, _ in them.servers["b"].telnyx.commands]
        else:
            await asyncio.wait_for(caller.ended.wait(), 5)
        assert "wrong_signature" not in them.servers["b"].pool.reasons()


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
async def test_a_machine_that_lost_its_call_sends_no_order_about_it(carrier: str) -> None:
    store = KeyValueStore(clock=time.monotonic)
    async with machines(store) as them, asyncio.timeout(30):
        caller = await them.stacks["b"].enter_async_context(them.caller(carrier))
        await until(lambda: them.counts() == [1, 0])
        lost = them.servers["a"].pool.calls[0].leg
        await them.stacks["a"].aclose()  # from now on the machine is cut off
        await until(lambda: them.counts() == [1, 1])
        orders = them.orders()
        person = Destination(name="a person", number="+41445550100")

        assert lost.parked
        assert not await lost.press("1")
        assert await lost.transfer(person, ring_s=1.0) == "failed"
        await lost.hang_up()
        assert them.orders() == orders
        assert not caller.ended.is_set()
        await them.servers["b"].pool.calls[0].leg.hang_up()
        await asyncio.wait_for(caller.ended.wait(), 5)


async def test_a_telnyx_call_that_its_own_machine_does_not_know_is_ended() -> None:
    async with machines() as them, asyncio.timeout(30):
        it = them.servers["b"]
        state = base64.b64encode(b"a-token").decode()
        for machine, ended in (("a", False), ("b", True)):
            call = Carrier(them.url, "", phone=telnyx_call(), manner=TelnyxManner(it.telnyx))
            payload = telnyx_payload(call.phone) | {"client_state": state}
            async with aiohttp.ClientSession() as session:
                url = f"{it.pool.url}/m/{machine}/telnyx/voice"  # what the balancer sends to b
                await it.telnyx.emit(session, url, "streaming.failed", payload)
            found = [(one, action) for one, action, _ in it.telnyx.commands]
            assert ((call.phone.call_sid, "hangup") in found) is ended


@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
async def test_a_call_moves_between_machines_any_number_of_times(carrier: str) -> None:
    async with (
        machines(KeyValueStore(clock=time.monotonic)) as them,
        asyncio.timeout(30),
        them.caller(carrier) as caller,
    ):
        await until(lambda: them.counts() == [1, 0])  # both are empty: the balancer takes the first
        for number in range(2 * MAX_BEGINNINGS):
            await move(them, MACHINES[number % 2])
            await until(lambda before=number + 1: sum(them.counts()) > before)

        assert [len(caller.lost_at), *them.counts()] == [2 * MAX_BEGINNINGS, 4, 3]
        assert not caller.ended.is_set()
        assert "hangup" not in [action for _, action, _ in them.servers["a"].telnyx.commands]


async def test_a_machine_learns_of_the_person_whom_it_rings_for_a_caller_that_moved_to_it() -> None:
    store, person = KeyValueStore(clock=time.monotonic), Destination(name="x", number="+415550100")
    async with machines(store) as them, asyncio.timeout(30), them.caller("telnyx"):
        await until(lambda: them.counts() == [1, 0])
        await move(them, "a")
        await until(lambda: them.counts() == [1, 1])
        them.servers["a"].telnyx.people[person.number] = "user_busy"

        outcome = await them.servers["b"].pool.calls[0].leg.transfer(person, ring_s=1.0)

    assert outcome == "busy"


async def move(them: Machines, had: str) -> None:
    """Let a machine go, whose only call moves."""
    for name, server in them.servers.items():
        server.pool.why_closed = "draining" if name == had else ""
    leg = them.servers[had].pool.calls[-1].leg
    assert leg.facts.moves
    assert leg.parked
    await leg.parked.keep(ResumeState(call_id="c"), last=True)
    await leg.hang_up(MOVED)
