"""The server's routes over HTTP, and its process as an operator sees it."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot.server import live_routes
from bot.server.application import Extras, application
from bot.workers.process import open_process
from configuration.settings import Settings
from tests.kit.stages import STAGES

TOKEN = "a-token-of-the-console"
SDP = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


@asynccontextmanager
async def asking(
    tmp_path: Path, *, recorded: bool = False, **tree: Any
) -> AsyncIterator[httpx.AsyncClient]:
    kept = {"logs": {"dir": tmp_path}, "storage": {"url": f"sqlite+aiosqlite:///{tmp_path}/h.db"}}
    settings = Settings.model_validate({"stages": STAGES, **kept, **tree})
    async with (
        open_process(settings, words=False, record=recorded) as process,
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application(process, tasks, Extras())),
            base_url="http://127.0.0.1:8080",
        ) as client,
    ):
        yield client


async def test_health_says_nothing_internal_and_answers_head(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        health, ready = await client.get("/healthz"), await client.get("/readyz")
        heads = [await client.head(path) for path in ("/healthz", "/readyz")]

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["reasons"]) == (200, [])
    assert [head.status_code for head in heads] == [200, 200]


async def test_a_process_with_an_unwritable_database_is_ready_and_says_so(
    tmp_path: Path,
) -> None:
    away = {"storage": {"url": "sqlite+aiosqlite:////dev/null/holdline.db"}}
    async with asking(tmp_path, recorded=True, **away) as client:
        found = await readiness(client, ["storage_down"])

    assert found == (200, {"ready": True, "degraded": True, "reasons": ["storage_down"]})


RUNGS = {
    "stt": [
        {"kind": "deepgram", "name": "ear-a", "api_key": "a"},
        {"kind": "deepgram", "name": "ear-b", "api_key": "b"},
    ],
    "llm": [
        {"kind": "openai", "name": "mind-a", "api_key": "a"},
        {"kind": "openai", "name": "mind-b", "api_key": "b"},
    ],
    "tts": [
        {"kind": "cartesia", "name": "voice-a", "api_key": "a"},
        {"kind": "elevenlabs", "name": "voice-b", "api_key": "b"},
    ],
}
SUFFIXES = {"openai": "http://127.0.0.1:{}/v1", "cartesia": "ws://127.0.0.1:{}/tts/websocket"}


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    """Answer 401 to every request, and return the port."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "a wrong key"}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def readiness(client: httpx.AsyncClient, reasons: list[str]) -> tuple[int, dict[str, Any]]:
    """Return the answer of `/readyz` once it gives these reasons."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get("/readyz")
            if answer.json()["reasons"] == reasons:
                return answer.status_code, answer.json()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("steps", "status"),
    [(["clip", "keypad", "chosen", "goodbye"], 200), (["clip", "goodbye"], 503)],
    ids=["a menu needs no provider", "only clips"],
)
async def test_refused_keys_of_every_provider_are_a_reason(
    tmp_path: Path, steps: list[str], status: int
) -> None:
    async with refusing() as port:
        stages = {
            stage: [
                {**rung, "url": SUFFIXES.get(rung["kind"], "ws://127.0.0.1:{}").format(port)}
                for rung in rungs
            ]
            for stage, rungs in RUNGS.items()
        }
        tree = {
            "stages": stages,
            "hold": {"steps": steps, "render": False},
            "resilience": {"probe": {"interval_s": 0.1}},
        }
        async with asking(tmp_path, **tree) as client:
            found = await readiness(client, ["stt_down", "llm_down", "tts_down"])

    assert found == (
        status,
        {
            "ready": status == 200,
            "degraded": status == 200,
            "reasons": ["stt_down", "llm_down", "tts_down"],
        },
    )


async def test_the_metrics_are_those_of_this_process(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "holdline_calls_active 0.0" in answer.text
    assert "holdline_process_event_queue_entries" in answer.text
    for name in (
        'local="true",provider="voice",stage="tts"',
        'local="false",provider="mind",stage="llm"',
    ):
        assert f"holdline_breaker_state{{{name}}} 0.0" in answer.text


async def test_with_a_token_set_every_route_but_those_of_a_public_telephone_needs_it(
    tmp_path: Path,
) -> None:
    paths = (
        *("/", "/api/live", "/metrics", "/calls/c1", "/api/calls", "/api/calls/c1"),
        *("/api/calls/c1/audio", "/api/providers"),
    )
    changes = {"server": {"token": TOKEN}, "transports": {"webrtc": {"public": True}}}
    async with asking(tmp_path, **changes) as client:
        refused = {path: (await client.get(path)).status_code for path in paths}
        telephone = await client.get("/client/")

    assert refused == dict.fromkeys(paths, 401)
    assert telephone.status_code == 200


async def test_an_invalid_offer_and_candidates_for_no_call_are_refused_in_one_sentence(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as client:
        for sdp in ("garbage", "v=0\r\n", SDP):  # SDP: it cannot be answered
            answer = await client.post("/api/offer", json={"sdp": sdp, "type": "offer"})

            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("The offer")
        overlarge = await client.post("/api/offer", json={"sdp": "v" * 100_000, "type": "offer"})
        unknown = await client.patch("/api/offer", json={"pc_id": "nobody", "candidates": []})

    assert overlarge.status_code == 422
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "No such call."})


async def test_the_route_of_a_disabled_transport_is_404(tmp_path: Path) -> None:
    async with asking(tmp_path, transports={"webrtc": {"enabled": False}}) as client:
        statuses = [
            (await client.post("/api/offer", json={})).status_code,
            (await client.get("/client/")).status_code,
            (await client.post("/twilio/voice")).status_code,
        ]

    assert statuses == [404, 404, 404]


CONFIG = """
server: {{port: {port}, workers: 1}}
stages:
  stt: [{{name: ears, kind: local}}]
  llm: [{{name: mind, kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: KEY}}]
  tts: [{{name: voice, kind: local}}]
logs: {{dir: {folder}}}
shutdown: {{drain_s: 1}}
"""


def test_a_taken_port_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "holdline.yaml"
        config.write_text(CONFIG.format(port=port, folder=tmp_path))

        run = subprocess.run(  # noqa: S603 - our own command, our own arguments
            [sys.executable, "-m", "bot", "serve", "--config", str(config)],
            capture_output=True, text=True, timeout=30, check=False, env={"KEY": "k"},
            cwd=Path(__file__).parents[3],
        )  # fmt: skip

    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert str(port) in run.stderr


@pytest.mark.slow
async def test_a_server_says_one_line_ends_with_0_on_sigterm_and_its_files_are_its_owners(
    tmp_path: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "holdline.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path / "made" / "logs"))
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", 'umask 000; exec "$@"', "sh",
        sys.executable, "-m", "bot", "serve", "--config", str(config),
        env={"KEY": "k", "PATH": "/usr/bin:/bin"}, cwd=Path(__file__).parents[3],
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    async with asyncio.timeout(60):
        said = await process.stdout.readline()
        process.send_signal(signal.SIGTERM)

        said += (await process.communicate())[0]
    assert process.returncode == 0
    assert said.decode().splitlines() == [
        f"Holdline is ready at http://127.0.0.1:{port} (webrtc): "
        f"open http://127.0.0.1:{port}/ and press Call.",
        "Attention: mind (127.0.0.1:9) cannot be reached; callers will get the keypad menu.",
    ]
    made = tmp_path / "made"
    modes = {str(path.relative_to(made)): path.stat().st_mode & 0o777 for path in made.rglob("*")}
    assert modes.pop("logs") == 0o700
    assert modes["logs/holdline.log"] == 0o600
    assert all(mode in (0o600, 0o700) for mode in modes.values()), modes


async def test_the_number_of_watching_pages_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_routes, "MAX_WATCHERS", 0)
    async with asking(tmp_path) as client:
        answer = await client.get("/api/live")

    assert (answer.status_code, list(answer.json())) == (503, ["detail"])
