"""Our server connected to a real LiveKit, with the fault lab for providers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lab.process import LabOptions, RunningLab, lab_process
from tests.bot.serving import Served, serving
from tests.peers.media_server import MediaServer

GREETING = "Hello, this is the harbour clinic. How can I help you?"


@asynccontextmanager
async def answering(
    media_server: MediaServer,
    folder: Path,
    *,
    lab: RunningLab | None = None,
    changes: Mapping[str, Any] | None = None,
    port: int | None = None,
) -> AsyncIterator[Served]:
    """Answer a LiveKit's calls while the block runs; at another port it polls."""
    livekit = {
        "enabled": True,
        "url": media_server.websocket_url,
        "api_key_env": "LIVEKIT_API_KEY",
        "api_secret_env": "LIVEKIT_API_SECRET",
    }
    tree: dict[str, Any] = {
        "transports": {"twilio": {"enabled": False}, "livekit": livekit},
        "server": {"workers": 1},
        "agent": {"greeting": GREETING},
    }
    for key, change in (changes or {}).items():
        tree[key] = {**tree.get(key, {}), **change}
    keys = {"LIVEKIT_API_KEY": media_server.key, "LIVEKIT_API_SECRET": media_server.secret}
    if lab is not None:
        async with serving(
            lab, folder, changes=tree, environment=keys, port=port or media_server.webhook_port
        ) as served:
            yield served
        return
    async with (
        lab_process(options=LabOptions(keep_audio=True)) as own,
        answering(media_server, folder, lab=own, changes=changes) as served,
    ):
        yield served
