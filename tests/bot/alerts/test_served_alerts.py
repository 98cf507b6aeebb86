"""A real server with two workers, to which every provider refuses its key: what is told of it."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bot.alerts.conftest import Receiver
from tests.bot.serving import free_port

READY_S = 120.0  # two workers load everything, beside whatever else this machine does
LADDERS = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}


def configuration(folder: Path, port: int, providers: str) -> dict[str, Any]:
    socket = providers.replace("http", "ws")
    urls = {"stt": socket, "llm": f"{providers}/v1", "tts": f"{socket}/tts/websocket"}
    return {
        "server": {"port": port, "workers": 2, "admission": "seats"},
        "stages": {
            stage: [{"name": f"{kind}-a", "kind": kind, "url": urls[stage], "api_key_env": "KEY"}]
            for stage, kind in LADDERS.items()
        },
        "alerts": {"hold_s": 0, "update_s": 1e6, "escalate_s": 1e6},
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        "logs": {"dir": str(folder / "logs")},
        "shutdown": {"drain_s": 0},
    }


async def test_two_workers_that_meet_the_same_refused_keys_tell_of_each_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with Receiver.running() as providers:
        providers.answers = [(401, {"error": "a wrong key"})] * 1000
        config = tmp_path / "holdline.yaml"
        tree = configuration(tmp_path, free_port(), providers.url)
        config.write_text(yaml.safe_dump(tree), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "serve", "--config", str(config)),
            env={**os.environ, "KEY": "a-key", "WEBHOOK_URL": f"{receiver.url}/hook"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(READY_S):
                while len(opened(receiver)) < 3:  # noqa: ASYNC110 - a real program tells nobody
                    await asyncio.sleep(0.05)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    assert len(opened(receiver)) == len(set(opened(receiver)))


def opened(receiver: Receiver) -> list[tuple[str, str, str]]:
    """Return of what each message that began an alert was."""
    began = [said["data"] for *_, said in receiver.asked if said["type"] == "alert.opened"]
    return [(each["stage"], each["provider"], each["kind"]) for each in began]


pytestmark = pytest.mark.slow
