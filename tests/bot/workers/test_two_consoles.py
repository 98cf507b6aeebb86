"""Two servers with one Redis and one PostgreSQL: their consoles, sign-ins, reloads, and erasure."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from operations.database.database import Database
from operations.record.machine_files import MachineFiles
from tests.bot.serving import AUTH_TOKEN, Served, free_port, serving
from tests.kit.databases import fresh
from tests.kit.haproxy import MACHINES
from tests.share_servers import Server, running_redis

pytestmark = [pytest.mark.slow, pytest.mark.long]

TOKEN = "a-token-of-twenty-three-c"
NUMBER = "+493012345678"
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Two:
    """Two running servers, by name."""

    servers: dict[str, Served]
    stacks: Mapping[str, AsyncExitStack]  # each server, until its stack is closed
    folder: Path
    environment: Mapping[str, str]
    lab: RunningLab
    ports: Mapping[str, int]

    async def start(self, name: str) -> None:
        public_url = f"http://127.0.0.1:{self.ports['a']}"  # in place of a balancer
        server = {"machine": name, "public_url": public_url, "workers": 1}
        changes = {
            "server": server,
            "hold": {"render": False},
            "agent": {"silence": {"prompt_after_s": 600}},
        }
        (self.folder / name).mkdir(exist_ok=True)
        self.servers[name] = await self.stacks[name].enter_async_context(
            serving(
                self.lab,
                self.folder / name,
                changes=changes,
                environment=self.environment,
                port=self.ports[name],
            )
        )

    async def forget(self) -> tuple[int, str]:
        """Erase a number at `a`; return the exit code and what is said about it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "forget", NUMBER,
            "--config", str(self.folder / "a" / "holdline.yaml"),
            env={**os.environ, **self.environment, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, **self.keys()},
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        return process.returncode or 0, said.decode()

    def keys(self) -> dict[str, str]:
        tree = yaml.safe_load((self.folder / "a" / "holdline.yaml").read_text())
        rungs = [rung for stage in tree["stages"].values() for rung in stage]
        return {rung["api_key_env"]: "any" for rung in rungs}


@asynccontextmanager
async def two(lab: RunningLab, folder: Path, postgres: Server) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        ports = {name: free_port() for name in MACHINES}
        store = stack.enter_context(running_redis())
        environment = {
            "HOLDLINE__SERVER__STORE": store.url,
            "HOLDLINE__STORAGE__URL": await fresh(postgres),
            "HOLDLINE_TOKEN": TOKEN,
        }
        stacks = {name: await stack.enter_async_context(AsyncExitStack()) for name in MACHINES}
        it = Two(
            servers={}, stacks=stacks, folder=folder, environment=environment, lab=lab, ports=ports
        )
        await asyncio.gather(*(it.start(name) for name in MACHINES))
        yield it


async def sign_in(session: aiohttp.ClientSession, served: Served) -> Mapping[str, str]:
    """Sign in at one server; return the header for any of them."""
    form = {"token": TOKEN, "name": "Ada", "next": "/"}
    async with session.post(f"{served.url}/sign-in", data=form, allow_redirects=False) as answer:
        return {"Cookie": f"holdline={answer.cookies['holdline'].value}"}


async def live(session: aiohttp.ClientSession, served: Served, headers: Mapping[str, str]) -> Any:
    async with session.get(f"{served.url}/api/calls", headers=headers) as answer:
        if answer.status != 200:
            return answer.status
        return [(call["transport"], call["machine"]) for call in (await answer.json())["live"]]


async def shows(
    session: aiohttp.ClientSession,
    served: Served,
    headers: Mapping[str, str],
    *calls: tuple[str, str],
) -> None:
    while await live(session, served, headers) != list(calls):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.1)


async def reload(session: aiohttp.ClientSession, served: Served, headers: Mapping[str, str]) -> Any:
    async with session.post(f"{served.url}/api/reload", headers=headers, json={}) as answer:
        return {
            item["machine"]: item["configuration"] for item in (await answer.json())["machines"]
        }


async def test_one_sign_in_shows_the_calls_and_configurations_of_both(
    lab: RunningLab, tmp_path: Path, postgres: Server
) -> None:
    async with (
        two(lab, tmp_path, postgres) as it,
        aiohttp.ClientSession() as session,
        asyncio.timeout(300),
    ):
        a, b = (it.servers[name] for name in MACHINES)
        header = await sign_in(session, a)
        async with Carrier(a.url, AUTH_TOKEN) as call:
            await call.listen(within_s=60)
            await shows(session, b, header, ("twilio", "a"))

            before = await reload(session, b, header)
            assert (set(before), len(set(before.values()))) == ({"a", "b"}, 1)
            await it.stacks["b"].aclose()
            config = tmp_path / "b" / "holdline.yaml"
            await it.start("b")
            b = it.servers["b"]
            await shows(session, b, header, ("twilio", "a"))  # still signed in
            tree = yaml.safe_load(config.read_text())
            tree["agent"]["greeting"] = "Good morning."
            config.write_text(yaml.safe_dump(tree))
            after = await reload(session, b, header)
            assert (after["a"], after["b"] != after["a"]) == (before["a"], True)

        async with session.post(f"{b.url}/sign-out", headers=header, allow_redirects=False):
            pass
        assert [await live(session, one, header) for one in (a, b)] == [401, 401]


async def test_forget_fails_until_every_server_has_deleted_its_files(
    lab: RunningLab, tmp_path: Path, postgres: Server
) -> None:
    async with two(lab, tmp_path, postgres) as it, asyncio.timeout(300):
        async with Database(it.environment["HOLDLINE__STORAGE__URL"]) as database:
            listed = MachineFiles(database).last_seen
            while set(await listed()) != set(MACHINES):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.2)
        assert await it.forget() == (0, "")
        await it.stacks["b"].aclose()
        code, said = await it.forget()

    assert code == 1
    assert "b (no answer, last seen at " in said
