"""The contract of every board, on a real SQLite, a real PostgreSQL and a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
import redis.asyncio
from sqlalchemy import create_engine, inspect, text

from bot.health.sharing import board_at
from fallbacks.shared_health import FOREVER_S, Aspect, RungReport
from operations.database.database import StorageError, line_of
from operations.database.provider_board import KEEP_S, ProviderBoard, report_from_entry
from operations.database.redis_board import LEASES, WORDS
from tests.share_servers import PASSWORD, Server, free_port

AT_S = 1_790_000_000.123456
PLACE, OTHER = "llm/mind/0123456789ab", "tts/voice/ba9876543210"
OPEN = RungReport(
    place=PLACE, aspect=Aspect.BREAKER, at_s=AT_S, value="open", until_s=AT_S + 900.5, retired=True
)
LONG_S = 60.0
WITHIN_S = 10.0  # far longer than anything takes, even on a busy machine

Join = Callable[[], ProviderBoard]
"""Opens the board for one more process."""


def suspects(at_s: float, *, place: str = PLACE, value: str = "suspect") -> RungReport:
    return RungReport(place=place, aspect=Aspect.SUSPICION, at_s=at_s, value=value)


class BoardContract:
    """Holds for any board; a kind of board is a class with the fixture `url`."""

    @pytest.fixture
    async def join(self, url: str) -> AsyncIterator[Join]:
        async with AsyncExitStack() as stack:
            names = (f"process-{number}" for number in range(1000))

            def another() -> ProviderBoard:
                board = board_at(url, holder=next(names))
                stack.push_async_callback(board.close)
                return board

            yield another

    async def test_the_board_has_a_clock(self, join: Join) -> None:
        before_s = time.time()

        board_s = await join().clock_s()

        assert before_s - 1.0 <= board_s <= time.time() + 1.0

    async def test_a_message_is_read_unchanged_by_others_and_not_by_its_writer(
        self, join: Join
    ) -> None:
        here, there = join(), join()
        await here.write([OPEN, suspects(AT_S + 1.0, place=OTHER)])

        assert await there.others([PLACE]) == [OPEN]
        assert set(await there.others([OTHER, PLACE])) == {
            OPEN,
            suspects(AT_S + 1.0, place=OTHER),
        }
        assert await here.others([PLACE]) == []
        assert await there.others(["stt/nobody/0"]) == []

    async def test_the_newer_message_wins_whatever_the_order(self, join: Join) -> None:
        here, there, witness = join(), join(), join()
        await here.write([suspects(AT_S + 0.002, value="")])
        await there.write([suspects(AT_S + 0.001)])

        assert await witness.others([PLACE]) == [suspects(AT_S + 0.002, value="")]
        await there.write([suspects(AT_S + 0.003)])
        assert await witness.others([PLACE]) == [suspects(AT_S + 0.003)]

    async def test_an_unknown_message_is_skipped(self, join: Join) -> None:
        here, there = join(), join()
        melted = RungReport(place=OTHER, aspect=Aspect.BREAKER, at_s=AT_S, value="melted")
        await here.write([melted, OPEN])

        assert await there.others([PLACE, OTHER]) == [OPEN]

    async def test_empty_writes_and_reads_are_not_errors(self, join: Join) -> None:
        board = join()
        await board.write([])

        assert await board.others([]) == []
        await board.leave()

    async def test_one_process_holds_a_lease_and_renews_it(self, join: Join) -> None:
        here, there = join(), join()

        assert await here.lease([PLACE], for_s=LONG_S) == {PLACE}
        assert await there.lease([PLACE, OTHER], for_s=LONG_S) == {OTHER}
        assert await here.lease([PLACE, OTHER], for_s=LONG_S) == {PLACE}

    async def test_a_release_frees_only_that_lease(self, join: Join) -> None:
        here, there, late = join(), join(), join()
        await there.lease([OTHER], for_s=LONG_S)
        assert await here.lease([PLACE, OTHER], for_s=LONG_S) == {PLACE}

        await here.leave()

        assert await late.lease([PLACE, OTHER], for_s=LONG_S) == {PLACE}

    async def test_a_lease_that_is_not_renewed_ends(self, join: Join) -> None:
        here, there = join(), join()
        await here.lease([PLACE], for_s=0.4)
        first = await there.lease([PLACE], for_s=LONG_S)

        async with asyncio.timeout(WITHIN_S):
            while not await there.lease([PLACE], for_s=LONG_S):  # noqa: ASYNC110 - a board has no event
                await asyncio.sleep(0.05)

        assert first == frozenset()
        assert await here.lease([PLACE], for_s=LONG_S) == frozenset()

    async def test_a_lease_from_before_the_clock_was_set_back_is_void(self, join: Join) -> None:
        dead, here = join(), join()
        await dead.lease([PLACE, OTHER], for_s=3600.0 + LONG_S)

        assert await here.lease([PLACE], for_s=LONG_S) == {PLACE}
        assert await dead.lease([PLACE, OTHER], for_s=LONG_S) == {OTHER}

    async def test_only_one_of_many_simultaneous_processes_gets_each_lease(
        self, join: Join
    ) -> None:
        boards = [join() for _ in range(8)]
        places = [f"llm/rung-{number}/0" for number in range(6)]
        await boards[0].clock_s()  # creates its tables

        held = await asyncio.gather(
            *[
                board.lease(places if index % 2 else places[::-1], for_s=LONG_S)
                for index, board in enumerate(boards)
            ]
        )

        assert sorted(place for granted in held for place in granted) == places

    async def test_simultaneous_writers_in_opposite_order_all_succeed(self, join: Join) -> None:
        boards = [join() for _ in range(8)]
        words = [suspects(AT_S, place=f"llm/rung-{number}/0") for number in range(200)]
        await boards[0].clock_s()

        await asyncio.gather(
            *[
                board.write(words if index % 2 else words[::-1])
                for index, board in enumerate(boards)
            ]
        )

        assert len(await join().others([word.place for word in words])) == 200


class TestSqlite(BoardContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/share/board.db"

    async def test_messages_that_are_not_renewed_are_deleted_at_the_next_start(
        self, join: Join, url: str
    ) -> None:
        here = join()
        now_s = await here.clock_s()
        old, young = suspects(now_s - KEEP_S - 5.0), suspects(now_s, place=OTHER)
        await here.write([old, young])
        await here.lease(["llm/gone/0"], for_s=-KEEP_S - 5.0)

        await join().lease([PLACE], for_s=LONG_S)

        engine = create_engine(url)
        with engine.connect() as connection:
            words = connection.execute(text("SELECT place FROM provider_health")).scalars().all()
            leases = connection.execute(text("SELECT place FROM provider_probers")).scalars().all()
            tables = inspect(connection).get_table_names()
        engine.dispose()
        assert sorted(tables) == ["provider_health", "provider_probers"]
        assert list(words) == [OTHER]
        assert list(leases) == [PLACE]


class ServerContract(BoardContract):
    """Holds for a board that is a server; a kind has the fixture `server`, too."""

    @pytest.fixture
    async def url(self, server: Server) -> str:
        return await server.fresh_url()

    async def test_a_missing_server_is_one_line(self, server: Server) -> None:
        nowhere = server.url.replace(f":{server.port}/", f":{free_port()}/")

        with pytest.raises(StorageError) as gone:
            await board_at(nowhere, holder="me").clock_s()

        assert PASSWORD not in str(gone.value)
        assert "\n" not in str(gone.value)

    async def test_an_unresolvable_name_is_one_line(self, server: Server) -> None:
        board = board_at(server.url.replace("127.0.0.1", "x" * 64), holder="me")

        with pytest.raises(StorageError):
            await board.clock_s()

    async def test_a_wrong_password_is_reported_without_it(self, server: Server) -> None:
        wrong = server.address.format("an0ther-password")
        board = board_at(wrong, holder="me")

        with pytest.raises(StorageError) as refused:
            await board.clock_s()

        await board.close()
        assert "an0ther-password" not in str(refused.value)
        assert "password" in str(refused.value)


class TestPostgres(ServerContract):
    @pytest.fixture
    def server(self, postgres: Server) -> Server:
        return postgres

    async def test_libpqs_parameter_for_encryption_is_accepted(self, url: str) -> None:
        board = board_at(f"{url}?sslmode=prefer", holder="me")

        assert await board.lease([PLACE], for_s=LONG_S) == {PLACE}
        await board.close()


class TestRedis(ServerContract):
    @pytest.fixture
    def server(self, redis_server: Server) -> Server:
        return redis_server

    async def test_everything_stored_expires(self, join: Join, url: str) -> None:
        board = join()
        await board.write([OPEN])
        await board.lease([PLACE], for_s=LONG_S)

        async with aclosing(redis.asyncio.Redis.from_url(url)) as client:
            keys = {key.decode() async for key in client.scan_iter()}
            ends_ms = [await client.pttl(key) for key in keys]

        assert keys == {f"{WORDS}{PLACE}:breaker", f"{LEASES}{PLACE}"}
        assert all(0 < item <= KEEP_S * 1000 for item in ends_ms)

    async def test_an_operators_action_is_kept_until_it_is_undone(
        self, join: Join, url: str
    ) -> None:
        board = join()
        now_s = await board.clock_s()
        out = RungReport(
            place=PLACE,
            aspect=Aspect.ROTATION,
            at_s=now_s,
            value="out",
            until_s=now_s + FOREVER_S,
        )
        await board.write([out])

        async with aclosing(redis.asyncio.Redis.from_url(url)) as client:
            assert await client.pttl(f"{WORDS}{PLACE}:rotation") > FOREVER_S * 999

    async def test_a_foreign_key_is_skipped(self, join: Join, url: str) -> None:
        async with aclosing(redis.asyncio.Redis.from_url(url)) as client:
            await client.set(f"{WORDS}{PLACE}:breaker", "not ours")
        here, there = join(), join()

        assert await there.others([PLACE]) == []
        await here.write([OPEN])
        assert await there.others([PLACE]) == [OPEN]


@pytest.mark.parametrize(
    "change",
    [{"aspect": "mood"}, {"at_s": "soon"}, {"at_s": float("nan")}, {"until_s": None}, {"place": 0}],
    ids=str,
)
def test_a_message_is_read_whole_or_not_at_all(change: dict[str, object]) -> None:
    said = {
        "place": PLACE, "aspect": "breaker", "at_s": AT_S, "value": "open",
        "until_s": AT_S + 900.5, "retired": True,
    }  # fmt: skip

    assert report_from_entry(said) == OPEN
    assert report_from_entry(said | change) != OPEN


def test_an_error_is_one_line_without_the_password() -> None:
    error = ValueError("cannot reach x:hunter2@h\nSELECT 1")

    assert line_of(error, hidden="hunter2") == "ValueError: cannot reach x:********@h"
