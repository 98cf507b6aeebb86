"""Two processes share the health of providers through one board, of each kind."""

import asyncio
import platform
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

import bot.health.sharing
from bot.health.policies import build_policies
from bot.health.sharing import BoardClient, board_at, places, share_health
from calls.events import Event, ShareLost, ShareRegained
from configuration.environment import Environment
from configuration.errors import ConfigError
from configuration.loading import Loaded, load
from configuration.printing import as_yaml
from configuration.settings import Settings
from fallbacks.availability import AvailabilityTable, RungAvailability
from fallbacks.breaker import State
from fallbacks.events import RungFollowed
from fallbacks.failure import Kind, failed
from fallbacks.shared_health import Aspect, RungReport, SharedRung
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard
from runtime import clock
from tests.kit.waiting import until
from tests.share_servers import PASSWORD, Server

WITHIN_S = 20.0  # far longer than anything takes, also on a busy machine


class Process:
    """One process, as far as its providers go."""

    def __init__(self, share: str, *, key: str = "k") -> None:
        self.settings = Settings.model_validate(
            {
                "stages": {
                    "stt": [{"name": "ears", "kind": "local"}],
                    "llm": [
                        {"name": name, "kind": "openai", "url": "http://127.0.0.1:9/v1"}
                        | {"api_key": key + name}
                        for name in ("mind", "brain")
                    ],
                    "tts": [{"name": "voice", "kind": "local"}],
                },
                "resilience": {"share": share},
            }
        )
        self.availability: AvailabilityTable = build_policies(self.settings, clock.monotonic())[
            "llm"
        ].availability
        self.told: list[Event] = []
        self.share: BoardClient | None = None

    @property
    def mind(self) -> RungAvailability:
        return self.availability.of("llm", "mind")

    @property
    def of_the_share(self) -> list[Event]:
        return [event for event in self.told if isinstance(event, ShareLost | ShareRegained)]

    def leads(self) -> bool:
        assert self.share is not None
        return self.share.leads(places(self.settings)["llm", "mind"])

    def fails(self, kind: Kind = Kind.NETWORK, *, reason: str = "", probe: bool = False) -> None:
        now = clock.monotonic()
        permit = self.mind.permit(now, probe=probe)
        assert permit is not None
        gone = failed(kind, "llm", provider="mind", reason=reason)
        self.availability.failed(permit, gone, now=now)

    def succeeds(self) -> None:
        now = clock.monotonic()
        permit = self.mind.permit(now, probe=True)
        assert permit is not None
        self.availability.succeeded(("llm", "mind"), permit, now=now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        async with share_health(
            self.settings, self.availability, emit=self.told.append
        ) as self.share:
            yield self


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/share/board.db"


# `tests/operations/database/test_provider_board.py` shows what differs between the boards.
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis_server"])
async def test_an_outage_found_by_one_process_costs_the_other_no_caller(
    kind: str, request: pytest.FixtureRequest, url: str
) -> None:
    if kind != "sqlite":
        url = await request.getfixturevalue(kind).fresh_url()
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails()
        await until(lambda: there.mind.suspect_since is not None)
        here.fails()
        here.fails()
        await until(lambda: there.mind.breaker.state is State.OPEN)

        assert not there.mind.at(clock.monotonic()).usable
        assert there.availability.of("llm", "brain").suspect_since is None


async def test_the_cause_travels_with_the_breaker(url: str) -> None:
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails(Kind.AUTH, reason="401 invalid_api_key")
        await until(lambda: there.mind.breaker.state is State.OPEN)

        followed = [event for event in there.told if isinstance(event, RungFollowed)]
        assert [(event.kind, event.reason) for event in followed][-1] == ("auth", "401")


async def test_a_longer_rest_of_an_open_rung_is_known_to_the_other_without_an_event(
    url: str,
) -> None:
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails(Kind.AUTH)
        await until(lambda: there.mind.retired)
        followed, wake_at = len(there.told), there.mind.breaker.wake_at
        assert wake_at is not None

        here.fails(Kind.AUTH, probe=True)

        await until(lambda: (there.mind.breaker.wake_at or 0.0) > wake_at)
        assert len(there.told) == followed


async def test_a_recovery_found_by_one_process_is_known_to_the_other(url: str) -> None:
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails(Kind.AUTH)
        await until(lambda: there.mind.retired)
        for _ in range(3):
            there.succeeds()

        await until(lambda: here.mind.breaker.state is State.CLOSED)
        await until(lambda: here.mind.suspect_since is None)

        last = [event for event in here.told if isinstance(event, RungFollowed)][-1]
        assert (last.provider, last.breaker, last.suspect) == ("mind", "closed", False)


async def test_one_process_probes_for_both_and_the_other_takes_over_when_it_ends(url: str) -> None:
    async with Process(url).running() as there:
        async with Process(url).running() as here:
            await until(lambda: here.leads() or there.leads())
            await until(lambda: here.leads() != there.leads())
            first = here if here.leads() else there
            assert first.told == []

        await until(there.leads)


async def test_a_rung_with_another_key_is_another_rung(url: str) -> None:
    async with (
        Process(url).running() as here,
        Process(url, key="another").running() as there,
        Process(url).running() as witness,
    ):
        here.fails(Kind.AUTH)
        await until(lambda: witness.mind.retired)
        await until(there.leads)  # it has heard from the board, too

        assert there.mind.suspect_since is None


async def test_without_the_board_each_process_continues_alone_and_says_so_once(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "board.db"
    blocked.mkdir()
    async with Process(f"sqlite:///{blocked}").running() as alone:
        await until(lambda: alone.told)
        assert alone.leads()
        assert [type(item) for item in alone.told] == [ShareLost]
        alone.fails()
        blocked.rmdir()

        await until(lambda: len(alone.told) == 2)
        assert isinstance(alone.told[1], ShareRegained)
        async with Process(f"sqlite:///{blocked}").running() as late:
            await until(lambda: late.mind.suspect_since is not None)


async def test_within_one_process_nothing_is_shared() -> None:
    async with Process("local").running() as alone:
        assert alone.share is None


@pytest.mark.slow
async def test_while_the_board_hangs_each_continues_alone_and_then_they_share_again(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.health.sharing, "BOARD_ANSWER_S", 0.5)
    server = redis_server
    url, loop = await server.fresh_url(), Loop()
    async with Process(url).running() as here, Process(url).running() as there:
        await until(lambda: here.leads() or there.leads())
        server.pause()
        try:
            async with loop.watched():
                await until(lambda: here.told and there.told)
            here.fails(Kind.AUTH)
            assert here.leads()
            assert there.leads()
            assert there.mind.suspect_since is None
        finally:
            server.resume()

        await until(lambda: there.mind.retired)
        await until(lambda: len(here.of_the_share) == len(there.of_the_share) == 2)
        assert loop.blocked < 0.3  # the wait for the board lasts half of the time
        for item in (here, there):
            assert [type(fact) for fact in item.of_the_share] == [ShareLost, ShareRegained]
            assert PASSWORD not in str(item.told)
        await until(lambda: here.leads() != there.leads())


class Loop:
    """The share of time in which something kept the loop from its work."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self.ran_s = 0.0

    @property
    def blocked(self) -> float:
        return self.late_s / self.ran_s

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look())
            yield
            looking.cancel()

    async def _look(self) -> None:
        while True:
            asked_s = clock.monotonic()
            await asyncio.sleep(0.01)
            took_s = clock.monotonic() - asked_s
            self.ran_s += took_s
            self.late_s += took_s - 0.01 if took_s > 0.1 else 0.0


async def test_a_hanging_board_does_not_block_the_exit(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.health.sharing, "BOARD_ANSWER_S", 0.2)
    url = await redis_server.fresh_url()
    try:
        async with asyncio.timeout(4 * WITHIN_S):  # without a limit it would never end
            async with Process(url).running() as here:
                await until(here.leads)
                redis_server.pause()
    finally:
        redis_server.resume()


class Swallowing:
    """A board whose client swallows a cancellation once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def clock_s(self) -> float:
        if not self.asked.is_set():
            self.asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60.0)
        return 1.0

    def __getattr__(self, name: str) -> Any:
        raise StorageError(name)


@pytest.mark.virtual_time
async def test_sharing_ends_even_if_the_client_swallows_the_cancellation() -> None:
    board: Any = Swallowing()
    sharing = asyncio.ensure_future(BoardClient([], board=board, emit=lambda _: None).run())
    await board.asked.wait()
    sharing.cancel()
    done, _ = await asyncio.wait([sharing], timeout=10.0)

    assert done


class Stumbling:
    """A board that fails once and has lost its data afterwards."""

    def __init__(self, board: ProviderBoard, forget: Callable[[], object]) -> None:
        self._board = board
        self._forget = forget
        self.stumbles = False

    async def others(self, asked: Iterable[str]) -> Sequence[RungReport]:
        if self.stumbles:
            self.stumbles = False
            self._forget()
            raise StorageError("started anew")
        return await self._board.others(asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)


async def test_every_state_is_published_again_to_a_restarted_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget() -> None:
        with closing(sqlite3.connect(tmp_path / "board.db", timeout=5.0)) as file:
            file.execute("DELETE FROM provider_health")
            file.commit()

    boards: list[Stumbling] = []

    def stumbling(share: str, *, holder: str) -> Any:
        boards.append(Stumbling(board_at(share, holder=holder), forget))
        return boards[-1]

    monkeypatch.setattr(bot.health.sharing, "board_at", stumbling)
    url = f"sqlite:///{tmp_path}/board.db"
    async with Process(url).running() as here:
        here.fails(Kind.AUTH)
        await until(here.leads)
        boards[0].stumbles = True
        await until(lambda: not boards[0].stumbles)
        async with Process(url).running() as late:
            await until(lambda: late.mind.retired)

        assert here.told == []


class WrongClock:
    """A board with a clock far off the machines'."""

    def __init__(self, board: ProviderBoard, *, off_s: float) -> None:
        self._board = board
        self._off_s = off_s

    async def clock_s(self) -> float:
        return await self._board.clock_s() + self._off_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)


async def test_times_follow_the_boards_clock_and_not_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far_off(share: str, *, holder: str) -> Any:
        return WrongClock(board_at(share, holder=holder), off_s=86_400.0)

    monkeypatch.setattr(bot.health.sharing, "board_at", far_off)
    url = f"sqlite:///{tmp_path}/board.db"
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails(Kind.QUOTA)
        await until(lambda: there.mind.retired)
        began_s, heard_s = here.mind.breaker.since, there.mind.breaker.since

        assert heard_s == pytest.approx(began_s, abs=5.0)  # and not a day later
        witness = board_at(url, holder="witness")
        words = await witness.others([places(here.settings)["llm", "mind"]])
        await witness.close()
        assert {word.aspect for word in words} == {
            Aspect.BREAKER,
            Aspect.SUSPICION,
            Aspect.CAUSE,
        }
        assert all(word.at_s > time.time() + 80_000 for word in words)


class SetClock(WrongClock):
    """A board whose clock is set, after which answers take a little longer."""

    def set(self, off_s: float) -> None:
        self._off_s = off_s

    async def clock_s(self) -> float:
        await asyncio.sleep(0.02 if self._off_s else 0.0)
        return await super().clock_s()


async def test_a_change_of_the_boards_clock_is_followed_at_the_next_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.health.sharing, "RENEW_EVERY_S", 0.0)
    url = f"sqlite:///{tmp_path}/board.db"
    here, board = Process(url), SetClock(board_at(url, holder="here"), off_s=0.0)
    place = places(here.settings)["llm", "mind"]
    share = BoardClient([SharedRung(place, here.mind)], board=board, emit=here.told.append)  # pyright: ignore[reportArgumentType] - it is one by delegation
    await share.sync()
    board.set(-3600.0)
    await share.sync()
    here.fails(Kind.AUTH)
    await share.sync()
    await share.close()

    witness = board_at(url, holder="witness")
    words = await witness.others([place])
    await witness.close()

    assert {word.aspect for word in words} == {
        Aspect.BREAKER,
        Aspect.SUSPICION,
        Aspect.CAUSE,
    }
    assert all(word.at_s < time.time() - 3500.0 for word in words)


def places_with(change: dict[str, Any]) -> dict[tuple[str, str], str]:
    voice = {"name": "voice", "kind": "cartesia", "api_key": "k", "voice": "anna"}
    mind = {"name": "mind", "kind": "openai", "api_key": "k"}
    stages = {
        "stt": [{"name": "ears", "kind": "local"}],
        "llm": [mind],
        "tts": [voice | change.get("voice", {})],
    }
    return places(Settings.model_validate({"stages": stages, "agent": change.get("agent", {})}))


@pytest.mark.parametrize(
    "change",
    [
        {"voice": {"voice": "ana"}},
        {"voice": {"language": "es"}},
        {"voice": {"options": {"speed": 2}}},
        {"voice": {"model": "sonic"}},
        {"voice": {"api_key": "another"}},
        {"agent": {"language": "es"}},
    ],
    ids=str,
)
def test_a_rung_with_other_requests_is_another_rung(change: dict[str, Any]) -> None:
    assert places_with(change)["tts", "voice"] != places_with({})["tts", "voice"]


def test_a_rung_is_the_same_whatever_else_is_configured() -> None:
    slower = {"voice": {"timeout_s": 3, "standby": "cold"}}

    assert places_with(slower) == places_with({})


def test_a_rung_without_an_address_belongs_to_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = places_with({})
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    there = places_with({})

    assert here["stt", "ears"] != there["stt", "ears"]
    assert here["tts", "voice"] == there["tts", "voice"]


def loaded_with(share: str) -> Loaded:
    keys = ("DEEPGRAM", "OPENAI", "CARTESIA", "ELEVENLABS")
    values = {f"{key}_API_KEY": "k" for key in keys}
    values["HOLDLINE__RESILIENCE__SHARE"] = share
    return load(variables=Environment(values=values))


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("mysql://:s3cret@db/0", "through mysql; use local, sqlite:///FILE, postgresql://… or"),
        ("redis://:s3/cret@cache:6379/0", "write /, @, : and # of a password as %2F"),
        ("redis://:s3cret@cache:port/0", "it must be like redis://user:password@host/0"),
        ("redis://:s3cret@cache/health", "must be the database's number"),
        ("rediss://cache/0?password=s3cret", "option password is unknown; known: ssl_ca_certs"),
        ("redis://:s3cret@cache/0?ssl_cert_reqs=none", "ssl_cert_reqs is unknown; known:"),
        ("postgresql://u:s3cret@db/x?sslmod=on", "sslmod is unknown; known: ssl, sslmode"),
        ("postgresql://u:s3cret@/x", "it must be like postgresql://"),
    ],
)
def test_an_unusable_share_is_one_line_without_its_password(share: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded_with(share)

    (problem,) = refused.value.problems
    assert problem.line.startswith('environment HOLDLINE__RESILIENCE__SHARE: resilience.share is "')
    assert said in problem.line
    assert "s3" not in problem.line
    assert "cret" not in problem.line


@pytest.mark.parametrize(("scheme", "extra"), [("postgresql", "postgres"), ("rediss", "redis")])
def test_a_missing_driver_is_one_line_with_the_cure(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ConfigError) as refused:
        loaded_with(f"{scheme}://:s3cret@there/0")

    (problem,) = refused.value.problems
    assert f'pip install "holdline[{extra}]"' in problem.line
    assert "s3cret" not in problem.line


@pytest.mark.parametrize(
    "share",
    ["redis://:hunter2@cache:6379/0", "postgresql://u:x@hunter2@db/y", "rediss://u:hunter2@cache"],
)
def test_the_configuration_is_shown_without_the_shares_password(share: str) -> None:
    shown = as_yaml(loaded_with(share))

    assert "hunter2" not in shown
    assert "********@" in shown


def test_a_shares_password_is_refused_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "holdline.yaml"
    file.write_text('resilience: {share: "redis://:s3cret@cache/0"}', encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        load(file, variables=Environment(values={}))

    lines = [problem.line for problem in refused.value.problems if "share" in problem.line]
    assert len(lines) == 1
    assert "HOLDLINE__RESILIENCE__SHARE" in lines[0]
    assert "s3cret" not in lines[0]
