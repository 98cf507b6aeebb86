"""Machines that learn of each other through a real Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from bot.workers import other_machines
from bot.workers.other_machines import ON_ITS_WAY_S, OtherMachines
from bot.workers.shared_values import RedisLink, StoreAwayError
from tests.share_servers import Server, free_port, running_redis


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_redis() as found:
        yield found


@asynccontextmanager
async def machines(url: str, *rooms: int) -> AsyncIterator[list[OtherMachines]]:
    """Open machines that share a Redis, by their rooms."""
    links = [RedisLink(url) for _ in rooms]
    yield [
        OtherMachines(link, holder=f"m{number}", room=lambda room=room: room)
        for number, (link, room) in enumerate(zip(links, rooms, strict=True))
    ]
    for link in links:
        await link.redis.aclose()


async def test_each_machine_knows_the_room_of_the_others(server: Server) -> None:
    await server.fresh_url()
    async with machines(server.url, 3, 4, 0) as them:
        for one in (*them, *them):
            await one.look()
        assert [(one.room, one.count) for one in them] == [(4, 2), (3, 2), (7, 2)]

        await them[1].leave()
        await them[0].look()
        assert (them[0].room, them[0].count) == (0, 1)


async def test_a_call_on_its_way_there_takes_up_room_until_its_machine_counts_it() -> None:
    now = [0.0]
    link = RedisLink(f"redis://127.0.0.1:{free_port()}/0")
    here = OtherMachines(link, holder="m0", room=lambda: 0, clock=lambda: now[0])
    here.room = 2

    assert [here.take_room() for _ in range(3)] == [True, True, False]
    now[0], here.room = ON_ITS_WAY_S / 2, 3
    assert [here.take_room() for _ in range(2)] == [True, False]
    now[0] = ON_ITS_WAY_S
    assert [here.take_room() for _ in range(3)] == [True, True, False]


async def test_a_machine_that_no_longer_reports_has_no_room(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.fresh_url()
    async with machines(server.url, 3, 4) as (here, gone):
        with monkeypatch.context() as patched:
            patched.setattr(other_machines, "PRESENT_S", 0.001)
            await gone.look()
        for _ in range(50):
            await here.look()

        assert (here.room, here.count) == (0, 0)


async def test_nobody_has_room_while_the_store_is_away() -> None:
    async with machines(f"redis://127.0.0.1:{free_port()}/0", 3) as (one,):
        with pytest.raises(StoreAwayError):
            await one.look()
        assert (one.room, one.count) == (0, 1)  # so that it takes half of a limit

        one.room, one.count = 4, 2
        with pytest.raises(StoreAwayError):
            await one.look()
        assert (one.room, one.count) == (0, 2)
