"""Claims and locks that hold on several machines, through a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

from bot.workers import shared_claims, shared_values
from bot.workers.pool import Claims
from bot.workers.shared_claims import SharedClaims
from bot.workers.shared_values import SINCE, RedisLink
from tests.share_servers import Server, running_redis
from transports.livekit.rooms import OpenRoom
from transports.livekit.routes import _claim_while
from transports.pool import KeepOutcome, PoolLocks

LOCK = "twilio loss CA1"
REFUSED, EVERYWHERE, HERE = KeepOutcome.REFUSED, KeepOutcome.KEPT, KeepOutcome.KEPT_HERE


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_redis() as found:
        yield found


@pytest.fixture(autouse=True)
def long_there(server: Server) -> None:
    """Let Redis have had all claims for long."""
    note_since(server)


def note_since(server: Server) -> None:
    """Ask outside the loop: on virtual time, a request to another process can time out at once."""
    with redis.Redis.from_url(server.url) as client:
        client.set(SINCE, 1)


class MachinePeers:
    """The claims of the only worker of a machine, with the interface of `Peers`."""

    def __init__(self, link: RedisLink) -> None:
        self.link, self.shared = link, SharedClaims(link)
        self.claims = Claims(shared=self.shared)
        self._answers: dict[str, Any] = {}
        self.claims.serve(self, holder="w1")  # type: ignore[arg-type] - as a wire

    def answer(self, what: str, answer: Any, *, revocable: bool = False) -> None:
        del revocable
        self._answers[what] = answer

    on = answer

    async def claim(self, what: str, *, everywhere: bool = False) -> KeepOutcome:
        return await self._answers["claim"]({"what": what, "everywhere": everywhere})

    def give_back(self, what: str) -> None:
        self._answers["give_back"]({"what": what})


@asynccontextmanager
async def machine(server: Server) -> AsyncIterator[MachinePeers]:
    found = MachinePeers(RedisLink(server.url))
    renewing = asyncio.ensure_future(found.shared.look_after())
    yield found
    renewing.cancel()
    await found.link.redis.aclose()


async def test_only_one_machine_gets_a_claim_until_it_is_released(server: Server) -> None:
    async with machine(server) as a, machine(server) as b:
        claimed = await asyncio.gather(
            *(one.claim("x", everywhere=True) for _ in range(5) for one in (a, b))
        )
        first, second = (a, b) if claimed[0] else (b, a)
        again = await second.claim("x", everywhere=True)
        first.give_back("x")
        await asyncio.sleep(0.1)

        assert sorted(claimed) == [REFUSED] * 9 + [EVERYWHERE]
        assert again is REFUSED
        assert await second.claim("x", everywhere=True) is EVERYWHERE


async def test_a_claim_of_this_machine_alone_is_not_in_the_store(server: Server) -> None:
    async with machine(server) as a, machine(server) as b:
        assert [await a.claim("y"), await b.claim("y")] == [HERE, HERE]


async def test_a_lock_is_held_by_one_machine_at_a_time(server: Server) -> None:
    inside, most = 0, 0
    async with machine(server) as a, machine(server) as b:
        locks = [PoolLocks(one) for one in (a, b)]  # type: ignore[arg-type] - claims only

        async def work(number: int) -> None:
            nonlocal inside, most
            async with locks[number % 2].hold(LOCK):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.01)
                inside -= 1

        await asyncio.gather(*map(work, range(10)))

    assert most == 1


async def test_the_claims_of_a_dead_machine_expire_and_those_of_a_living_one_do_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_claims, "CLAIM_S", 0.4)
    monkeypatch.setattr(shared_claims, "RENEW_EVERY_S", 0.05)
    async with machine(server) as b:
        async with machine(server) as a:
            assert await a.claim("of the dead", everywhere=True)
            assert await b.claim("of the living", everywhere=True)
        await asyncio.sleep(0.6)
        async with machine(server) as c:
            assert await c.claim("of the dead", everywhere=True)
            assert not await c.claim("of the living", everywhere=True)


async def test_no_claim_of_many_expires_while_the_store_is_slow(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_claims, "CLAIM_S", 1.0)
    monkeypatch.setattr(shared_claims, "RENEW_EVERY_S", 0.05)
    rooms = [f"call in {number}" for number in range(40)]
    async with machine(server) as a, machine(server) as b:
        for room in rooms:
            assert await a.claim(room, everywhere=True)
        ask = a.link.ask

        async def ask_slowly(request: Any) -> Any:
            await asyncio.sleep(0.05)
            return await ask(request)

        monkeypatch.setattr(a.link, "ask", ask_slowly)
        await asyncio.sleep(2.0)
        assert {await b.claim(room, everywhere=True) for room in rooms} == {REFUSED}


async def test_one_machine_at_a_time_may_answer_a_livekit_room(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_claims, "CLAIM_S", 0.4)
    monkeypatch.setattr(shared_claims, "RENEW_EVERY_S", 0.05)
    room: Any = OpenRoom(sid="RM_1", name="call-1")

    async def is_free(_: str, *, claimed: bool) -> bool:
        return claimed

    rooms: Any = SimpleNamespace(is_free=is_free)

    def claimed(peers: MachinePeers) -> AbstractAsyncContextManager[bool]:
        pool: Any = SimpleNamespace(peers=peers)
        return _claim_while(room, pool, rooms)

    async with machine(server) as b:
        async with machine(server) as a, claimed(a) as first, claimed(b) as second:
            assert [first, second] == [True, False]
            a.give_back = lambda what: None  # type: ignore[method-assign] - it dies
        async with claimed(b) as at_once:
            assert not at_once
        await asyncio.sleep(0.6)
        async with claimed(b) as later:
            assert later


async def test_a_worker_that_dies_releases_its_claims_everywhere(server: Server) -> None:
    async with machine(server) as a, machine(server) as b:
        assert await a.claim("z", everywhere=True)
        a.claims.lose("w1")
        await asyncio.sleep(0.1)

        assert await b.claim("z", everywhere=True)


async def test_while_the_store_is_away_a_claim_holds_on_its_own_machine() -> None:
    with running_redis() as server:
        async with machine(server) as a, machine(server) as b:
            server.pause()
            try:
                assert await a.claim("x", everywhere=True) is HERE
                assert await a.claim("x", everywhere=True) is REFUSED
                assert await b.claim("x", everywhere=True) is HERE
            finally:
                server.resume()


async def test_a_claim_that_redis_has_lost_is_stored_again_before_another_is_sure(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_claims, "RENEW_EVERY_S", 0.05)
    async with machine(server) as a, machine(server) as b:
        assert await a.claim("call in r", everywhere=True) is EVERYWHERE
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.flushall()
        assert await b.claim("call in r", everywhere=True) is not EVERYWHERE
        b.give_back("call in r")
        await asyncio.sleep(0.2)

        assert await b.claim("call in r", everywhere=True) is REFUSED


async def test_claims_of_before_and_during_an_absence_of_redis_hold_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_claims, "CLAIM_S", 0.4)
    monkeypatch.setattr(shared_values, "BLIP_S", 0.2)
    monkeypatch.setattr(shared_claims, "RENEW_EVERY_S", 0.05)
    with running_redis() as server:
        note_since(server)
        async with machine(server) as a, machine(server) as b:
            assert await a.claim("before", everywhere=True) is EVERYWHERE
            server.pause()
            assert await a.claim("during", everywhere=True) is HERE
            assert await b.claim("of another", everywhere=True) is HERE
            await asyncio.sleep(0.5)  # the claim expires
            server.resume()
            b.link.find()
            for what in ("before", "during"):
                assert await b.claim(what, everywhere=True) is not EVERYWHERE
                b.give_back(what)
            a.link.find()
            await asyncio.sleep(0.3)

            assert [await b.claim(what, everywhere=True) for what in ("before", "during")] == [
                REFUSED,
                REFUSED,
            ]
            await asyncio.sleep(0.4)
            assert await b.claim("new", everywhere=True) is EVERYWHERE


@pytest.mark.virtual_time
async def test_renewing_ends_even_if_the_client_swallows_the_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, asking = RedisLink("redis://127.0.0.1:9/0"), asyncio.Event()
    claims = SharedClaims(link)

    async def swallow(_: Any) -> None:
        if not asking.is_set():  # only once, so that the test ends
            asking.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60.0)

    async def answer(_: Any) -> KeepOutcome:
        return EVERYWHERE

    monkeypatch.setattr(link, "ask", answer)
    await claims.claim(LOCK)
    monkeypatch.setattr(link, "ask", swallow)
    renewing = asyncio.ensure_future(claims.look_after())
    await asking.wait()
    renewing.cancel()
    done, _ = await asyncio.wait([renewing], timeout=10.0)

    assert done
