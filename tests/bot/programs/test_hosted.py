"""Connections that a host program may pass in, and those that are refused."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.runner.types import (
    DailyRunnerArguments,
    LiveKitRunnerArguments,
    WebSocketRunnerArguments,
)

from bot import bot
from bot.programs.hosted import HostedServer, run_hosted
from operations.telemetry import logs
from transports.media_stream.messages import POLICY

CONFIG = """
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: KEY}]
  tts: [{name: voice, kind: local}]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", "k")
    Path("holdline.yaml").write_text(CONFIG, encoding="utf-8")


@asynccontextmanager
async def hosting() -> AsyncIterator[str]:
    """Hand each socket to `bot.bot`, as Pipecat's runner does."""
    app = FastAPI()

    @app.websocket("/ws")
    async def media(websocket: WebSocket) -> None:
        await websocket.accept()
        await bot(WebSocketRunnerArguments(websocket=websocket))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve([listener]))
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/ws"
            server.should_exit = True
            await serving


async def test_a_socket_that_does_not_start_like_twilios_is_closed() -> None:
    async with asyncio.timeout(60), hosting() as url, aiohttp.ClientSession() as session:
        for message in ("garbage", '{"event": "media", "media": {}}', '{"event": "start"}'):
            async with session.ws_connect(url) as line:
                for _ in range(8):
                    await line.send_str(message)
                await line.receive()

            assert line.close_code == POLICY, message


async def test_an_unknown_connection_is_named() -> None:
    given = DailyRunnerArguments(room_url="http://127.0.0.1:9/r")

    with pytest.raises(TypeError, match="webrtc, twilio and livekit from a host, not DailyRunner"):
        await bot(given)


async def test_a_room_that_refuses_us_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    room = "r-1-+15551234567"  # rules of LiveKit may put the caller's number into the name
    given = LiveKitRunnerArguments(room_name=room, url="ws://127.0.0.1:9", token="t")

    await bot(given)
    logs.flush()  # a thread writes it

    assert "r-1-***4567: the media server did not let us in" in capsys.readouterr().err


def test_code_that_exits_in_a_call_does_not_end_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    went_on = list[bool]()

    async def serve(_: HostedServer) -> None:
        exiting = asyncio.create_task(exits())
        await asyncio.sleep(0.01)
        went_on.append(exiting.exception() is not None)

    async def exits() -> None:
        raise SystemExit(3)

    monkeypatch.setattr(HostedServer, "serve", serve)

    run_hosted(FastAPI(), host="127.0.0.1", port=0, drain_s=0.0)

    assert went_on == [True]
