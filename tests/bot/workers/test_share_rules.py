"""A provider's limits apply to all machines of a store together, also while one is frozen."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web

from bot.workers.pool_server import Quotas, RateLimit
from bot.workers.share_rules import LEASE_S, OWN_S, LeakyBucket, Share
from bot.workers.shared_shares import SharedShares
from bot.workers.shared_values import SINCE, STORE_ANSWER_S, RedisLink, StoreAwayError
from configuration.settings import Settings
from tests.share_servers import Server, free_port, running_redis

LIMIT, CALLERS = 3, 10
REQUEST_S = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_redis() as found:
        yield found


@asynccontextmanager
async def machines(url: str, count: int = 2) -> AsyncIterator[list[SharedShares]]:
    links = [RedisLink(url) for _ in range(count)]
    yield [SharedShares(link, holder=f"m{number}") for number, link in enumerate(links)]
    for link in links:
        await link.redis.aclose()


async def begun(server: Server) -> None:
    """Start with a Redis that has the limits' data for long."""
    await server.fresh_url()
    async with machines(server.url) as (one, _):
        await one._link.redis.set(SINCE, 0)


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ((0, 0), (2, 1)),
        ((5, 0), (3, 0)),
        ((1, 1), (2, 1)),
        ((9, 9), (2, 1)),
        ((0, 9), (0, 3)),
    ],
)
async def test_places_go_to_the_machines_that_need_them(
    server: Server, wanted: tuple[int, int], shares: tuple[int, int]
) -> None:
    await begun(server)
    async with machines(server.url) as them:
        held, there = [0, 0], 0
        for _ in range(4):
            for number, one in enumerate(them):
                places, there = await one.places(
                    "mind", limit=3, held=held[number], wanted=wanted[number]
                )
                held[number] = places
                assert sum(held) <= 3
        assert tuple(held) == shares
        assert there == 2


async def test_places_that_a_machine_still_uses_are_not_given_away(server: Server) -> None:
    await begun(server)
    async with machines(server.url) as (one, other):
        assert await one.places("mind", limit=3, held=0, wanted=3) == [3, 1]
        assert await other.places("mind", limit=3, held=0, wanted=3) == [0, 2]
        assert await one.places("mind", limit=3, held=3, wanted=3) == [2, 2]  # it must end one
        assert await other.places("mind", limit=3, held=0, wanted=3) == [0, 2]
        assert await one.places("mind", limit=3, held=2, wanted=3) == [2, 2]
        assert await other.places("mind", limit=3, held=0, wanted=3) == [1, 2]


async def test_a_redis_that_has_lost_its_data_gives_nobody_more_than_they_have(
    server: Server,
) -> None:
    await server.fresh_url()
    async with machines(server.url) as (one, other):
        assert await other.places("mind", limit=3, held=0, wanted=3) == [0, 1]
        assert await one.places("mind", limit=3, held=3, wanted=3) == [2, 2]
        assert await other.places("mind", limit=3, held=0, wanted=3) == [0, 2]


@pytest.mark.parametrize(
    ("seconds", "places"),
    [
        pytest.param([], 2, id="leased"),
        pytest.param([(OWN_S, "look")], 0, id="frozen"),
        pytest.param([(1, "away")], 2, id="away, still leased"),
        pytest.param([(1, "away"), (OWN_S, "away")], 1, id="away"),
        pytest.param([(9, "away")], 0, id="frozen, and away"),
        pytest.param([(9, "away"), (10, "away"), (9 + LEASE_S, "away")], 1, id="away for long"),
        pytest.param([(1, "away"), (OWN_S, "away"), (9, "look")], 0, id="frozen while away"),
    ],
)
def test_a_machine_knows_its_share(seconds: list[tuple[float, str]], places: int) -> None:
    share, now = Share(3), 100.0
    share.grant(2, machines=2, asked_at=now)
    for at_s, what in seconds:
        now = 100.0 + at_s
        if what == "away":
            share.note_away(now)
    assert share.places(now) == places


def test_a_machine_without_places_waits_until_all_leases_have_ended() -> None:
    share = Share(4)
    share.grant(0, machines=2, asked_at=100.0)
    found = list[int]()
    for step in range(51):
        share.note_away(100.0 + step / 10)
        found.append(share.places(100.0 + step / 10))
    assert [found[29], found[31], found[50]] == [0, 2, 2]


def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    bucket = LeakyBucket(capacity=2, per_s=0.5)
    assert [bucket.take(now) for now in (0, 0, 0, 1, 2, 2)] == [0, 0, 2, 1, 0, 2]


async def test_a_rate_is_counted_over_all_machines(server: Server) -> None:
    await begun(server)
    bucket = LeakyBucket(capacity=3, per_s=0.001)
    async with machines(server.url) as them:
        waits = [await one.take("mind", bucket) for one in them * 2]

    assert waits[:3] == [0, 0, 0]
    assert 0 < waits[3] <= 1000


async def test_a_rate_is_used_up_after_redis_has_lost_its_data(server: Server) -> None:
    await server.fresh_url()
    async with machines(server.url) as (one, _):
        assert await one.take("mind", LeakyBucket(capacity=3, per_s=0.001)) > 0


async def test_each_machine_takes_its_part_of_a_rate_while_the_store_is_away() -> None:
    now = 100.0
    async with machines(f"redis://127.0.0.1:{free_port()}/0") as (one, _):
        pace = RateLimit("mind", (6, 6.0), clock=lambda: now, shares=one, machines=lambda: 3)
        waits = [await pace.take()]
        now += 1.0
        waits += [await pace.take() for _ in range(3)]

    assert waits == [0.5, 0, 0, 0.5]


class HangingShares:
    """A store that never answers."""

    async def places(self, _: str, **__: int) -> Sequence[int]:
        await asyncio.sleep(STORE_ANSWER_S)
        raise StoreAwayError("no answer")


@pytest.mark.virtual_time
async def test_a_store_that_hangs_leaves_each_of_many_rungs_its_part() -> None:
    mind = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}
    limited: Any = mind | {"limits": {"concurrent": 4}}
    local = [{"kind": "local"}]
    minds = [limited | {"name": f"mind-{number}"} for number in range(20)]
    stages = {"stt": local, "llm": minds, "tts": local}
    clock, shares = asyncio.get_running_loop().time, cast("Any", HangingShares())
    quotas = Quotas(Settings.model_validate({"stages": stages}), clock=clock, shares=shares)
    sharing = asyncio.create_task(quotas.share())
    await asyncio.sleep(2 * LEASE_S)
    for _ in range(50):
        await asyncio.sleep(0.1)
        assert {share.places(clock()) for share in quotas._shares.values()} == {2}
    sharing.cancel()


@dataclass
class Provider:
    """Counts the requests at once."""

    inside: int = 0
    most: int = 0
    done: Counter[str] = field(default_factory=Counter[str])
    busy_s: float = 0.0

    async def answer(self, request: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(REQUEST_S)
        self.inside -= 1
        self.done[request.match_info["name"]] += 1
        self.busy_s += REQUEST_S
        return web.Response()


@asynccontextmanager
async def provider() -> AsyncIterator[tuple[Provider, str]]:
    it, app = Provider(), web.Application()
    app.router.add_get("/{name}", it.answer)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield it, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@asynccontextmanager
async def callers(url: str, provider_url: str, name: str) -> AsyncIterator[int]:
    """Run a machine with `CALLERS` callers in a process; yield its id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bot.workers.limited_machine",
        url, provider_url, name, str(CALLERS), str(LIMIT),
    )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def becomes(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_never_a_fourth_request_while_one_machine_is_frozen_and_redis_restarts() -> None:
    names = ("a", "b", "c")
    with running_redis() as store:
        async with provider() as (it, at), AsyncExitStack() as stack:
            pids = [await stack.enter_async_context(callers(store.url, at, one)) for one in names]
            await becomes(lambda: min(it.done[name] for name in names) > 3)
            os.kill(pids[0], signal.SIGSTOP)
            await becomes(lambda: it.inside == LIMIT)  # the others have got its place
            before = it.done.copy()
            await becomes(lambda: it.done.total() > before.total() + 20)
            await restart(store)
            os.kill(pids[0], signal.SIGCONT)
            before = it.done.copy()
            await becomes(lambda: min(it.done[name] - before[name] for name in names) > 10)

    assert it.most == LIMIT


async def restart(store: Server) -> None:
    """Kill a Redis, and start it again without its data."""
    store.process.kill()
    store.process.wait()
    await asyncio.sleep(1.0)
    args = [str(item) for item in store.process.args]  # type: ignore[union-attr]
    again = subprocess.Popen(args, stdout=subprocess.DEVNULL)  # noqa: ASYNC220, S603 - ours
    object.__setattr__(store, "process", again)
