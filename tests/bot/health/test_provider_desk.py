"""What an operator sees of the providers and does to them, over HTTP and at the terminal."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from bot import clock
from bot.__main__ import run
from bot.config.settings import Settings
from bot.exits import CommandError, UsageError
from bot.health.operator_desk import reset, show
from bot.http.server import Extras, application
from bot.process import OpenHouse, open_house
from fallbacks.breaker import State
from fallbacks.failure import Kind, failed

TOKEN = "a-token-of-the-console"
STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [
        {"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "s3cret"},
        {"name": "brain", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "other"},
    ],
    "tts": [{"name": "voice", "kind": "local"}],
}


@asynccontextmanager
async def desk(tmp_path: Path, port: int = 8080) -> AsyncIterator[tuple[OpenHouse, Settings]]:
    settings = Settings.model_validate(
        {
            "stages": STAGES,
            "server": {"token": TOKEN, "port": port},
            "logs": {"dir": tmp_path},
            "resilience": {"probe": {"interval_s": 0}},
        }
    )
    async with open_house(settings, words=False) as house:
        yield house, settings


@asynccontextmanager
async def asking(tmp_path: Path) -> AsyncIterator[tuple[OpenHouse, httpx.AsyncClient]]:
    async with (
        desk(tmp_path) as (house, _),
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application(house, tasks, Extras())),
            base_url="http://holdline.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client,
    ):
        yield house, client


@asynccontextmanager
async def listening(tmp_path: Path) -> AsyncIterator[tuple[OpenHouse, Settings]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with desk(tmp_path, port) as (house, settings), asyncio.TaskGroup() as tasks:
            app = application(house, tasks, Extras())
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            serving = tasks.create_task(server.serve([listener]))
            yield house, settings
            server.should_exit = True
            await serving


def opened(house: OpenHouse, name: str = "mind", kind: Kind = Kind.AUTH) -> None:
    """Let a live attempt meet what opens the breaker at once."""
    now, roster = clock.monotonic(), house.providers.roster
    permit = roster.health("llm", name).permit(now)
    assert permit is not None
    roster.failed(permit, failed(kind, "llm", provider=name), now=now)


async def test_every_rung_is_listed_with_its_place_and_its_health(tmp_path: Path) -> None:
    async with asking(tmp_path) as (house, client):
        opened(house)

        found: list[dict[str, Any]] = (await client.get("/api/providers")).json()

    assert [(each["stage"], each["name"], each["rank"]) for each in found] == [
        *(("stt", "ears", 1), ("llm", "mind", 1), ("llm", "brain", 2), ("tts", "voice", 1))
    ]
    mind, brain = found[1], found[2]
    assert (mind["state"], mind["suspect"], mind["retired"]) == ("open", True, True)
    assert 890 < mind["half_opens_in_s"] <= 900
    assert (brain["state"], brain["suspect"], brain["usable"]) == ("closed", False, True)
    assert set(brain["spent_s"]) == {"closed", "open", "half_open"}
    assert brain["last_probe"] is None
    assert "s3cret" not in str(found)


async def test_a_reset_lets_a_retired_rung_be_tried_at_once(tmp_path: Path) -> None:
    async with asking(tmp_path) as (house, client):
        opened(house)

        answer = await client.post("/api/providers/mind/reset")

        assert answer.status_code == 200
        assert [(each["name"], each["state"]) for each in answer.json()] == [("mind", "half_open")]
        assert house.providers.roster.health("llm", "mind").breaker.state is State.HALF_OPEN


async def test_a_reset_of_nobody_says_who_there_is(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, client):
        answer = await client.post("/api/providers/mint/reset")

    assert answer.status_code == 404
    assert answer.json()["names"] == ["ears", "mind", "brain", "voice"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/mind/reset")])
async def test_both_need_the_token(tmp_path: Path, method: str, path: str) -> None:
    async with asking(tmp_path) as (_, client):
        del client.headers["Authorization"]

        refused = await client.request(method, f"/api/providers{path}")

    assert refused.status_code == 401


async def test_the_terminal_shows_the_running_servers_rungs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(tmp_path) as (house, settings):
        opened(house)

        await show(settings)

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:4] == ["stage", "name", "breaker", "condition"]
    assert ["llm", "mind", "open", "needs", "a", "person"] in [row[:6] for row in rows]


async def test_the_terminal_resets_a_rung_and_knows_a_misspelt_one(tmp_path: Path) -> None:
    async with listening(tmp_path) as (house, settings):
        opened(house)

        await reset(settings, "mind")
        with pytest.raises(UsageError, match='no provider "mint"; did you mean "mind"'):
            await reset(settings, "mint")

        assert house.providers.roster.health("llm", "mind").breaker.state is State.HALF_OPEN


async def test_another_token_than_the_servers_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path) as (_, settings):
        server = settings.server.model_copy(update={"token": None})

        with pytest.raises(CommandError, match="another HOLDLINE_TOKEN"):
            await show(settings.model_copy(update={"server": server}))


CONFIG = {
    "server": {"port": 9},  # discard: nobody of ours
    "stages": {
        "stt": [{"kind": "local", "name": "ears"}],
        "llm": [{"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": "KEY"}],
        "tts": [{"kind": "local", "name": "voice"}],
    },
}


def test_no_running_server_is_one_line_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", "k")
    Path("holdline.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")

    assert run(["providers"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("holdline: no server answers at http://127.0.0.1:9;")


def test_words_that_are_no_reset_are_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "rest", "mind"]) == 2
    assert run(["providers", "reset"]) == 2

    assert '"reset NAME"' in capsys.readouterr().err.splitlines()[0]
