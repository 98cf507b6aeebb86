"""Every credential at every kind of route: roles, sessions, limits, and who is logged."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from loguru import logger
from pydantic import SecretStr
from starlette.types import Message

from bot.server.access import CHECK_SESSION_EVERY_S, COOKIE, Access, SignIn
from bot.server.application import _bare_application
from bot.server.credentials import FREE_ATTEMPTS, SESSION_S, ConsoleCredentials, Role
from bot.server.operator_routes import (
    OperatorWord,
    describe_operator,
    reload_router,
)
from bot.workers.machine_views import MachineViews
from bot.workers.pool import KeyValueStore, SingleProcess
from bot.workers.pool_client import PoolClient
from bot.workers.saved_values import SavedValues
from calls.events import Event, InputRefused
from configuration.settings import ServerSettings
from runtime import clock
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from transports.pool import CallPool, KeepOutcome

ACT = "a-token-of-the-console"
SEE = "a-token-of-the-wall-board"
URL = "http://127.0.0.1:8080"
FORMER = hmac.new(ACT.encode(), b"holdline console", hashlib.sha256).hexdigest()
"""The cookie of former versions: the same for everybody, for ever."""


@dataclass
class Site:
    """A guarded application that serves every path."""

    app: FastAPI
    credentials: ConsoleCredentials
    client: httpx.AsyncClient
    told: list[Event] = field(default_factory=list[Event])

    async def cookie(self, token: str, **form: str) -> dict[str, str]:
        """Sign in; return the header with the session's cookie."""
        answer = await self.client.post("/sign-in", data={"token": token, **form})
        self.client.cookies.clear()
        value = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        return {"Cookie": f"{COOKIE}={value}"}

    async def socket(self, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a websocket is accepted."""
        sent: list[Message] = []
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "ws", "headers": [(b"host", b"127.0.0.1:8080"), *raw],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080), "subprotocols": [],
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["type"] == "websocket.accept"


@asynccontextmanager
async def guarding(
    pool: CallPool | None = None,
    *,
    token: str = ACT,
    view: str = SEE,
    public_url: str = URL,
    now: Any = clock.monotonic,
    address: str = "127.0.0.1",
) -> AsyncIterator[Site]:
    told: list[Event] = []
    pool = pool or SingleProcess(why_closed=lambda: "", clock=now)
    view_token = SecretStr(view) if view else None
    credentials = ConsoleCredentials(
        SecretStr(token), view_token, pool=pool, emit=told.append, clock=now
    )
    access = Access(credentials, public_url=public_url)
    app = _bare_application(access, one_request=False)
    app.include_router(SignIn(access).routes())

    @app.websocket("/api/{path:path}")
    async def accept(websocket: WebSocket) -> None:
        await websocket.accept()

    @app.get("/api/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(_beats(), media_type="text/event-stream")

    @app.api_route("/{path:path}", methods=["GET", "POST", "PATCH"])
    async def serve(request: Request) -> str:
        return describe_operator(request, OperatorWord())

    transport = httpx.ASGITransport(app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield Site(app, credentials, client, told)


async def _beats() -> AsyncIterator[str]:
    while True:
        yield "data: beat\n\n"
        await asyncio.sleep(1.0)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    told: list[str] = []
    sink = logger.add(told.append, format="{message}")
    yield told
    logger.remove(sink)


ROUTES: Final = (
    *(("GET", "/"), ("GET", "/client/"), ("GET", "/client/console.js"), ("GET", "/calls/c1")),
    *(("GET", "/api/calls"), ("GET", "/api/calls/c1/audio"), ("GET", "/api/live")),
    *(("GET", "/metrics"), ("POST", "/api/providers/mind/reset"), ("POST", "/api/dials")),
    *(("POST", "/api/offer"), ("PATCH", "/api/offer"), ("GET", "/api/offer")),
    ("WS", "/api/anything"),
)
ACTS: Final = {"POST", "PATCH", "WS"}
NEITHER, SEES, BOTH = (401, 401), (200, 403), (200, 200)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _ended(site: Site) -> dict[str, str]:
    shown = await site.cookie(ACT)
    await site.client.post("/sign-out", headers=shown)
    return shown


async def _revoked(site: Site) -> dict[str, str]:
    shown = await site.cookie(SEE)
    everybody = {"who": "everybody"}
    await site.client.post("/sign-out", headers=await site.cookie(ACT), data=everybody)
    return shown


async def _of_another_token(site: Site) -> dict[str, str]:
    shown = await site.cookie(ACT)
    site.credentials._tokens[Role.ACT] = "a-new-token-of-the-console"
    return shown


async def _kept(site: Site) -> dict[str, str]:
    """Return the session of a viewer whose wish to sign everybody out is not granted."""
    shown = await site.cookie(ACT)
    await site.client.post("/sign-out", headers=await site.cookie(SEE), data={"who": "everybody"})
    return shown


SHOWN: Final[dict[str, tuple[Any, tuple[int, int]]]] = {
    "nothing": (lambda _: {}, NEITHER),
    "a wrong bearer": (lambda _: _bearer("another"), NEITHER),
    "a name and password": (lambda _: {"Authorization": "Basic YTpi"}, NEITHER),
    "the token": (lambda _: _bearer(ACT), BOTH),
    "the token to see": (lambda _: _bearer(SEE), SEES),
    "a guessed cookie": (lambda _: {"Cookie": f"{COOKIE}={'x' * 43}"}, NEITHER),
    "the former cookie": (lambda _: {"Cookie": f"{COOKIE}={FORMER}"}, NEITHER),
    "the token as a cookie": (lambda _: {"Cookie": f"{COOKIE}={ACT}"}, NEITHER),
    "a session": (lambda site: site.cookie(ACT), BOTH),
    "a session to see": (lambda site: site.cookie(SEE), SEES),
    "a session beside a wrong bearer": (
        lambda _: {"Cookie": f"{COOKIE}={'x' * 43}", **_bearer("another")},
        NEITHER,
    ),
    "a session after its sign-out": (_ended, NEITHER),
    "a session after everybody's sign-out": (_revoked, NEITHER),
    "a session after a viewer's wish": (_kept, BOTH),
    "a session of another token": (_of_another_token, NEITHER),
}


@pytest.mark.parametrize(("show", "allowed"), SHOWN.values(), ids=SHOWN.keys())
async def test_each_credential_opens_what_its_role_may(show: Any, allowed: tuple[int, int]) -> None:
    async with guarding() as site:
        shown = show(site)
        headers = await shown if asyncio.iscoroutine(shown) else shown
        for method, path in ROUTES:
            if method == "WS":
                assert await site.socket(path, headers) == (allowed == BOTH)
                continue
            answer = await site.client.request(method, path, headers=headers)

            assert answer.status_code == allowed[method in ACTS or path == "/api/offer"], path
            assert answer.headers["cache-control"] == "no-store"


async def test_a_host_header_does_not_change_the_guarded_path() -> None:
    async with guarding() as site:
        for host in ("x/healthz?", "x/client/style.css?", "x/healthz#", "/healthz"):
            for path in ("/", "/api/calls"):
                answer = await site.client.get(path, headers={"Host": host})
                assert answer.status_code == 401, host


WAYS: Final = {
    "bearer tokens": lambda guess: ("GET", "/api/calls", {"headers": _bearer(guess)}),
    "bearer tokens at the metrics": lambda guess: ("GET", "/metrics", {"headers": _bearer(guess)}),
    "cookies": lambda guess: (
        "GET", "/api/calls", {"headers": {"Cookie": f"{COOKIE}={guess:x>43}"}},
    ),
    "cookies at a page": lambda guess: (
        "GET", "/", {"headers": {"Cookie": f"{COOKIE}={guess:x>43}"}},
    ),
    "former cookies": lambda guess: (
        "GET", "/api/calls", {"headers": {"Cookie": f"{COOKIE}={guess:0>64}"}},
    ),
    "the form": lambda guess: ("POST", "/sign-in", {"data": {"token": guess}}),
}  # fmt: skip


@pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())
async def test_guesses_of_each_kind_are_counted_limited_and_logged(
    ask: Any, logged: list[str]
) -> None:
    async with guarding(address="203.0.113.9") as site:
        statuses = []
        for number in range(FREE_ATTEMPTS + 3):
            method, path, rest = ask(f"guess{number}")
            statuses.append((await site.client.request(method, path, **rest)).status_code)

    assert statuses == [401] * (FREE_ATTEMPTS + 1) + [429] * 2
    lines_of = [line for line in logged if "203.0.113.9" in line and "wrong" in line]
    assert len(lines_of) == FREE_ATTEMPTS + 1
    assert not any("guess" in line for line in lines_of)
    assert (
        len([event for event in site.told if isinstance(event, InputRefused)]) == FREE_ATTEMPTS + 3
    )


async def test_guesses_through_websockets_and_routes_count_together() -> None:
    async with guarding() as site:
        for number in range(FREE_ATTEMPTS + 1):
            assert not await site.socket("/api/x", _bearer(f"guess{number}"))
        answer = await site.client.get("/api/calls", headers={"Cookie": f"{COOKIE}={'y' * 43}"})

    assert answer.status_code == 429


async def test_a_forgotten_tab_or_scraper_does_not_slow_its_address_down() -> None:
    async with guarding() as site:
        stale = [{"Cookie": f"{COOKIE}={'y' * 43}"}, _bearer("the token of last year")]
        for headers in stale:
            answers = [await site.client.get("/api/live", headers=headers) for _ in range(20)]
            assert {answer.status_code for answer in answers} == {401}
        person = await site.client.post("/sign-in", data={"token": "mistyped"})

    assert person.status_code == 401


async def test_a_session_ends_after_its_time() -> None:
    at_s = [0.0]
    async with guarding(now=lambda: at_s[0]) as site:
        shown = await site.cookie(ACT)
        at_s[0] = SESSION_S - 1
        before = await site.client.get("/api/calls", headers=shown)
        at_s[0] = SESSION_S + 1
        after = await site.client.get("/", headers=shown)

    assert (before.status_code, after.status_code) == (200, 401)
    assert "Your session has ended" in after.text


async def test_each_sign_in_has_a_cookie_of_its_own() -> None:
    async with guarding() as site:
        first, second = await site.cookie(ACT), await site.cookie(ACT)
        await site.client.post("/sign-out", headers=first)
        answers = [await site.client.get("/api/calls", headers=shown) for shown in (first, second)]

    assert first != second
    assert [answer.status_code for answer in answers] == [401, 200]


@pytest.mark.parametrize(
    ("url", "secure"), [("https://phone.example.com", True), ("http://127.0.0.1:8080", False)]
)
async def test_the_cookie_is_secure_if_the_public_address_is(url: str, secure: bool) -> None:  # noqa: FBT001
    async with guarding(public_url=url) as site:
        answer = await site.client.post("/sign-in", data={"token": ACT})

    cookie = answer.headers["set-cookie"]
    assert ("Secure" in cookie) == secure
    assert "HttpOnly" in cookie


NEXT: Final = {
    "/calls/c1?from=x": "/calls/c1?from=x",
    "/client/": "/client/",
    "/?calls=1": "/?calls=1",
    "/calls?verdict=hurt&number=0007": "/calls?verdict=hurt&number=0007",
    "/inbox": "/inbox",
    "/do-not-call": "/do-not-call",
    "/api/campaigns/spring/report.html": "/api/campaigns/spring/report.html",
    "https://evil.example/": "/",
    "//evil.example": "/",
    "/\\evil.example": "/",
    "/sign-in": "/",
    "javascript:alert(1)": "/",
    "/calls/\r\nSet-Cookie: a=b": "/",
    "/calls/" + "x" * 400: "/",
}


async def test_a_sign_in_returns_to_the_wanted_page_of_ours() -> None:
    async with guarding() as site:
        for wanted, to in NEXT.items():
            answer = await site.client.post("/sign-in", data={"token": ACT, "next": wanted})
            assert (answer.status_code, answer.headers["location"]) == (303, to), wanted


async def test_the_sign_in_page_keeps_the_wanted_page_and_says_what_is_wrong() -> None:
    async with guarding() as site:
        first = await site.client.get('/calls/c1?q="<b>')
        form = {"token": "x", "next": "/calls/c1", "name": "<b>Ada"}
        wrong = await site.client.post("/sign-in", data=form)
        for number in range(FREE_ATTEMPTS):
            late = await site.client.post("/sign-in", data={"token": f"y{number}"})
        late = await site.client.post("/sign-in", data={"token": "y"})

    assert 'value="/calls/c1?q=%22%3Cb%3E"' in first.text
    assert 'role="alert"' not in first.text
    assert "This token is wrong." in wrong.text
    assert 'value="/calls/c1"' in wrong.text
    assert 'value="&lt;b&gt;Ada"' in wrong.text
    assert "Try again in 1 s" in late.text
    assert late.headers["retry-after"] == "1"


async def test_a_second_sign_out_shows_the_sign_in_page() -> None:
    async with guarding() as site:
        shown = await site.cookie(ACT)
        first = await site.client.post("/sign-out", headers=shown)
        second = await site.client.post("/sign-out", headers=shown)

    assert (first.status_code, first.headers["location"]) == (303, "/sign-in")
    assert second.status_code == 401
    assert "Your session has ended" in second.text


class AwayStore(KeyValueStore):
    """A store that other machines share, and that is away."""

    async def drop(self, token: str) -> None:
        await super().drop(token)
        raise LookupError(token)


class NoStore(KeyValueStore):
    """A store whose process does not answer."""

    async def keep(self, *_: object, **__: object) -> KeepOutcome:
        return KeepOutcome.UNKNOWN


async def test_a_sign_in_without_the_store_is_told_and_gives_no_cookie() -> None:
    pool = SingleProcess(why_closed=str, clock=clock.monotonic)
    pool.key_values = NoStore(clock=clock.monotonic)
    async with guarding(pool) as site:
        answer = await site.client.post("/sign-in", data={"token": ACT, "name": "Ada"})

    assert answer.status_code == 503
    assert "The supervisor does not answer" in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_sign_out_that_other_machines_do_not_learn_of_is_told() -> None:
    pool = SingleProcess(why_closed=str, clock=clock.monotonic)
    pool.key_values = AwayStore(clock=clock.monotonic)
    async with guarding(pool) as site:
        shown = await site.cookie(ACT)
        answer = await site.client.post("/sign-out", headers=shown)
        after = await site.client.get("/api/calls", headers=shown)

    assert answer.status_code == 503
    assert "open elsewhere" in answer.text
    assert answer.headers["set-cookie"].startswith(f'{COOKIE}="";')
    assert after.status_code == 401


async def test_the_session_page_says_who_is_signed_in_and_what_they_may() -> None:
    async with guarding() as site:
        ada = await site.client.get("/sign-out", headers=await site.cookie(ACT, name="<Ada>"))
        board = await site.client.get("/sign-out", headers=await site.cookie(SEE))

    assert "as &lt;Ada&gt;, and may read and change everything" in ada.text
    assert 'value="everybody"' in ada.text
    assert "may only read" in board.text
    assert 'value="everybody"' not in board.text


async def test_an_action_is_reported_with_the_session_and_its_name() -> None:
    async with guarding() as site:
        ada = await site.client.get("/api/x", headers=await site.cookie(ACT, name="Ada"))
        program = await site.client.get("/api/x", headers=_bearer(SEE))

    assert ada.json().startswith("Ada (session ")
    assert ada.json().endswith(" from 127.0.0.1)")
    assert program.json() == "an operator (bearer token from 127.0.0.1)"


@dataclass
class SupervisorWire:
    """Answers a reload as the supervisor does."""

    by: list[str] = field(default_factory=list[str])

    async def ask(self, what: str, *, within_s: float, by: str) -> dict[str, Any]:
        self.by.append(by)
        return {"problems": [], "changed": [], "configuration": ""}


@pytest.mark.parametrize(
    ("given", "signed_in", "recorded"),
    [("Mallory", "Ada", "Ada (session "), ("", "Ada", "Ada (session "),
     ("deploy", "", "deploy (bearer token from "), ("", "", "an operator (bearer token from ")],
)  # fmt: skip
async def test_a_reload_is_recorded_under_the_name_of_the_sign_in(
    given: str, signed_in: str, recorded: str
) -> None:
    wire = SupervisorWire()
    machines = MachineViews(SingleProcess(why_closed=str, clock=lambda: 0.0), ServerSettings())
    routes = reload_router(cast(PoolClient, SimpleNamespace(wire=wire)), machines).routes
    async with guarding() as site:
        site.app.router.routes[:0] = routes
        headers = await site.cookie(ACT, name=signed_in) if signed_in else _bearer(ACT)
        answer = await site.client.post("/api/reload", headers=headers, json={"by": given})

    assert (answer.status_code, len(wire.by)) == (202, 1)
    assert wire.by[0].startswith(recorded)


async def test_workers_share_sessions_and_count_guesses_together() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        async with guarding(it.joined[0]) as one, guarding(it.joined[1]) as two:
            shown = await one.cookie(ACT)
            elsewhere = await two.client.get("/api/calls", headers=shown)
            async with guarding(it.joined[1]) as restarted:  # it knows nothing of before
                later = await restarted.client.get("/api/calls", headers=shown)
                await restarted.client.post("/sign-out", headers=shown)
                ended = await one.client.get("/api/calls", headers=shown)
                for number in range(FREE_ATTEMPTS - 1):  # the ended session was the first
                    await one.client.get("/api/calls", headers=_bearer(f"guess{number}"))
                guesses = [
                    await site.client.get("/api/calls", headers=_bearer("another"))
                    for site in (one, restarted)
                ]

    assert [answer.status_code for answer in (elsewhere, later, ended)] == [200, 200, 401]
    assert [answer.status_code for answer in guesses] == [401, 429]


async def test_a_sign_in_and_a_sign_out_outlive_the_supervisor(tmp_path: Path) -> None:
    saved = SavedValues(kind="session", path=tmp_path / "sessions.json", utc_s=clock.utc_s)
    statuses, cookies, shown = list[list[int]](), list[dict[str, str]](), list[str]()
    for _ in range(3):
        async with lines(settings_with(), saved=saved) as it:
            await it.open()
            async with guarding(it.joined[0]) as site:
                if not cookies:
                    cookies = [await site.cookie(ACT, name="Ada"), await site.cookie(SEE)]
                pages = [await site.client.get("/api/calls", headers=item) for item in cookies]
                statuses.append([page.status_code for page in pages])
                await site.client.post("/sign-out", headers=cookies[1])
                shown.append((await site.client.get("/api/x", headers=cookies[0])).json())

    assert statuses == [[200, 200], [200, 401], [200, 401]]
    assert all(name.startswith("Ada (session ") for name in shown)
    assert cookies[0]["Cookie"].partition("=")[2] not in saved.path.read_text(encoding="utf-8")


async def test_a_session_that_outlived_the_supervisor_ends_with_its_token(tmp_path: Path) -> None:
    saved = SavedValues(kind="session", path=tmp_path / "sessions.json", utc_s=clock.utc_s)
    async with lines(settings_with(), saved=saved) as it:
        await it.open()
        async with guarding(it.joined[0]) as site:
            shown = await site.cookie(ACT)
    async with lines(settings_with(), saved=saved) as it:
        await it.open()
        async with guarding(it.joined[0], token="another-token-of-ours") as site:
            answer = await site.client.get("/api/calls", headers=shown)

    assert answer.status_code == 401


@pytest.mark.virtual_time
async def test_an_open_stream_ends_with_its_session() -> None:
    async with guarding() as site:
        shown = await site.cookie(ACT)
        reading = asyncio.create_task(site.client.get("/api/stream", headers=shown))
        await asyncio.sleep(3 * CHECK_SESSION_EVERY_S)
        assert not reading.done()
        await site.client.post("/sign-out", headers=shown)
        await asyncio.sleep(CHECK_SESSION_EVERY_S + 1.0)

        assert reading.done()
        assert reading.result().text.count("beat") <= 4 * CHECK_SESSION_EVERY_S + 2


async def test_only_the_hash_of_a_cookie_is_stored() -> None:
    pool = SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
    async with guarding(pool) as site:
        shown = await site.cookie(ACT)

    assert isinstance(pool.key_values, KeyValueStore)
    assert shown["Cookie"].partition("=")[2] not in repr(pool.key_values._kept)
    assert ACT not in repr(pool.key_values._kept)
