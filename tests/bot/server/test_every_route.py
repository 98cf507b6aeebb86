"""Every route, asked with requests of schemathesis from our own OpenAPI, and with invalid ones.

A stranger gets no data and never a 500; requests with the credential get no 500 either.
A few examples a route; HOLDLINE_SWEEP says how many.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis import GenerationMode
from starlette.routing import BaseRoute, Route

from bot.server.application import Extras
from bot.server.server import bind_socket, run_server
from configuration.settings import Settings
from tests.kit.stages import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.long]

EXAMPLES: Final = int(os.environ.get("HOLDLINE_SWEEP", "4"))  # of each kind for a route
TOKEN = "a-token-of-the-console-1234"
PUBLIC = {"/healthz", "/readyz", "/sign-in", "/client/style.css", "/client/icon.svg"}
REFUSALS = {400, 401, 403, 404, 405, 411, 413, 415, 422, 429}
CUT = 0  # no answer: the connection was closed over a body that was not read
SECRETS = ("Zq70xTwilioHd5", "Zq71xTelnyxHd5", "Zq72xPlivoHd5", "Zq73xExotelHd5", TOKEN)
INTERNAL = ("Traceback", "cartesia", "ears", "mind", "breaker", "sqlite", "/bot/", "holdline_")
ODD_BODIES: Final = (
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"[" * 5_000, "application/json"),
    (b'{"sdp": 7, "type": [], "pc_id": {"a": null}}', "application/json"),
    (b"null", "application/json"),
    (b"\xff\xfe\x00" * 100, "application/json"),
    (b"a=1&a=2&%zz=%00&CallSid=" + b"x" * 3_000, "application/x-www-form-urlencoded"),
    (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n', "multipart/form-data; boundary=x"),
    (b"\x00", "text/xml; charset=nothing-known"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as a client sends it."""

    method: str
    path: str
    rest: dict[str, Any]


def configuration(folder: Path, port: int) -> Settings:
    transports = {
        "twilio": {"enabled": True, "auth_token": SecretStr(SECRETS[0])},
        "telnyx": {"enabled": True, "api_key": SecretStr(SECRETS[1]),
                   "public_key": SecretStr("wIz3uJ6xDkyRGFh3xZ2v5pWq8fT1mXc0bZ0aZ1yZ2xY=")},
        "plivo": {"enabled": True, "auth_id": SecretStr("MAXXXX"),
                  "auth_token": SecretStr(SECRETS[2])},
        "exotel": {"enabled": True, "api_key": SecretStr("key"),
                   "api_token": SecretStr(SECRETS[3])},
    }  # fmt: skip
    return Settings.model_validate(
        {
            "server": {"port": port, "public_url": f"http://127.0.0.1:{port}", "token": TOKEN},
            "stages": STAGES,
            "transports": transports,
            "logs": {"dir": folder},
            "hold": {"render": False},
            "campaigns": {"ears": {"disclosure": "This is a machine."}},
            "outbound": {"countries": ["US"]},  # without one, no campaign starts
            "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        }
    )


def requests_of(app: FastAPI) -> Iterator[Asked]:
    """Yield requests to every route: from the schema, valid and invalid, and odd bodies."""
    for all_operation in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            yield from examples(all_operation.ok(), mode)
    for route in routes_of(app):
        path = named(route.path)
        for method in sorted(route.methods or {"GET"}):
            yield Asked(method=method, path=path, rest={})
            for body, kind in ODD_BODIES if method not in {"GET", "HEAD"} else ():
                headers = {"content-type": kind}
                yield Asked(method=method, path=path, rest={"content": body, "headers": headers})
        for method in ("TRACE", "DELETE", "PUT", "OPTIONS"):
            yield Asked(method=method, path=path, rest={})


def routes_of(app: FastAPI) -> list[Route]:
    return [base_route for base_route in flat(app.routes) if isinstance(base_route, Route)]


def named(path: str) -> str:
    """Return a route's path with existing names, where the route has any."""
    given = {"{name}": "ears", "{key}": "nobody", "{move}": "start"}
    for place, name in given.items():
        path = path.replace(place, name)
    return path


def flat(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        yield route
        included = getattr(route, "original_router", route)  # FastAPI's way of including a router
        yield from flat(getattr(included, "routes", None) or [])


def examples(operation: Any, mode: GenerationMode) -> Iterator[Asked]:
    found: list[Asked] = []

    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(asked(case))

    with suppress(Unsatisfiable):  # no request is invalid for a route that accepts everything
        collect()
    yield from found


def asked(case: Any) -> Asked:
    sent = case.as_transport_kwargs(base_url="http://x")
    headers = {
        name: value
        for name, value in (sent.get("headers") or {}).items()
        if name.lower() not in {"user-agent", "x-schemathesis-testcaseid"}
    }
    rest: dict[str, Any] = {"headers": headers, "params": sent.get("params")}
    for name in ("json", "files"):
        if sent.get(name) is not None:
            rest[name] = sent[name]
    if (data := sent.get("data")) is not None:
        rest["data" if isinstance(data, dict) else "content"] = data
    return Asked(method=sent["method"], path=sent["url"].removeprefix("http://x"), rest=rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer."""

    asked: Asked
    status: int
    headers: str
    text: str

    @property
    def path(self) -> str:
        return self.asked.path.partition("?")[0]


@asynccontextmanager
async def open_server(folder: Path) -> AsyncIterator[tuple[str, FastAPI]]:
    listener = bind_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with run_server(configuration(folder, port), [listener], extras=Extras()) as server:
        await server.ready.wait()
        app = server.config.app
        assert isinstance(app, FastAPI)
        yield f"http://127.0.0.1:{port}", app


async def ask_all(url: str, requests: Sequence[Asked], token: str | None) -> list[Answered]:
    sign = {"authorization": f"Bearer {token}"} if token else {}
    answers = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for item in requests:
            headers = {**(item.rest.get("headers") or {}), **sign}
            if not token:  # a guessed one would be slowed down, and the routes not reached
                headers = {name: value for name, value in headers.items()
                           if name.lower() != "authorization"}  # fmt: skip
            rest = {name: value for name, value in item.rest.items() if name != "headers"}
            try:
                request = client.build_request(item.method, item.path, headers=headers, **rest)
            except (UnicodeError, httpx.InvalidURL, ValueError):
                continue  # no client can send this
            answers.append(await ask(client, item, request))
    return answers


async def ask(client: httpx.AsyncClient, asked: Asked, request: httpx.Request) -> Answered:
    body = b""
    try:
        answer = await client.send(request, stream=True)
        if "event-stream" not in answer.headers.get("content-type", ""):  # that one never ends
            body = await answer.aread()
        await answer.aclose()
    except httpx.TransportError as cut:
        return Answered(asked=asked, status=CUT, headers="", text=repr(cut))
    text = body.decode(errors="replace")
    return Answered(
        asked=asked, status=answer.status_code, headers=str(answer.headers.raw), text=text
    )


@pytest.fixture(scope="module")
def made() -> list[Asked]:
    """Keep the requests, which take seconds to make, for the second test."""
    return []


async def all_requests(app: FastAPI, made: list[Asked]) -> list[Asked]:
    made.extend([] if made else await asyncio.to_thread(list, requests_of(app)))
    return made


def told(answers: Sequence[Answered]) -> list[tuple[int, str, str, str]]:
    return [
        (answer.status, answer.asked.method, answer.asked.path, answer.text[:200])
        for answer in answers
    ]


async def test_no_unauthenticated_request_gets_data_or_a_500(
    tmp_path: Path, made: list[Asked]
) -> None:
    async with open_server(tmp_path) as (url, app):
        answers = await ask_all(url, await all_requests(app, made), None)

    asked_at = {answer.path for answer in answers}
    for route in routes_of(app):
        path = named(route.path)
        assert path in asked_at
    assert (
        told([answer for answer in answers if answer.status >= 500 and answer.path != "/readyz"])
        == []
    )
    given_away = [
        answer
        for answer in answers
        if answer.path not in PUBLIC and answer.status not in {CUT, *REFUSALS}
    ]
    assert told(given_away) == []
    assert sum(answer.status == CUT for answer in answers) < len(answers) / 10
    shown = [
        answer for answer in answers
        if any(word in answer.text + answer.headers for word in (*SECRETS, *INTERNAL))
    ]  # fmt: skip
    assert told(shown) == []


async def test_no_request_with_the_credential_gets_a_500(tmp_path: Path, made: list[Asked]) -> None:
    async with open_server(tmp_path) as (url, app):
        answers = await ask_all(url, await all_requests(app, made), TOKEN)

    assert (
        told([answer for answer in answers if answer.status >= 500 and answer.path != "/readyz"])
        == []
    )
    served = {answer.path for answer in answers if answer.status == 200}
    assert served >= {"/client/", "/metrics", "/api/providers", "/api/live", "/api/campaigns"}
    assert served >= {f"/api/campaigns/ears/{name}" for name in ("start", "report.html")}
    shown = [
        answer
        for answer in answers
        if any(word in answer.text + answer.headers for word in SECRETS)
    ]
    assert told(shown) == []
