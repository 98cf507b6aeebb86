"""A real server process against the fault lab, configured from a YAML file alone."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from lab.process import LAB_NUMBERS, RunningLab
from tests.share_servers import free_port

AUTH_TOKEN = "a-twilio-auth-token"
READY_S = 180.0  # a guard: workers load at once, besides other work on the machine
KINDS = {"deepgram": "stt", "openai": "llm", "cartesia": "tts", "elevenlabs": "tts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that answers calls."""

    url: str
    process: asyncio.subprocess.Process
    logs: Path


def configuration(lab: RunningLab, port: int, logs: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the YAML's content, and the environment that holds the keys it names."""
    stages: dict[str, list[dict[str, Any]]] = {"stt": [], "llm": [], "tts": []}
    keys: dict[str, str] = {}
    for instance in lab.instances:
        variable = f"KEY_{instance['name'].upper().replace('-', '_')}"
        keys[variable] = instance["api_key"]
        rung = {"name": instance["name"], "kind": instance["kind"], "url": instance["url"]}
        stages[KINDS[instance["kind"]]].append(rung | {"api_key_env": variable})
    tree = {
        "server": {
            "host": "127.0.0.1",
            "port": port,
            "public_url": f"http://127.0.0.1:{port}",
            "admission": "seats",  # a busy machine must not decide a test
            "workers": 1,  # a test asks for more if it needs them: each takes 4 s of a processor
        },
        "stages": stages,
        "transports": {"twilio": {"enabled": True}},
        "outbound": dict(LAB_NUMBERS),
        "logs": {"level": "INFO", "dir": str(logs)},
        "storage": {"url": f"sqlite+aiosqlite:///{logs.parent}/holdline.db"},
        "shutdown": {"drain_s": 5},
    }
    return tree, keys | {"TWILIO_AUTH_TOKEN": AUTH_TOKEN}


@asynccontextmanager
async def serving(
    lab: RunningLab,
    folder: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    within: Sequence[str] = (),
) -> AsyncIterator[Served]:
    """Run `python -m bot serve` during the block, then stop it as an operator would.

    `within` is a command that runs it, such as one that enters a network namespace.
    """
    port = port or free_port()
    tree, keys = configuration(lab, port, folder / "logs")
    keys |= environment or {}
    config = folder / "holdline.yaml"
    for key, change in (changes or {}).items():
        tree[key] = {**tree.get(key, {}), **change}
    config.write_text(yaml.safe_dump(tree))
    process = await asyncio.create_subprocess_exec(
        *within, sys.executable, "-m", "bot", "serve", "--config", str(config),
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **keys},
        cwd=Path(__file__).parents[2],
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://{tree['server']['host']}:{port}"
    try:
        await until_ready(url, process)
        yield Served(url=url, process=process, logs=folder / "logs")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()


async def until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    """Wait until a server answers calls."""
    async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server ended with {process.returncode}")
