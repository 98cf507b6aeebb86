"""Two machines with one store: the console of each shows the calls of both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from bot.server.call_routes import PoolCalls
from bot.workers import machine_views, shared_values
from bot.workers.machine_views import MachineViews, publish_view
from bot.workers.pool import KeyValueStore
from bot.workers.pool_client import PoolClient
from bot.workers.shared_values import SharedValues
from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event
from configuration.settings import ServerSettings
from operations.telemetry.live import ConsoleSums
from runtime import clock
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from tests.kit.waiting import until
from tests.share_servers import Server


@pytest.fixture
async def store(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(machine_views, "PUBLISH_EVERY_S", 0.1)
    monkeypatch.setattr(machine_views, "READ_EVERY_S", 0.0)
    monkeypatch.setattr(shared_values, "STORE_CHECK_S", 0.1)
    await redis_server.fresh_url()
    return redis_server


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One server, with two workers; the console is the first one's."""

    calls: PoolCalls
    sums: list[ConsoleSums]
    pool: PoolClient
    running: AsyncExitStack

    async def hears(self, worker: int, call_id: str, event: Event) -> None:
        at = clock.utc_now().isoformat()
        await self.sums[worker].hear(Entry(call_id=call_id, number=1, at=at, event=event))

    async def shown(self) -> list[tuple[str, str]]:
        return [(call["id"], call["machine"]) for call in await self.calls.live()]


@asynccontextmanager
async def machine(url: str, name: str) -> AsyncIterator[Machine]:
    server = ServerSettings(machine=name, store=url)
    local = KeyValueStore(clock=clock.monotonic)
    values = SharedValues(url, machine=name, holder=name, local=local, clock=clock.monotonic)
    async with AsyncExitStack() as stack:
        await values.open()
        stack.push_async_callback(values.close)
        watching = asyncio.ensure_future(values.look_after())
        stack.callback(watching.cancel)
        it = await stack.enter_async_context(lines(settings_with(), values=values))
        it.office.configuration = f"of {name}"
        sums = [ConsoleSums() for _ in it.joined]
        shown = [
            PoolCalls(one, pool, MachineViews(pool, server))
            for one, pool in zip(sums, it.joined, strict=True)
        ]
        await it.open()
        running = await stack.enter_async_context(AsyncExitStack())
        for pool in it.joined:
            await running.enter_async_context(publish_view(pool, server))
        looking = asyncio.ensure_future(broadcasting(it.office.broadcast_state))
        stack.callback(looking.cancel)
        yield Machine(calls=shown[0], sums=sums, pool=it.joined[0], running=running)


async def broadcasting(broadcast: Callable[[], None]) -> None:
    while True:
        broadcast()
        await asyncio.sleep(0.1)


async def becomes(machine: Machine, *wanted: tuple[str, str]) -> None:
    async with asyncio.timeout(20):
        while sorted(await machine.shown()) != sorted(wanted):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def started() -> CallStarted:
    return CallStarted(transport="twilio", agent="desk", caller="+15551234501")


async def test_each_console_shows_the_calls_of_all_workers_of_all_machines(store: Server) -> None:
    async with machine(store.url, "a") as a, machine(store.url, "b") as b:
        await a.hears(0, "c1", started())
        await b.hears(0, "c2", started())
        await b.hears(1, "c3", started())

        for one in (a, b):
            await becomes(one, ("c1", "a"), ("c2", "b"), ("c3", "b"))

        await b.hears(1, "c3", CallEnded(reason="caller_hung_up", length_s=1.0))
        await becomes(a, ("c1", "a"), ("c2", "b"))


async def test_a_call_that_moved_is_shown_once_where_it_is_now(store: Server) -> None:
    async with machine(store.url, "a") as a, machine(store.url, "b") as b:
        await a.hears(0, "c1", started())
        await becomes(b, ("c1", "a"))
        await a.running.aclose()  # it publishes nothing more, as a machine that died
        await b.hears(0, "c1", started())

        assert await b.shown() == [("c1", "b")]
        async with machine(store.url, "c") as third:
            await becomes(third, ("c1", "b"))


async def test_a_machine_that_is_gone_is_not_shown(
    store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_views, "VIEW_S", 0.5)
    async with machine(store.url, "a") as a, machine(store.url, "b") as b:
        await b.hears(0, "c2", started())
        await becomes(a, ("c2", "b"))
        await b.running.aclose()
        await becomes(a)


async def test_without_the_store_a_console_says_that_it_shows_its_own_calls_only(
    store: Server,
) -> None:
    async with machine(store.url, "a") as a, machine(store.url, "b") as b:
        await a.hears(0, "c1", started())
        await b.hears(0, "c2", started())
        await becomes(a, ("c1", "a"), ("c2", "b"))
        assert a.calls.store_problem == ""

        store.pause()
        await becomes(a, ("c1", "a"))
        await until(lambda: "machine a" in a.calls.store_problem)

        store.resume()
        await becomes(a, ("c1", "a"), ("c2", "b"))
        assert a.calls.store_problem == ""


async def test_the_view_of_a_machine_is_bounded(
    store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_views, "MAX_CALLS", 2)
    async with machine(store.url, "a") as a, machine(store.url, "b") as b:
        for number in range(3):
            await b.hears(0, f"c{number}", started())
        await becomes(a, ("c0", "b"), ("c1", "b"))
