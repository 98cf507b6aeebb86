"""Two processes' rosters on one SQLite file: what one finds out the other need not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot import clock
from bot.config import Settings
from bot.config_errors import ConfigError
from bot.config_loading import load
from bot.environment import Environment
from bot.policies import build_policies
from bot.sharing import Share, places, sharing
from calls.events import Event, ShareLost, ShareRegained
from fallbacks.breaker import State
from fallbacks.failure import Kind, failed
from fallbacks.health import Health
from fallbacks.roster import Roster

WITHIN_S = 10.0  # far longer than anything takes, also on a busy machine


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
        self.roster: Roster = build_policies(self.settings, clock.monotonic())["llm"].roster
        self.told: list[Event] = []
        self.share: Share | None = None

    @property
    def mind(self) -> Health:
        return self.roster.health("llm", "mind")

    def leads(self) -> bool:
        assert self.share is not None
        return self.share.leads(places(self.settings)["llm", "mind"])

    def fails(self, kind: Kind = Kind.NETWORK) -> None:
        now = clock.monotonic()
        permit = self.mind.permit(now)
        assert permit is not None
        self.roster.failed(permit, failed(kind, "llm", provider="mind"), now=now)

    def succeeds(self) -> None:
        now = clock.monotonic()
        permit = self.mind.permit(now, probe=True)
        assert permit is not None
        self.roster.succeeded(("llm", "mind"), permit, now=now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        async with sharing(self.settings, self.roster, tell=self.told.append) as self.share:
            yield self


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not met():  # noqa: ASYNC110 - a board has no bell
            await asyncio.sleep(0.05)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/share/board.db"


async def test_an_outage_that_one_process_met_costs_the_other_no_caller(url: str) -> None:
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails()
        await until(lambda: there.mind.suspect_since is not None)
        here.fails()
        here.fails()
        await until(lambda: there.mind.breaker.state is State.OPEN)

        assert not there.mind.standing(clock.monotonic()).usable
        assert there.roster.health("llm", "brain").suspect_since is None


async def test_a_recovery_that_one_process_found_out_is_known_to_the_other(url: str) -> None:
    async with Process(url).running() as here, Process(url).running() as there:
        here.fails(Kind.AUTH)
        await until(lambda: there.mind.retired)
        for _ in range(3):
            there.succeeds()

        await until(lambda: here.mind.breaker.state is State.CLOSED)

        assert here.mind.suspect_since is None


async def test_one_process_probes_for_both_and_the_other_takes_over_when_it_ends(url: str) -> None:
    async with Process(url).running() as there:
        async with Process(url).running() as here:
            await until(lambda: here.leads() or there.leads())
            await until(lambda: here.leads() != there.leads())
            first = here if here.leads() else there
            assert first.told == []

        await until(there.leads)


async def test_a_process_that_starts_later_knows_at_once(url: str) -> None:
    async with Process(url).running() as here:
        here.fails(Kind.QUOTA)
        async with Process(url).running() as late:
            await until(lambda: late.mind.retired)


async def test_another_key_is_another_rung(url: str) -> None:
    async with (
        Process(url).running() as here,
        Process(url, key="another").running() as there,
        Process(url).running() as witness,
    ):
        here.fails(Kind.AUTH)
        await until(lambda: witness.mind.retired)

        assert there.mind.suspect_since is None
        assert there.leads()


async def test_without_the_board_each_goes_on_alone_and_says_so_once(tmp_path: Path) -> None:
    blocked = tmp_path / "board.db"
    blocked.mkdir()
    async with Process(f"sqlite:///{blocked}").running() as alone:
        await until(lambda: alone.told)
        assert alone.leads()
        assert [type(each) for each in alone.told] == [ShareLost]
        alone.fails()
        blocked.rmdir()

        await until(lambda: len(alone.told) == 2)
        assert isinstance(alone.told[1], ShareRegained)
        async with Process(f"sqlite:///{blocked}").running() as late:
            await until(lambda: late.mind.suspect_since is not None)


async def test_within_one_process_nothing_is_shared_with_anybody() -> None:
    async with Process("local").running() as alone:
        assert alone.share is None


def test_a_share_that_this_version_does_not_have_is_one_line_without_its_password() -> None:
    keys = ("DEEPGRAM", "OPENAI", "CARTESIA", "ELEVENLABS")
    values = {f"{each}_API_KEY": "k" for each in keys}
    values["HOLDLINE__RESILIENCE__SHARE"] = "redis://:s3cret@cache:6379/0"

    with pytest.raises(ConfigError) as refused:
        load(variables=Environment(values=values))

    (problem,) = refused.value.problems
    assert problem.line.startswith("environment HOLDLINE__RESILIENCE__SHARE: resilience.share is")
    assert "redis is not available in this version; use local, or sqlite:///FILE" in problem.line
    assert "s3cret" not in problem.line
