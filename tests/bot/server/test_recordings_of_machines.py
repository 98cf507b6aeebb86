"""A recording is played from the machine that has it, through a real HAProxy and PostgreSQL."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bot.server.call_routes import PoolCalls, call_router
from bot.server.inbox_routes import inbox_router
from bot.server.machine_paths import MachinePaths
from bot.server.operator_routes import Disclosures
from bot.workers.agent_check import serve_checks
from bot.workers.listener import bind_socket
from bot.workers.machine_views import MachineViews
from bot.workers.pool import SingleProcess
from calls.entry import Entry
from calls.events import CallRecorded, CallStarted, MessageLeft
from configuration.settings import ServerSettings
from operations.database.database import Database
from operations.inbox.store import Inbox
from operations.record.reader import RecordReader
from operations.record.record_listener import make_record_listener
from operations.telemetry.live import ConsoleSums
from runtime import clock
from tests.kit.databases import fresh
from tests.kit.haproxy import MACHINES, answers, haproxy
from tests.operations.record.test_forgetting import settings_of
from tests.share_servers import Server
from tests.transports.twilio_server import serving

PATHS = ("/api/calls/c1/audio", "/api/inbox/message/c1/audio")


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two machines behind one address; `a` has the recording of the call `c1`."""

    client: httpx.AsyncClient  # of the balancer
    beyond: str  # the URL of `b`
    told: Mapping[str, list[Any]]  # by machine: the events of its routes
    at: Mapping[str, AsyncExitStack]  # each machine, until its stack is closed


async def record(url: str, folder: Path, machine: str) -> None:
    """Write the row of a call that this machine served, with its files."""
    settings = settings_of(url, folder)
    server = settings.server.model_copy(update={"machine": machine})
    async with Database(url) as database:
        listener = make_record_listener(settings.model_copy(update={"server": server}), database)
        told = (
            CallStarted(transport="twilio", agent="desk"),
            CallRecorded(path=str(folder / "c1.wav")),
            MessageLeft(length_s=2.0),
        )
        for number, event in enumerate(told, 1):
            at = clock.utc_now().isoformat()
            await listener.hear(Entry(call_id="c1", number=number, at=at, event=event))
        assert await listener.write()
    (folder / "messages").mkdir(parents=True)
    for path in (folder / "c1.wav", folder / "messages" / "c1.wav"):
        path.write_bytes(b"RIFF")


@asynccontextmanager
async def site(url: str, *, names: Mapping[str, str] | None = None) -> AsyncIterator[Site]:
    ports, checks = dict[str, int](), dict[str, int]()
    told: dict[str, list[Any]] = {name: [] for name in MACHINES}
    at = dict[str, AsyncExitStack]()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(url))
        for name in MACHINES:
            app, machine = FastAPI(), (names or {}).get(name, name)
            app.add_middleware(MachinePaths)
            pool = SingleProcess(why_closed=str, clock=clock.monotonic)
            calls = PoolCalls(
                ConsoleSums(), pool, MachineViews(pool, ServerSettings(machine=machine or None))
            )
            disclosures = Disclosures(told[name].append)
            reader, inbox = RecordReader(database), Inbox(database)
            app.include_router(call_router(calls, reader, disclosures, currency="EUR"))
            app.include_router(inbox_router(inbox, told[name].append, disclosures, machine=machine))
            at[name] = await stack.enter_async_context(AsyncExitStack())
            ports[name] = await at[name].enter_async_context(serving(app))
            listener = bind_socket("127.0.0.1", 0)
            checks[name] = listener.getsockname()[1]
            await at[name].enter_async_context(
                await serve_checks(listener, lambda: b"ready up 100%\n")
            )
        front = stack.enter_context(haproxy(ports, checks))
        await answers(front)
        client = httpx.AsyncClient(base_url=front, timeout=10)
        beyond = f"http://127.0.0.1:{ports['b']}"
        yield Site(beyond=beyond, client=await stack.enter_async_context(client), told=told, at=at)


@pytest.mark.parametrize("path", ["/m/b/api/calls/c1/audio", PATHS[1]])
async def test_a_recording_is_played_from_the_machine_that_has_it(
    postgres: Server, tmp_path: Path, path: str
) -> None:
    url = await fresh(postgres)
    here, elsewhere = tmp_path / "a", tmp_path / "of another machine"
    await record(url, here, "a")
    async with site(url) as it:
        here.rename(elsewhere)  # both run on this computer, but only `a` has the files
        asked = await it.client.get(f"{it.beyond}{path}")
        elsewhere.rename(here)
        there = asked.headers["location"]
        assert (asked.status_code, there) == (307, f"/m/a{path.removeprefix('/m/b')}")
        assert it.told == {"a": [], "b": []}

        heard = await it.client.get(there, headers={"Range": "bytes=0-1"})
        assert (heard.status_code, heard.content) == (206, b"RI")
        assert [len(it.told[name]) for name in MACHINES] == [1, 0]

        here.rename(elsewhere)
        expired = await it.client.get(there)
        assert (expired.status_code, "not recorded" in expired.text) == (404, True)
        await it.at["a"].aclose()
        gone = await it.client.get(there)
        assert (gone.status_code, "Machine a has this" in gone.text) == (503, True)


async def test_each_file_of_a_moved_call_is_played_from_its_machine(
    postgres: Server, tmp_path: Path
) -> None:
    url = await fresh(postgres)
    first, last = tmp_path / "first.wav", tmp_path / "last.wav"
    async with Database(url) as database:
        for machine, path in (("b", first), ("a", last)):
            settings = settings_of(url, tmp_path)
            server = settings.server.model_copy(update={"machine": machine})
            listener = make_record_listener(
                settings.model_copy(update={"server": server}), database
            )
            told = (
                CallStarted(transport="twilio", agent="desk"),
                CallRecorded(path=str(path), machine=machine),
            )
            for number, event in enumerate(told, 1 if machine == "b" else 10):
                at = clock.utc_now().isoformat()
                await listener.hear(Entry(call_id="c1", number=number, at=at, event=event))
            assert await listener.write()
    async with site(url) as it:
        page = (await it.client.get(f"{it.beyond}/api/calls/c1")).json()
        first.write_bytes(b"one")
        heard = await it.client.get(f"{it.beyond}/api/calls/c1/audio?part=0")
        sent = await it.client.get(f"{it.beyond}/api/calls/c1/audio?part=1")
        latest = await it.client.get(f"{it.beyond}/api/calls/c1/audio")
        beyond = await it.client.get(f"{it.beyond}/api/calls/c1/audio?part=2")

    assert (page["recordings"], heard.content, beyond.status_code) == (2, b"one", 404)
    assert sent.headers["location"] == "/m/a/api/calls/c1/audio?part=1"
    assert latest.headers["location"] == "/m/a/api/calls/c1/audio"


async def test_without_a_name_no_machine_is_asked(postgres: Server, tmp_path: Path) -> None:
    url = await fresh(postgres)
    await record(url, tmp_path / "a", "a")
    (tmp_path / "a").rename(tmp_path / "away")
    async with site(url, names={"b": ""}) as it:
        assert [(await it.client.get(f"{it.beyond}{path}")).status_code for path in PATHS] == [
            404,
            404,
        ]
