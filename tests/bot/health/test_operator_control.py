"""An operator's view and actions on providers, over HTTP and at the terminal."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from aiohttp import web

from bot.__main__ import run
from bot.health.operator_control import reset, show
from bot.outbound import dial_order
from bot.outbound.dial_order import order_dial
from bot.server.application import Extras, application
from bot.workers.process import Process, open_process
from configuration.settings import Settings
from fallbacks.breaker import State
from fallbacks.failure import Kind, failed
from runtime import clock
from runtime.exits import DONE, CommandError, UsageError
from tests.kit.served import served

pytestmark = pytest.mark.virtual_time

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
async def desk(
    tmp_path: Path, port: int = 8080, *, token: str | None = TOKEN
) -> AsyncIterator[tuple[Process, Settings]]:
    settings = Settings.model_validate(
        {
            "stages": STAGES,
            "server": {"token": token, "port": port},
            "logs": {"dir": tmp_path},
            "resilience": {"probe": {"interval_s": 0}},
        }
    )
    async with open_process(settings, words=False) as process:
        yield process, settings


@asynccontextmanager
async def asking(tmp_path: Path) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    async with (
        desk(tmp_path) as (process, _),
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application(process, tasks, Extras())),
            base_url="http://127.0.0.1:8080",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client,
    ):
        yield process, client


@asynccontextmanager
async def listening(
    tmp_path: Path, *, token: str | None = TOKEN
) -> AsyncIterator[tuple[Process, Settings]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with (
            desk(tmp_path, port, token=token) as (process, settings),
            asyncio.TaskGroup() as tasks,
        ):
            app = application(process, tasks, Extras())
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            serving = tasks.create_task(server.serve([listener]))
            yield process, settings
            server.should_exit = True
            await serving


def opened(process: Process, name: str = "mind", kind: Kind = Kind.AUTH) -> None:
    """Let a live attempt fail in a way that opens the breaker at once."""
    now, availability = clock.monotonic(), process.providers.availability
    permit = availability.of("llm", name).permit(now)
    assert permit is not None
    availability.failed(permit, failed(kind, "llm", provider=name), now=now)


async def test_every_rung_is_listed_with_its_place_and_its_health(tmp_path: Path) -> None:
    async with asking(tmp_path) as (process, client):
        opened(process)

        found: list[dict[str, Any]] = (await client.get("/api/providers")).json()

    assert [(row["stage"], row["name"], row["rank"]) for row in found] == [
        *(("stt", "ears", 1), ("llm", "mind", 1), ("llm", "brain", 2), ("tts", "voice", 1))
    ]
    mind, brain = found[1], found[2]
    assert (mind["state"], mind["suspect"], mind["retired"]) == ("open", True, True)
    assert 80 < mind["half_opens_in_s"] <= 90
    assert (brain["state"], brain["suspect"], brain["usable"]) == ("closed", False, True)
    assert set(brain["spent_s"]) == {"closed", "open", "half_open"}
    assert brain["last_probe"] is None
    assert "s3cret" not in str(found)


async def test_a_reset_lets_an_open_rung_be_tried_at_once(tmp_path: Path) -> None:
    async with asking(tmp_path) as (process, client):
        opened(process)

        answer = await client.post("/api/providers/mind/reset")

        assert answer.status_code == 200
        assert [(item["name"], item["state"]) for item in answer.json()] == [("mind", "half_open")]
        assert process.providers.availability.of("llm", "mind").breaker.state is State.HALF_OPEN


async def test_a_rung_out_of_rotation_is_passed_over_until_it_is_put_back(tmp_path: Path) -> None:
    async with asking(tmp_path) as (process, client):
        said = {"by": "Mary", "why": "their status page"}
        (out,) = (await client.post("/api/providers/mind/rest", json=said)).json()
        offered = [
            rung.usable for rung in process.providers.availability.ladder("llm", clock.monotonic())
        ]
        (back,) = (await client.post("/api/providers/mind/return")).json()

    assert (out["withdrawn"], out["usable"], out["state"]) == (True, False, "closed")
    assert offered == [False, True]
    assert (back["withdrawn"], back["usable"]) == (False, True)


async def test_the_last_rung_of_a_stage_is_taken_out_by_force_only(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_, client):
        await client.post("/api/providers/brain/rest")
        refused = await client.post("/api/providers/mind/rest")
        forced = await client.post("/api/providers/mind/rest", json={"force": True})

    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "Without mind, llm would have no usable provider; use force to do it anyway."
    )
    assert forced.json()[0]["withdrawn"] is True


async def test_an_operators_action_is_reported_once_with_its_author_and_reason(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as (process, client):
        watching = process.listeners.live.watch()
        said = {"by": "Mary +15551234567", "why": "x" * 200}
        await client.post("/api/providers/mind/rest", json=said)
        await client.post("/api/providers/mind/return")
        await client.post("/api/providers/mint/rest")
        await process.emitter.flush()
        told = [await anext(watching) for _ in tuple(process.listeners.live._recent)]

    acted = [item for item in told if item["event"] == "OperatorActed"]
    assert len(acted) == 2
    assert [(item["action"], item["target"]) for item in acted] == [
        ("rest", "mind"),
        ("return", "mind"),
    ]
    assert acted[0]["why"] == "x" * 200
    assert acted[1]["by"] == "an operator (bearer token from 127.0.0.1)"


async def test_an_unknown_action_is_refused_in_one_line(tmp_path: Path) -> None:
    async with asking(tmp_path) as (process, client):
        for body in ({"why": "x" * 201}, {"by": 3}, {"force": "perhaps"}, [1]):
            refused = await client.post("/api/providers/mind/rest", json=body)

            assert refused.status_code == 422, body
            assert "\n" not in refused.json()["detail"]
            assert not process.providers.availability.of("llm", "mind").out
        unknown = await client.post("/api/providers/mint/reset")

    assert unknown.status_code == 404
    assert unknown.json()["names"] == ["ears", "mind", "brain", "voice"]


async def test_the_terminal_resets_a_rung_and_suggests_a_misspelt_one(tmp_path: Path) -> None:
    async with listening(tmp_path) as (process, settings):
        opened(process)

        await reset(settings, "mind")
        with pytest.raises(UsageError, match='no provider "mint"; did you mean "mind"'):
            await reset(settings, "mint")

        assert process.providers.availability.of("llm", "mind").breaker.state is State.HALF_OPEN


async def test_a_wrong_token_is_reported(tmp_path: Path) -> None:
    async with listening(tmp_path) as (_, settings):
        server = settings.server.model_copy(update={"token": None})

        with pytest.raises(CommandError, match="refuses access"):
            await show(settings.model_copy(update={"server": server}))


CONFIG = {
    "server": {"port": 9},  # discard: not one of our sockets
    "stages": {
        "stt": [{"kind": "local", "name": "ears"}],
        "llm": [{"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": "KEY"}],
        "tts": [{"kind": "local", "name": "voice"}],
    },
}


@pytest.mark.real_time  # the command has a loop, and so a thread, of its own
async def test_an_operators_shell_needs_no_providers_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(tmp_path) as (process, settings):
        opened(process)
        bare_shell(tmp_path, monkeypatch, {"server": {"port": settings.server.port}})
        monkeypatch.setenv("HOLDLINE_TOKEN", TOKEN)

        assert await asyncio.to_thread(run, ["providers"]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert rows[0][:4] == ["stage", "name", "breaker", "condition"]
        assert ["llm", "mind", "open", "needs", "a", "person"] in [row[:6] for row in rows]
        assert await asyncio.to_thread(run, ["providers", "reset", "mind"]) == 0
        assert "mind" in capsys.readouterr().out


@pytest.mark.real_time  # as above
async def test_next_to_a_running_demo_no_setup_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(tmp_path, token=None) as (process, settings):
        opened(process)
        bare_shell(tmp_path, monkeypatch, {"server": {"port": 9}})
        monkeypatch.setattr(
            "configuration.running_demo.DEFAULT_ADDRESS", f"http://127.0.0.1:{settings.server.port}"
        )

        assert await asyncio.to_thread(run, ["providers"]) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:2] == ["stage", "name"]
    assert f"from the demo at http://127.0.0.1:{settings.server.port}" in told[-1]


@pytest.mark.real_time  # the command has a loop of its own
async def test_the_token_is_sent_only_to_the_configured_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/api/providers", note)
    async with served(app) as url:
        monkeypatch.setattr("configuration.running_demo.DEFAULT_ADDRESS", url)
        await show(
            Settings.model_validate({"stages": STAGES, "server": {"token": TOKEN, "port": 9}})
        )

    assert shown == [None]


FOREIGN = ["{", "null", "[1]", '[{"name": "it"}]', '{"rungs": []}']


@asynccontextmanager
async def foreign(
    body: str, *, status: int = 200, content_type: str = "application/json"
) -> AsyncIterator[Settings]:
    """Answer every request with foreign text."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app) as url:
        server = {"port": int(url.rpartition(":")[2]), "public_url": url}
        yield Settings.model_validate({"stages": STAGES, "server": server})


async def test_another_program_at_the_port_is_not_taken_for_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for body in FOREIGN:
        async with foreign(body) as settings:
            address = settings.server.public_url
            monkeypatch.setattr("configuration.running_demo.DEFAULT_ADDRESS", address)

            with pytest.raises(CommandError, match="no server answers at"):
                await show(settings)


async def test_a_program_other_than_our_server_gives_no_result_of_a_dial() -> None:
    for body in ("{", "[1]"):
        async with foreign(body) as settings:
            with pytest.raises(CommandError, match="did not report its outcome"):
                await order_dial(settings, "+15550142", say=print)


async def test_a_server_without_workers_is_said_to_start_or_stop_when_it_should_dial() -> None:
    body = "No worker is available now."
    async with foreign(body, status=503, content_type="text/plain") as settings:
        with pytest.raises(CommandError, match="is starting or stopping and places no calls now"):
            await order_dial(settings, "+15550142", say=print)


@pytest.mark.real_time  # the kernel drops connections without the loop's knowledge
async def test_an_address_that_does_not_connect_leaves_the_dial_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dial_order, "CONNECT_S", 0.2)
    said: list[str] = []
    body = json.dumps({"outcome": "completed", "reason": "", "length_s": 4})
    async with foreign(body) as settings:
        with (
            socket.create_server(("127.0.0.1", 0), backlog=0) as full,
            socket.create_connection(full.getsockname()),  # all that waits to be accepted
        ):
            server = settings.server.model_copy(update={"port": full.getsockname()[1]})
            both = settings.model_copy(update={"server": server})
            assert await order_dial(both, "+15550142", say=said.append) == DONE

    assert said == ["+15550142: completed, 4 s"]


def bare_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: dict[str, Any]) -> None:
    """Go to a folder with a configuration, without any key in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


@pytest.mark.real_time  # the command has a loop of its own
def test_no_running_server_is_one_line_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare_shell(tmp_path, monkeypatch, CONFIG)
    monkeypatch.setattr("configuration.running_demo.DEFAULT_ADDRESS", "http://127.0.0.1:10")

    assert run(["providers"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "holdline: no server answers at http://127.0.0.1:9, and no demo at http://127.0.0.1:10; "
        "start one with `holdline serve`"
    )


def test_an_invalid_reset_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["providers", "rest", "mind"]) == 2
    assert run(["providers", "reset"]) == 2

    assert '"reset NAME"' in capsys.readouterr().err.splitlines()[0]
