"""A call whose whole machine is killed: another one goes on with it, through the shared store."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from lab.process import RunningLab
from tests.bot.serving import Served, free_port, serving
from tests.bot.workers.carrier_lines import (
    ANY_LINE,
    ExotelLine,
    PlivoLine,
    TelnyxLine,
    Twilio,
    secrets_in,
)
from tests.bot.workers.multi_worker import told, workers_of
from tests.bot.workers.test_resumed_calls import assert_heard_once, goes_on, is_answered
from tests.kit.haproxy import MACHINES, answers, haproxy
from tests.share_servers import PASSWORD, running_redis

pytestmark = [pytest.mark.slow, pytest.mark.long]


@asynccontextmanager
async def two_machines(
    lab: RunningLab,
    folder: Path,
    line: Twilio | TelnyxLine | PlivoLine | ExotelLine,
    *,
    seats: Mapping[str, int] = MappingProxyType({}),
    checks: Mapping[str, int] | None = None,
) -> AsyncIterator[tuple[str, dict[str, Served]]]:
    """Run two servers that share a Redis, behind one HAProxy; yield its URL, and the servers.

    Args:
        lab: The providers.
        folder: Gets a folder for each machine.
        line: The carrier.
        seats: The seats of a machine that has fewer than usual.
        checks: The ports that answer HAProxy's checks; by default the machines' own.
    """
    front = free_port()
    ports, own = ({name: free_port() for name in MACHINES} for _ in range(2))
    url = f"http://127.0.0.1:{front}"
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_redis())
        tree = dict(await stack.enter_async_context(line.prepare(folder)))
        keys = secrets_in(tree)
        starting = dict[str, asyncio.Task[Served]]()
        for name in MACHINES:
            (folder / name).mkdir()
            server = {
                "public_url": url,
                "machine": name,
                "agent_check_port": own[name],
                "workers": 1,
            }
            if name in seats:
                server["max_calls"] = seats[name]
            served = serving(
                lab,
                folder / name,
                changes={"server": server, "hold": {"render": False}, **tree},
                environment={"HOLDLINE__SERVER__STORE": store.url, **keys},
                port=ports[name],
            )
            starting[name] = asyncio.ensure_future(stack.enter_async_context(served))
        servers = {name: await task for name, task in starting.items()}
        stack.enter_context(haproxy(ports, checks or own, port=front))
        await answers(url)
        yield url, servers


@ANY_LINE
async def test_a_call_of_a_killed_machine_goes_on_at_the_other_one(
    line: Twilio | TelnyxLine | PlivoLine, lab: RunningLab, tmp_path: Path
) -> None:
    async with two_machines(lab, tmp_path, line) as (url, servers), asyncio.timeout(180):
        async with line.carrier(url) as call:
            await is_answered(call)
            (had,) = [name for name in MACHINES if told(servers[name], "CallStarted")]
            (other,) = set(MACHINES) - {had}
            await kill(servers[had])
            await goes_on(call)
            assert len(call.lost_at) == 1
        await assert_heard_once(servers[had], lab, servers[other])


async def kill(served: Served) -> None:
    """Kill all processes of a machine at once."""
    for pid in (served.process.pid, *workers_of(served).values()):
        os.kill(pid, signal.SIGKILL)
    await served.process.wait()


async def test_a_server_whose_store_cannot_be_used_ends_with_one_line(tmp_path: Path) -> None:
    with running_redis() as store:
        config = tmp_path / "holdline.yaml"
        config.write_text(
            "stages: {stt: [{kind: deepgram}], llm: [{kind: openai}], tts: [{kind: local}]}"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve", "--config", str(config),
            "--port", str(free_port()),
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "OPENAI_API_KEY": "a-key",
                "DEEPGRAM_API_KEY": "a-key",
                "HOLDLINE__LOGS__DIR": str(tmp_path / "logs"),
                "HOLDLINE__SERVER__STORE": store.url.replace(PASSWORD, "wr0ng-words"),
            },
            cwd=Path(__file__).parents[3],
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            _, told = await process.communicate()

    lines = told.decode().strip().splitlines()
    assert process.returncode == 2
    assert "server.store cannot be used" in lines[-1]
    assert "Traceback" not in told.decode()
    assert "wr0ng" not in told.decode()
