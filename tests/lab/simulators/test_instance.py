"""The core of every simulated provider, seen by an ordinary HTTP client."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.schedule import Window, parse_windows
from tests.kit.certificate import write_certificate

pytestmark = pytest.mark.virtual_time


class Plain(Instance):
    kind = "plain"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/say", self._say), web.get("/socket", self._socket)]

    async def _say(self, request: web.Request) -> web.Response:
        admission = await self.admit(request)
        fault = admission.fault_now()
        return web.Response(text=fault.name if fault else "well")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        admission = await self.admit(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            fault = admission.fault_now()
            await socket.send_str(fault.name if fault else "well")
        return socket


class Client:
    """A client that returns one word for each answer."""

    def __init__(self, instance: Instance, session: aiohttp.ClientSession) -> None:
        self.instance = instance
        self.session = session

    async def ask(self, *, timeout_s: float = 5.0) -> str:
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self.session.get(f"{self.instance.url}/say", timeout=limit) as response:
                return await response.text() if response.status == 200 else str(response.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return type(error).__name__

    def fault(self, **mapping: Any) -> None:
        self.instance.set_faults(parse_windows([mapping]))


@asynccontextmanager
async def connected(**core: Any) -> AsyncIterator[Client]:
    instance = Plain("plain", core=Core(**core))
    await instance.start()
    headers = {"Authorization": f"Bearer {instance.api_key}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as session:
            yield Client(instance, session)
    finally:
        await instance.stop()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with connected() as client:
        yield client


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"fault": "refuse"}, "ClientConnectorError"),
        ({"fault": "reset"}, "ClientOSError"),
        ({"fault": "http", "status": 503}, "503"),
        ({"fault": "quota"}, "402"),
        ({"fault": "not_tls"}, "ClientResponseError"),
        ({"fault": "silent", "where": "handshake"}, "TimeoutError"),
        ({"fault": "stall"}, "stall"),
    ],
)
async def test_a_fault_starts_and_ends_at_once(
    client: Client, fault: dict[str, Any], seen: str
) -> None:
    before = await client.ask()
    client.fault(**fault)
    during = await client.ask(timeout_s=0.15 if seen == "TimeoutError" else 5.0)
    client.instance.clear()
    after = await client.ask()

    assert [before, during, after] == ["well", seen, "well"]


async def test_a_wrong_key_is_answered_and_recorded(client: Client) -> None:
    wrong = {"Authorization": "Bearer nonsense"}
    async with client.session.get(f"{client.instance.url}/say", headers=wrong) as response:
        status = response.status

    assert status == 401
    assert [entry.ok_auth for entry in client.instance.record.requests("plain")] == [False]


async def test_every_request_is_recorded_with_its_outcome_and_fault(client: Client) -> None:
    await client.ask()
    client.fault(fault="http", status=429, retry_after_s=2.5)
    await client.ask()
    client.fault(fault="reset")
    await client.ask()

    seen = [
        (entry.number, entry.path, entry.outcome, entry.fault)
        for entry in client.instance.record.requests("plain")
    ]
    assert seen == [
        (1, "/say", "done", None),
        (2, "/say", "429", "http"),
        (3, "/say", "reset", "reset"),
    ]


async def test_retry_after_is_sent_only_if_configured(client: Client) -> None:
    client.fault(fault="http", status=429, retry_after_s=2.5)
    async with client.session.get(f"{client.instance.url}/say") as response:
        with_it = response.headers.get("retry-after")
    client.fault(fault="http", status=429)
    async with client.session.get(f"{client.instance.url}/say") as response:
        without_it = response.headers.get("retry-after")

    assert (with_it, without_it) == ("2.5", None)


async def test_a_fault_for_two_requests_hits_two(client: Client) -> None:
    client.fault(fault="http", status=500, requests=2)

    assert [await client.ask() for _ in range(4)] == ["500", "500", "well", "well"]


@pytest.mark.parametrize(
    ("path", "seen"), [("/say", "ClientOSError"), ("/socket", "well")], ids=["hit", "missed"]
)
async def test_a_fault_for_some_paths_leaves_the_port_open_for_others(
    client: Client, path: str, seen: str
) -> None:
    client.fault(fault="reset", path=path)

    assert [await client.ask() for _ in range(2)] == [seen] * 2


async def test_the_same_seed_hits_the_same_requests() -> None:
    async def run() -> list[str]:
        async with connected(seed=7) as client:
            client.fault(fault="http", status=500, p=0.5)
            return [await client.ask() for _ in range(20)]

    first, second = await run(), await run()

    assert first == second
    assert set(first) == {"500", "well"}


async def test_a_fault_expires_and_comes_by_the_clock() -> None:
    now = [100.0]
    async with connected(clock=lambda: now[0]) as client:
        client.fault(fault="http", status=503, from_s=10, until_s=20)
        seen: list[str] = []
        for moment in (105.0, 110.0, 119.0, 120.0):
            now[0] = moment
            seen.append(await client.ask())

    assert seen == ["well", "503", "503", "well"]


async def test_refusing_begins_by_the_clock_without_a_request() -> None:
    now = [0.0]
    async with connected(clock=lambda: now[0]) as client:
        client.fault(fault="refuse", from_s=5)
        before = await client.ask()
        now[0] = 6.0
        await asyncio.sleep(0.1)
        during = await client.ask()

    assert [before, during] == ["well", "ClientConnectorError"]


@pytest.mark.parametrize("fault", ["refuse", "reset"])
async def test_a_dead_server_takes_its_open_sockets_with_it(client: Client, fault: str) -> None:
    async with client.session.ws_connect(f"{client.instance.url}/socket") as socket:
        await socket.send_str("?")
        before = (await socket.receive()).data
        client.fault(fault=fault)
        after = await socket.receive(timeout=0.5)

    assert before == "well"
    assert after.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_a_live_fault_acts_on_a_stream_in_progress(client: Client) -> None:
    async with client.session.ws_connect(f"{client.instance.url}/socket") as socket:
        seen: list[str] = []
        for window in ((), (Window(fault=faults.Stall()),), ()):
            client.instance.set_faults(window)
            await socket.send_str("?")
            seen.append((await socket.receive()).data)

    assert seen == ["well", "stall", "well"]


async def test_stopping_ends_sockets_and_hanging_requests_at_once(client: Client) -> None:
    client.fault(fault="silent", where="handshake")
    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(client.ask(timeout_s=5))
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await client.instance.stop()
        took_s = time.perf_counter() - began

    assert took_s < 0.5
    assert hanging.result() != "TimeoutError"


async def test_with_a_certificate_it_serves_tls_and_every_fault_still_works(
    tmp_path: Path,
) -> None:
    both = write_certificate(tmp_path)
    server, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=both)
    server.load_cert_chain(both)
    async with connected(tls=server) as client:
        client.session.connector._ssl = trust  # type: ignore[union-attr]
        seen = [await client.ask(timeout_s=1)]
        for fault in ("reset", "refuse", "stall"):
            client.fault(fault=fault)
            seen.append(await client.ask(timeout_s=1))

    assert client.instance.url.startswith("https://")
    assert seen == ["well", "ClientOSError", "ClientConnectorError", "stall"]
