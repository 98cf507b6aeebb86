"""Values that several machines share through a real Redis, also while it is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from loguru import logger

from bot.workers import shared_values
from bot.workers.pool import KeyValueStore, SingleProcess
from bot.workers.saved_values import SavedValues
from bot.workers.shared_values import SharedValues
from calls.resume import ResumeState
from runtime import clock
from runtime.exits import UsageError
from tests.share_servers import PASSWORD, Server, free_port, running_redis
from transports.parked import Parked, ParkedCall
from transports.pool import KeepOutcome, TakenUp

AWAY = "redis://127.0.0.1:{}/0"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_redis() as found:
        yield found


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url) as found:
        yield found


@pytest.fixture(autouse=True)
async def fresh(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_values, "STORE_CHECK_S", 0.05)
    await server.fresh_url()


@asynccontextmanager
async def machine(
    url: str,
    name: str = "",
    *,
    holder: str = "",
    ahead_s: float = 0.0,
    saved: SavedValues | None = None,
) -> AsyncIterator[SharedValues]:
    """Open the store on a machine whose clock is ahead."""

    def now() -> float:
        return clock.monotonic() + ahead_s

    local = KeyValueStore(clock=now, saved=saved)
    values = SharedValues(url, machine=name, holder=holder or name, local=local, clock=now)
    try:
        await values.open()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(values.look_after())
            yield values
            watching.cancel()
    finally:
        await values.close()


async def becomes(fact: Callable[[], bool]) -> None:
    # On a busy machine, many requests in a row may take longer than `STORE_ANSWER_S`.
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def settle() -> None:
    """Let every machine look after the store a few times."""
    await asyncio.sleep(0.3)


async def flush(server: Server) -> None:
    async with client(server) as there:
        await there.flushall()


async def test_another_machine_takes_a_value_once(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("twilio token 1", {"seat": 7}, for_s=60)

        assert await b.read("twilio token 1") == {"seat": 7}
        assert await b.take("twilio token 1") == {"seat": 7}
        assert [await a.take("twilio token 1"), await b.take("twilio token 1")] == [None, None]


async def test_two_machines_at_once_get_a_value_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "STORE_ANSWER_S", 10.0)  # on a busy machine, too
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        for number in range(50):
            await a.keep(f"call {number}", number, for_s=60)
        taken = await asyncio.gather(
            *(one.take(f"call {number}") for number in range(50) for one in (a, b))
        )

        assert sorted(item for item in taken if item is not None) == list(range(50))


@pytest.mark.parametrize("ahead_s", [0.0, 120.0, -120.0, 86_400.0])
async def test_moments_are_read_on_the_readers_clock(server: Server, ahead_s: float) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b", ahead_s=ahead_s) as b:
        now = clock.monotonic()
        value = {"began_at": now - 5.0, "until": now + 60.0, "none": 0.0, "turn": 3}
        await a.keep("parked 1", value, for_s=60, moments=("began_at", "until", "none"))
        found = await b.take("parked 1")

        there = clock.monotonic() + ahead_s
        assert there - found["began_at"] == pytest.approx(5.0, abs=30.0)
        assert found["until"] - there == pytest.approx(60.0, abs=30.0)
        assert (found["none"], found["turn"]) == (0.0, 3)


async def test_a_value_expires_by_the_clock_of_redis(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b", ahead_s=-500.0) as b:
        await a.keep("parked 1", 1, for_s=0.05)
        await asyncio.sleep(0.1)

        assert await b.read("parked 1") is None


async def test_a_machine_whose_call_was_taken_up_can_store_nothing(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b", ahead_s=-500.0) as b:
        await a.take_up("parked 1")
        await a.keep("parked 1", {"turn": 1}, for_s=60, epoch=1)
        taken = await b.take_up("parked 1")

        assert taken == TakenUp(epoch=2, value={"turn": 1})
        assert not await a.keep("parked 1", {"turn": 2}, for_s=60, epoch=1)
        assert await b.keep("parked 1", {"turn": 3}, for_s=60, epoch=2)
        assert await a.read("parked 1") == {"turn": 3}
        assert [await a.epoch("parked 1"), await b.epoch("parked 1")] == [2, 2]


async def test_of_many_that_take_a_call_up_in_the_same_epoch_one_gets_it(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("parked 1", "a state", for_s=60, epoch=1)
        taken = await asyncio.gather(
            *(one.take_up("parked 1", epoch=1) for _ in range(10) for one in (a, b))
        )

    assert [one for one in taken if one] == [TakenUp(epoch=2, value="a state")]


async def test_a_machine_that_was_cut_off_learns_that_its_call_was_taken_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.take_up("parked 1")
        await a.keep("parked 1", {"turn": 1}, for_s=60, epoch=1)
        a.link.lose(OSError("cut off"))
        assert await a.keep("parked 1", {"turn": 2}, for_s=60, epoch=1)  # it goes on
        with pytest.raises(LookupError):  # what it knows may be old
            await a.epoch("parked 1")
        assert await b.take_up("parked 1") == TakenUp(epoch=2, value={"turn": 1})
        await becomes(lambda: not a.is_away)
        await becomes(lambda: not a._own.unshared)

        assert not await a.keep("parked 1", {"turn": 3}, for_s=60, epoch=1)
        assert await b.read("parked 1") == {"turn": 1}


async def test_epochs_outlive_a_redis_that_loses_its_data(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("parked 1", "of a", for_s=60, epoch=1)
        await b.take_up("parked 1")
        await b.keep("parked 1", "of b", for_s=60, epoch=2)
        await asyncio.sleep(0.15)  # the names have been renewed
        async with client(server) as redis_client:
            await redis_client.flushall()
        await asyncio.sleep(0.3)

        assert await b.read("parked 1") == "of b"
        assert not await a.keep("parked 1", "of a again", for_s=60, epoch=1)


async def test_all_sessions_end_on_all_machines(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        session = {"role": "act", "network": "192.0.2.0"}
        await a.keep("session 1", session, for_s=60)
        await b.keep("session 2", session, for_s=60)
        await b.keep("session of another 3", "not a session", for_s=60)
        await a.drop("session")

        assert [await b.read("session 1"), await a.read("session 2")] == [None, None]
        assert await b.read("session of another 3") == "not a session"


SESSION = {"role": "act", "network": "192.0.2.0"}


async def test_all_sessions_end_in_a_redis_with_many_keys_of_others(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "for number = 1, 20000 do redis.call('SET', 'other ' .. number, '') end"
    async with client(server) as there, machine(server.url, "a") as a:
        await there.eval(many, 0)
        await a.keep("session 1", SESSION, for_s=60)
        scan = a.link.redis.scan

        async def slow_scan(*args: Any, **fields: Any) -> Any:
            await asyncio.sleep(shared_values.STORE_ANSWER_S / 10)
            return await scan(*args, **fields)

        monkeypatch.setattr(a.link.redis, "scan", slow_scan)
        await a.drop("session")

        assert not await there.exists("{holdline}:value:session 1")
        assert not a.is_away


async def test_a_session_that_was_ended_elsewhere_does_not_return(tmp_path: Path) -> None:
    with running_redis() as server:
        saved = SavedValues(kind="session", path=tmp_path / "sessions.json", utc_s=clock.utc_s)
        async with machine(server.url, "a", saved=saved) as a, machine(server.url, "b") as b:
            for name in ("session 1", "session 2", "session 3"):
                await a.keep(name, SESSION, for_s=60)
                assert await b.read(name) == SESSION  # so that `b` has them, too
            await b.drop("session 1")
            await a.drop("session 2")
            await becomes(lambda: '"session 1"' not in saved.path.read_text())
            await settle()

            await flush(server)  # what a machine still had, it stores again
            async with asyncio.timeout(10):
                while await b.read("session 3") != SESSION:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
            assert [await one.read("session 1") for one in (a, b)] == [None, None]
            assert [await one.read("session 2") for one in (a, b)] == [None, None]

            server.pause()
            assert [await one.read("session 1") for one in (a, b)] == [None, None]
            assert [await one.read("session 2") for one in (a, b)] == [None, None]
            assert [await one.read("session 3") for one in (a, b)] == [SESSION, SESSION]


async def test_a_session_that_was_ended_during_a_restart_does_not_return(tmp_path: Path) -> None:
    with running_redis() as server:
        saved = SavedValues(kind="session", path=tmp_path / "sessions.json", utc_s=clock.utc_s)
        async with machine(server.url, "b") as b:
            async with machine(server.url, "a", saved=saved) as a:
                await a.keep("session 1", SESSION, for_s=60)
                await a.keep("session 2", SESSION, for_s=60)
            await b.drop("session 1")
            async with machine(server.url, "a", saved=saved) as a:
                await becomes(lambda: '"session 1"' not in saved.path.read_text())
                server.pause()
                assert [await a.read(f"session {number}") for number in (1, 2)] == [None, SESSION]


async def test_all_values_of_a_kind_are_read_the_newest_last(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        assert await a.read_all("view") == {}
        await a.keep("view a", {"calls": 1}, for_s=60)
        await asyncio.sleep(0.01)
        await b.keep("view b", {"calls": 2}, for_s=60)
        await b.keep("view gone", 3, for_s=0.05)
        await asyncio.sleep(0.1)

        wanted = [("view a", {"calls": 1}), ("view b", {"calls": 2})]
        assert list((await a.read_all("view")).items()) == wanted
        assert list((await b.read_all("view")).items()) == wanted


async def test_calls_that_have_ended_displace_no_call_in_progress(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "MAX_KEPT", 3)
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("twilio call long", 1, for_s=60)
        for number in range(5):
            await b.keep(f"twilio call {number}", 1, for_s=60)
            assert await a.take(f"twilio call {number}") == 1

        assert await b.read("twilio call long") == 1


async def test_one_owners_sign_ins_displace_no_other_owners(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "MAX_FAIR", 3)
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("session me", {"role": "act", "network": "192.0.2.0"}, for_s=60)
        for number in range(5):
            flood = {"role": "act", "network": "198.51.100.0"}
            await a.keep(f"session {number}", flood, for_s=60 + number)

        assert await b.read("session me")
        found = [number for number in range(5) if await b.read(f"session {number}")]
        assert found == [2, 3, 4]


async def test_what_ends_while_redis_is_away_does_not_return() -> None:
    with running_redis() as server:
        async with machine(server.url, "a") as a, machine(server.url, "b") as b:
            await a.keep("twilio token 1", "a ticket", for_s=60)
            await a.keep("session 1", SESSION, for_s=60)
            assert await b.read("session 1") == SESSION
            server.pause()
            assert await a.take("twilio token 1") == "a ticket"
            assert await a.read("twilio token 1") is None  # it ended here, so that is known
            with pytest.raises(LookupError):
                await a.drop("session 1")
            assert await b.read("session 1") == SESSION
            server.resume()
            a.link.find()
            assert [await a.read("twilio token 1"), await a.read("session 1")] == [None, None]
            await becomes(lambda: not a.is_away and not b.is_away)
            await settle()

            assert await b.take("twilio token 1") is None
            assert [await one.read("session 1") for one in (a, b)] == [None, None]


async def test_who_signs_in_after_all_sessions_ended_while_redis_is_away_stays_signed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_values, "SAME_CLOCK_S", 0.05)
    with running_redis() as server:
        async with machine(server.url, "a") as a, machine(server.url, "b", ahead_s=-500.0) as b:
            await a.keep("session 1", SESSION, for_s=60)
            await b.keep("session 2", SESSION, for_s=60)
            async with client(server) as there:
                await there.set("{holdline}:value:session 3", "{}")
                await there.rpush("{holdline}:value:session 6", "of another type")
            await asyncio.sleep(0.1)
            server.pause()
            with pytest.raises(LookupError):
                await a.drop("session")
            await asyncio.sleep(0.1)
            await a.keep("session 4", SESSION, for_s=60)
            await b.keep("session 5", SESSION, for_s=60)
            server.resume()
            await becomes(lambda: not a._own.undropped and not a._own.unshared | b._own.unshared)
            await settle()

            for one in (a, b):
                found = [await one.read(f"session {number}") for number in range(1, 6)]
                assert found == [None, None, None, SESSION, SESSION]
            async with client(server) as there:
                gone = [f"{{holdline}}:value:session {number}" for number in (3, 6)]
                assert not await there.exists(*gone)


async def test_a_session_that_was_ended_while_a_machine_was_cut_off_does_not_return(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "PRESENT_S", 0.2)

    async def cut_off(_: object) -> None:
        raise shared_values.StoreAwayError("cut off")

    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("session 1", SESSION, for_s=60)
        await a.keep("session 2", SESSION, for_s=60)
        await settle()
        with monkeypatch.context() as patch:
            patch.setattr(a.link, "try_again", cut_off)
            a.link.lose(OSError("cut off"))
            await b.drop("session 1")
            await settle()  # longer than Redis keeps a machine's name
        await becomes(lambda: not a.is_away)
        await settle()

        assert [await one.read("session 1") for one in (a, b)] == [None, None]
        assert [await one.read("session 2") for one in (a, b)] == [SESSION, SESSION]


DAMAGED = {
    "cut": '{"value": {"tur',
    "of another version": "{}",
    "no object": "7",
    "without its moments": '{"value": {}, "moments": ["began_at"], "at": 5, "for_s": 60}',
    "too long": '"' + "x" * 10_000_000 + '"',
    "too deep": "[" * 100_000,
    "for too long": f'{{"value": 1, "moments": [], "at": 5, "for_s": {10**400}}}',
    "of another type": "",
}


@pytest.mark.parametrize("stored", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_value_counts_as_none_and_is_told_once(server: Server, stored: str) -> None:
    token, told = "parked twilio CA1", list[str]()
    async with machine(server.url, "a") as a, client(server) as redis_client:
        key = f"{shared_values.PREFIX}{token}"
        await (redis_client.set(key, stored) if stored else redis_client.rpush(key, "x"))
        sink = logger.add(told.append, level="WARNING")
        taken = await a.take_up(token)
        logger.remove(sink)

        assert taken == TakenUp(epoch=1)
        assert ["declined" in line for line in told] == [True]
        assert await a.read(token) is None
        assert await a.take(token) is None
        assert not a.is_away


@pytest.mark.parametrize("stored", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_value_hides_no_other_of_its_kind(server: Server, stored: str) -> None:
    async with machine(server.url, "a") as a, client(server) as redis_client:
        await a.keep("view a", {"calls": 1}, for_s=60)
        await a.keep("view b", {"calls": 2}, for_s=60)
        key = f"{shared_values.PREFIX}view b"
        await redis_client.delete(key)
        await (redis_client.set(key, stored) if stored else redis_client.rpush(key, "x"))

        assert await a.read_all("view") == {"view a": {"calls": 1}}


@pytest.mark.parametrize("how", ["gone", "frozen"])
async def test_while_redis_is_away_each_machine_goes_on_alone_and_shares_later(how: str) -> None:
    with running_redis() as server:
        async with machine(server.url, "a") as a, machine(server.url, "b") as b:
            await a.keep("parked before", 1, for_s=60)
            server.pause()
            if how == "gone":
                server.process.kill()
                server.process.wait()
            async with asyncio.timeout(5):  # one time limit at most, not fifty
                for _ in range(50):
                    await a.keep("parked during", 2, for_s=60)
            assert a.is_away
            assert await a.read("parked before") == 1
            assert await a.take("parked during") == 2
            await a.keep("parked during", 3, for_s=60)
            with pytest.raises(LookupError):
                await a.drop("session")
            if how == "frozen":
                server.resume()
                await becomes(lambda: not a.is_away and not b.is_away)
                await asyncio.sleep(0.1)
                assert await b.take("parked during") == 3


async def test_an_answer_that_came_while_our_own_loop_stalled_is_read(server: Server) -> None:
    async with machine(server.url, "a") as a:
        await a.keep("parked 1", 1, for_s=60)
        server.pause()
        reading = asyncio.create_task(a.read("parked 1"))
        await asyncio.sleep(0.05)
        server.resume()
        time.sleep(2 * shared_values.STORE_ANSWER_S)  # noqa: ASYNC251 - our loop stalls

        assert await reading == 1
        assert not a.is_away


async def test_a_connection_with_the_answer_to_another_request_is_not_used_again(
    server: Server,
) -> None:
    async with machine(server.url, "a") as a, asyncio.timeout(10):
        pool = a.link.redis.connection_pool
        connection = await pool.get_connection()
        await connection.send_command("ECHO", "of another request")
        await asyncio.sleep(0.1)
        await pool.release(connection)

        assert await a.link.ask(lambda: a.link.redis.echo("ours")) == "ours"


@pytest.mark.parametrize("stalls_s", [0.0, 0.1, 0.3])
async def test_a_frozen_redis_is_found_again_also_while_our_own_loop_stalls(
    stalls_s: float,
) -> None:
    with running_redis() as server:
        async with machine(server.url, "a") as a, asyncio.timeout(30):
            server.pause()
            requests = [asyncio.create_task(a.keep(f"parked {n}", n, for_s=60)) for n in range(40)]
            while not all(request.done() for request in requests):
                await asyncio.sleep(0.02)
                time.sleep(stalls_s)  # noqa: ASYNC251 - our loop stalls
            assert a.is_away
            server.resume()
            await becomes(lambda: not a.is_away)
            await settle()

            assert (a.is_away, await a.read("parked 39")) == (False, 39)


async def test_what_redis_has_lost_is_stored_again_but_no_token(server: Server) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await a.keep("parked 1", "a state", for_s=60)
        await a.keep("twilio token 1", "a ticket", for_s=60)
        await asyncio.sleep(0.15)  # the name has been renewed
        async with client(server) as redis_client:
            await redis_client.flushall()
        await asyncio.sleep(0.3)

        assert await b.read("parked 1") == "a state"
        assert await b.read("twilio token 1") is None


REFUSALS = {
    "full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "read-only": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "short of replicas": (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
    ),
}


@pytest.mark.parametrize(("begins", "ends"), REFUSALS.values(), ids=REFUSALS)
async def test_a_redis_that_stores_nothing_counts_as_away(
    server: Server, begins: str, ends: str
) -> None:
    async with client(server) as redis_client, machine(server.url, "a") as a:
        await redis_client.execute_command(*begins.split())
        try:
            await a.keep("parked 1", "a state", for_s=60)
            assert a.is_away
            await asyncio.sleep(0.2)
            assert a.is_away
            assert await a.read("parked 1") == "a state"
        finally:
            await redis_client.execute_command(*ends.split())
        await becomes(lambda: not a.is_away)
        await asyncio.sleep(0.05)
        async with machine(server.url, "b") as b:
            assert await b.read("parked 1") == "a state"


async def test_of_two_machines_with_one_name_the_second_does_not_start(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "PRESENT_S", 0.4)
    async with machine(server.url, "a", holder="first"):
        with pytest.raises(UsageError, match=r"another server with server\.machine: a"):
            async with machine(server.url, "a", holder="second"):
                pass
    async with machine(server.url, "a", holder="third") as third:  # the first has left
        assert not third.is_away


async def test_of_machines_that_start_at_once_with_one_name_one_starts(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "PRESENT_S", 2.0)
    monkeypatch.setattr(shared_values, "STORE_ANSWER_S", 10.0)  # on a busy machine, too
    refused, holders = list[str](), [str(number) for number in range(8)]

    async def start(holder: str) -> None:
        try:
            async with machine(server.url, "a", holder=holder):
                await becomes(lambda: len(refused) == len(holders) - 1)
        except UsageError as error:
            refused.append(str(error))

    await asyncio.gather(*map(start, holders))


async def test_a_machine_that_died_gives_its_name_free(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "PRESENT_S", 0.4)
    async with client(server) as redis_client:
        await redis_client.set(f"{shared_values.MACHINE}a", "the dead one", px=300)
    async with machine(server.url, "a", holder="its successor") as successor:
        assert not successor.is_away


async def test_a_server_starts_while_redis_is_away() -> None:
    async with machine(AWAY.format(free_port()), "a") as a:
        assert a.is_away


async def test_a_wrong_password_is_one_line_without_it(server: Server) -> None:
    url = server.url.replace(PASSWORD, "wr0ng-words")
    with pytest.raises(UsageError) as raised:
        async with machine(url, "a"):
            pass

    line = str(raised.value)
    assert line.startswith("server.store cannot be used: ")
    assert "with the right password" in line
    assert "wr0ng" not in line
    assert "\n" not in line


async def test_a_store_without_its_password_is_refused(server: Server) -> None:
    with pytest.raises(UsageError, match="with the right password"):
        async with machine(AWAY.format(server.port), "a"):
            pass


@asynccontextmanager
async def serving(answers: bytes) -> AsyncIterator[int]:
    """Answer each connection with this, and nothing else; yield the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as found:
        yield found.sockets[0].getsockname()[1]


OTHER_PROTOCOLS = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "imap": b"* OK IMAP4rev1 ready\r\n",
    "numbers": b":1\r\n" * 9,
    "binary": b"$3\r\n\xff\xfe\xfd\r\n" * 9,
}


@pytest.mark.parametrize("answers", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS)
async def test_a_server_that_is_no_redis_is_refused(answers: bytes) -> None:
    async with serving(answers) as port:
        with pytest.raises(UsageError, match="it must be a Redis"):
            async with machine(AWAY.format(port), "a"):
                pass


@pytest.mark.parametrize(
    "answers",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-ERR max number of clients reached\r\n",
    ],
)
async def test_a_redis_that_is_not_ready_counts_as_away(answers: bytes) -> None:
    async with serving(answers) as port, machine(AWAY.format(port), "a") as a:
        assert a.is_away


@pytest.mark.parametrize("protocol", ["http", "imap", "binary"])
async def test_a_server_that_is_no_redis_counts_as_away_later(protocol: str) -> None:
    async with serving(OTHER_PROTOCOLS[protocol]) as port:
        local = KeyValueStore(clock=clock.monotonic)
        values = SharedValues(
            AWAY.format(port), machine="a", holder="a", local=local, clock=clock.monotonic
        )
        assert await values.keep("call 1", 7, for_s=60) == KeepOutcome.KEPT_HERE
        with pytest.raises(LookupError):
            await values.link.try_again(values.link.redis.ping)
        await values.close()


async def test_a_server_starts_while_redis_runs_a_long_script() -> None:
    answers = b"-BUSY Redis is busy running a script.\r\n" * 9
    async with serving(answers) as port, machine(AWAY.format(port), "a") as a:
        assert a.is_away


async def test_only_so_many_values_that_ended_while_redis_is_away_are_noted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_values, "MAX_KEPT", 3)
    async with machine(server.url, "a") as a:
        a.link.lose(OSError("slow"))
        for number in range(5):
            with pytest.raises(LookupError):
                await a.drop(f"session {number}")

        assert len(a._own.undropped) == 3


async def test_what_only_another_machine_has_is_not_known_while_redis_is_away(
    server: Server,
) -> None:
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        for token in ("twilio call 1", "session 1"):
            await a.keep(token, SESSION, for_s=60)
        b.link.lose(OSError("slow"))

        with pytest.raises(LookupError):
            await b.read("twilio call 1")
        assert await b.read("session 1") is None  # an operator may sign in again
        await becomes(lambda: not b.is_away)
        assert await b.read("twilio call 1") == SESSION


@asynccontextmanager
async def old_redis(version: str, port: int = 0) -> AsyncIterator[int]:
    """Serve what a Redis of this version answers to a client that asks about it; yield the port."""

    writers = list[asyncio.StreamWriter]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        about = f"# Server\r\nredis_version:{version}\r\nmaxmemory:0\r\n".encode()
        while count := (await reader.readline())[1:]:
            words = list[bytes]()
            for _ in range(int(count)):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:length].upper())
            if words[0] == b"INFO":
                writer.write(b"$%d\r\n%b\r\n" % (len(about), about))
            elif words[0] == b"HELLO" and version >= "6":
                writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
            else:
                writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as found:
        yield found.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("version", ["2.8.24", "5.0.14", "6.0.16", "6.1.242"])
async def test_an_old_redis_is_refused(version: str) -> None:
    async with old_redis(version) as port:
        with pytest.raises(UsageError) as raised:
            async with machine(AWAY.format(port), "a"):
                pass

    line = str(raised.value)
    assert line.startswith("server.store cannot be used: ")
    assert "6.2 or newer" in line
    assert "\n" not in line
    assert version in line or version < "6"  # it refuses the client's first command


async def test_a_sentinel_is_refused() -> None:
    async with old_redis("7.0.15\r\nredis_mode:sentinel") as port:
        with pytest.raises(UsageError, match="it is a Sentinel"):
            async with machine(AWAY.format(port), "a"):
                pass


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
async def test_an_old_redis_that_comes_later_is_not_used_and_told_once(version: str) -> None:
    port, told = free_port(), list[str]()
    sink = logger.add(told.append, level="ERROR")
    async with machine(f"redis://:{PASSWORD}@127.0.0.1:{port}/0", "a") as a:
        async with old_redis(version, port):
            await becomes(lambda: any("6.2 or newer" in line for line in told))
            await settle()

            assert a.is_away
            assert await a.keep("call 1", 7, for_s=60) == KeepOutcome.KEPT_HERE
        with running_redis(port=port):
            await becomes(lambda: not a.is_away)
    logger.remove(sink)
    assert len([line for line in told if "6.2 or newer" in line]) == 1


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
async def test_a_redis_that_drops_values_is_refused(server: Server, policy: str) -> None:
    async with client(server) as redis_client:
        await redis_client.config_set("maxmemory", "100mb")
        await redis_client.config_set("maxmemory-policy", policy)
        try:
            with pytest.raises(UsageError, match="set it to noeviction"):
                async with machine(server.url, "a"):
                    pass
        finally:
            await redis_client.config_set("maxmemory-policy", "noeviction")
            await redis_client.config_set("maxmemory", 0)


async def test_a_call_with_long_instructions_and_many_turns_moves_whole(server: Server) -> None:
    fixed = [{"role": "system", "content": "\u00fc" * 66_000}]
    turns = [{"role": "user", "content": "x" * 190}, {"role": "assistant", "content": "y" * 190}]
    state = ResumeState(call_id="c", messages=[*fixed, *turns * 130], said="Yes.", heard="Yes.")
    async with machine(server.url, "a") as a, machine(server.url, "b") as b:
        await ParkedCall(a, "parked twilio CA1").keep(state)
        pool = SingleProcess(why_closed=str, clock=clock.monotonic)
        pool.key_values = b  # pyright: ignore[reportAttributeAccessIssue]
        found = (await Parked(pool, "twilio").take("CA1")).state

    assert found == replace(state, tools=[])
