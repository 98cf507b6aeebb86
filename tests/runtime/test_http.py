"""Requests to one remote system use one connection while a process is open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from livekit import api
from pydantic import SecretStr

from calls.handover import Destination
from fallbacks.failure import ServiceError
from providers.batch import BatchRequest, post
from providers.probing import ask_http
from providers.provider import RungSpec
from runtime.http import open_connections, request
from tests.kit.served import served
from transports.exotel.rest import ExotelRest
from transports.livekit.dialling import open_exchange
from transports.livekit.rooms import FAILURES
from transports.plivo.rest import PlivoRest
from transports.telnyx.rest import TelnyxRest
from transports.twilio.rest import TwilioRest

SECRET = SecretStr("secret")


@dataclass
class Remote:
    """A remote system.

    Attributes:
        url: Its address.
        asked: The received request lines.
        connections: Of these requests.
        breaks: How many more requests end with their connection, unanswered.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    breaks: int = 0
    kept: list[object] = field(default_factory=list)  # so that no `id` is used again

    async def answer(self, asked: web.Request) -> web.StreamResponse:
        assert asked.transport is not None
        self.asked.append(f"{asked.method} {asked.path}")
        self.kept.append(asked.transport)
        self.connections.add(id(asked.transport))
        if self.breaks:
            self.breaks -= 1
            asked.transport.abort()
        headers = {"Set-Cookie": "who=you"}
        await asked.read()
        assert "Cookie" not in asked.headers
        if asked.method == "DELETE":
            return web.Response(status=204, headers=headers)
        return web.json_response({"id": 1}, headers=headers)


@asynccontextmanager
async def remote() -> AsyncIterator[Remote]:
    it, app = Remote(), web.Application()
    app.router.add_route("*", "/{path:.*}", it.answer)
    async with served(app) as it.url:
        yield it


def twilio(url: str) -> list[Callable[[], Awaitable[object]]]:
    rest = TwilioRest(account_sid="AC1", auth_token=SECRET, api_url=url)
    return [
        lambda: rest.complete("CA1"),
        lambda: rest.ring("CA1", Destination(name="a", number="+1"), ring_s=20),
        lambda: rest.ask("POST", "Calls", (("To", "+1"),)),
    ]


def telnyx(url: str) -> list[Callable[[], Awaitable[object]]]:
    rest = TelnyxRest(api_key=SECRET, api_url=url)
    return [
        lambda: rest.complete("v3:1"),
        lambda: rest.press("v3:1", "1"),
        lambda: rest.ask("POST", "calls", fields={"to": "+1"}),
    ]


def plivo(url: str) -> list[Callable[[], Awaitable[object]]]:
    rest = PlivoRest(auth_id=SECRET, auth_token=SECRET, api_url=url)
    return [
        lambda: rest.complete("1"),
        lambda: rest.redirect("1", "http://a"),
        lambda: rest.ask("POST", "Call/", {"to": "+1"}),
    ]


def exotel(url: str) -> list[Callable[[], Awaitable[object]]]:
    rest = ExotelRest(account_sid=SECRET, api_key=SECRET, api_token=SECRET, api_url=url)
    return [
        lambda: rest.ask("POST", "Calls/connect.json", (("From", "+1"),)),
        lambda: rest.ask("GET", "Calls/1.json"),
    ]


CARRIERS = {"twilio": twilio, "telnyx": telnyx, "plivo": plivo, "exotel": exotel}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_carrier_gets_requests_over_one_connection_while_the_process_is_open(
    carrier: str,
) -> None:
    async with remote() as it, open_connections():
        asks = CARRIERS[carrier](it.url)
        for ask in asks * 2:
            await ask()
            await asyncio.sleep(0.01)

        assert (len(it.asked), len(it.connections)) == (2 * len(asks), 1)


async def test_probes_and_batch_requests_use_the_warm_connections() -> None:
    async with remote() as it, open_connections():
        rung = RungSpec(name="a", stage="tts", kind="cartesia", url=it.url, sample_rate_hz=8000)
        for _ in range(2):
            await ask_http(it.url, headers={}, timeout_s=5.0)
            await asyncio.sleep(0.01)
            await post(BatchRequest(url=it.url, headers={}, body=b"{}", within_s=5.0), rung)
            await asyncio.sleep(0.01)

        assert (len(it.asked), len(it.connections)) == (4, 1)


async def test_the_library_of_livekit_uses_the_warm_connections() -> None:
    async with remote() as it, open_connections():
        for _ in range(2):
            async with open_exchange(it.url, "key", SecretStr("s" * 32)) as lk:
                with suppress(*FAILURES):
                    await lk.room.list_rooms(api.ListRoomsRequest())
            await asyncio.sleep(0.01)

        assert (len(it.asked), len(it.connections)) == (2, 1)


async def test_without_an_open_process_each_request_has_a_connection_of_its_own() -> None:
    async with remote() as it:
        for ask in twilio(it.url):
            await ask()

        assert len(it.connections) == len(it.asked)


async def test_each_remote_system_has_connections_of_its_own() -> None:
    async with remote() as it, remote() as other, open_connections():
        for _ in range(3):
            for peer in (it, other):
                async with request("GET", peer.url) as answer:
                    await answer.read()

        assert (len(it.connections), len(other.connections)) == (1, 1)


@pytest.mark.parametrize(
    ("carrier", "ask"), [("twilio", 0), ("telnyx", 0), ("telnyx", 1), ("plivo", 0)]
)
async def test_a_hang_up_succeeds_although_its_connection_closes_just_then(
    carrier: str, ask: int
) -> None:
    async with remote() as it, open_connections():
        asked = CARRIERS[carrier](it.url)[ask]
        await asked()
        it.breaks = 1

        assert await asked() in (None, True)
        assert len(it.asked) == 3


@pytest.mark.parametrize(("carrier", "ask"), [("twilio", 1), ("twilio", 2), ("plivo", 1)])
async def test_a_request_that_may_call_a_person_is_not_repeated(carrier: str, ask: int) -> None:
    async with remote() as it, open_connections():
        asked = CARRIERS[carrier](it.url)
        await asked[0]()
        it.breaks = 1
        with suppress(ServiceError):
            await asked[ask]()

        assert len(it.asked) == 2


async def test_connections_are_closed_with_the_process() -> None:
    async with remote() as it:
        async with open_connections(), request("GET", it.url) as answer:
            await answer.read()
        async with request("GET", it.url) as again:
            await again.read()

        assert len(it.connections) == 2


async def test_a_host_that_refuses_is_reported_as_before() -> None:
    async with open_connections():
        with pytest.raises(aiohttp.ClientConnectorError):
            async with request("GET", "http://127.0.0.1:9"):
                pass
