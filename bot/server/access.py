"""Access control: one token, given as a bearer header or as the console's sign-in cookie."""

import hashlib
import hmac
import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import SecretStr
from starlette.datastructures import Headers

from bot import clock
from bot.clock import Clock
from bot.config.checks import is_short
from bot.server.pages.site import HEADERS

FREE: Final = 5  # wrong tokens of one address without a wait: people mistype
FIRST_WAIT_S: Final = 1.0  # doubles with each further wrong token
MAX_WAIT_S: Final = 60.0
ALL_TOGETHER: Final = 60  # wrong tokens from all addresses in `WINDOW_S`
WINDOW_S: Final = 60.0
FORGET_S: Final = 3600.0
MAX_ADDRESSES: Final = 1_000  # the least recently used one is dropped first
KNOWN_ADDRESSES: Final = 64  # that have shown the token; they do not wait for strangers


@dataclass(slots=True)
class Attempts:
    """Wrong and right tokens by address. `now` is in monotonic seconds."""

    _wrong: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=ALL_TOGETHER))

    def wait_s(self, address: str, now: float) -> float:
        """Return how long a token of this address must still wait; 0 if it is checked now."""
        place = _network(address)
        wrong, at = self._wrong.get(place, (0, now))
        own_s = 0.0
        if wrong > FREE:
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong - FREE - 1, 10))
            own_s = at + wait_s - now
        return max(0.0, own_s, 0.0 if place in self._known else self._crowd_s(now))

    def note_wrong(self, address: str, now: float) -> None:
        """Count a wrong token."""
        place = _network(address)
        wrong, at = self._wrong.pop(place, (0, now))
        self._wrong[place] = (wrong + 1 if now - at < FORGET_S else 1, now)
        self._latest.append(now)
        while len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)

    def note_right(self, address: str, now: float) -> None:
        """Remember an address that has shown the token, unless it waits: a guesser may share it."""
        if self.wait_s(address, now):
            return
        place = _network(address)
        self._wrong.pop(place, None)
        self._known.pop(place, None)
        self._known[place] = None
        while len(self._known) > KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    def _crowd_s(self, now: float) -> float:
        full = len(self._latest) == ALL_TOGETHER
        return self._latest[0] + WINDOW_S - now if full else 0.0


def _network(address: str) -> str:
    """Return what one stranger owns: an IPv4 address, or a /64 network of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else address


def given_cookie(request: Request, name: str) -> str:
    """Return the value of the last cookie of that name; empty if there is none.

    Our cookie is plain hexadecimal. `request.cookies` unquotes each cookie with `http.cookies`,
    which takes quadratic time in some versions of Python (CVE-2024-7592): half a second for a
    header.
    """
    pieces = (piece.partition("=") for piece in _pieces(request))
    return next((held.strip() for key, _, held in pieces if key.strip() == name), "")


def _pieces(request: Request) -> list[str]:
    return ";".join(request.headers.getlist("cookie")).split(";")[::-1]


SAFE: Final = ("GET", "HEAD", "OPTIONS")
OWN_SITE: Final = ("same-origin", "none")  # `Sec-Fetch-Site` of our pages and of a person


def names_loopback(host: str) -> bool:
    """Return whether a `Host` is a loopback name or address, with any port.

    A page of another site can point a name of its own at 127.0.0.1 and then read our answers (DNS
    rebinding). It cannot make the browser send `localhost` or an IP address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_from_elsewhere(request: Request, public_url: str) -> bool:
    """Return whether a page of another site tries to change something.

    Programs send neither `Origin` nor `Sec-Fetch-Site`, and are allowed.
    """
    if request.method in SAFE:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITE
    origin = request.headers.get("origin")
    return origin is not None and not _is_own(origin, request, public_url)


def _is_own(origin: str, request: Request, public_url: str) -> bool:
    scheme, _, place = origin.partition("://")
    public = urlsplit(public_url)
    own = scheme in ("http", "https") and place == request.headers.get("host")
    return own or origin == f"{public.scheme}://{public.netloc}"  # a proxy may change the host


CLIENTS: Final = ("x-forwarded-for", "x-real-ip")
HOSTS: Final = ("x-forwarded-host",)
FORWARDED: Final = "forwarded"  # RFC 7239
SIGNS: Final = (*CLIENTS, *HOSTS, FORWARDED, "x-forwarded-proto", "via")


def is_handed_on(head: Headers) -> bool:
    """Return whether a proxy forwards the request for a client that may be remote.

    A developer's proxy on the same machine names loopback addresses only. A proxy that names no
    client may forward for any client.
    """
    if not any(name in head for name in SIGNS):
        return False
    clients, others = list(_named(head, CLIENTS, "for")), _named(head, HOSTS, "host", "by")
    return not (clients and all(map(_is_here, clients)) and all(map(_is_here, others)))


def _named(head: Headers, names: tuple[str, ...], *keys: str) -> Iterator[str]:
    """Yield the values in a list of headers, and those under keys of `Forwarded`."""
    for name in names:
        yield from ",".join(head.getlist(name)).split(",") if name in head else ()
    for word in ",".join(head.getlist(FORWARDED)).replace(";", ",").split(","):
        key, _, value = word.partition("=")
        if key.strip().lower() in keys:
            yield value.strip().strip('"')


def _is_here(named: str) -> bool:
    """Return whether an address or a name, with or without a port, is loopback."""
    try:
        address = ipaddress.ip_address(named.strip())
    except ValueError:
        return names_loopback(named.strip())
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


COOKIE: Final = "holdline"
COOKIE_S: Final = 12 * 3600  # one working day
GUARDED: Final = ("/client/", "/calls/", "/api/", "/metrics", "/do-not-call")
PAGES: Final = ("/", "/client/", "/do-not-call")  # and each call's

SIGN_IN_PATH: Final = "/sign-in"
FORM: Final = "application/x-www-form-urlencoded"
SIGN_IN_FIELDS: Final = 8  # most fields of the sign-in form
SIGN_IN_NEEDS: Final = ("/client/style.css", "/client/icon.svg")  # style and icon of that page

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Guards the pages, `/api/*` and `/metrics`; without a token everything is open.

    That is safe for two reasons. The configuration lets a server without a token listen on loopback
    only. And this class accepts only requests to a loopback name, and none that a proxy forwards
    for remote clients. `public_client` opens only the browser's telephone. Wrong tokens make their
    address wait longer and longer.
    """

    token: SecretStr | None
    public_client: bool = False
    public_url: str = ""
    clock: Clock = clock.monotonic
    attempts: Attempts = field(default_factory=Attempts)

    async def guard(self, request: Request, proceed: Next) -> Response:
        """Pass a request on, or answer 401, with a sign-in page for browsers."""
        if not _is_guarded(request.url.path):
            return await proceed(request)
        return self._refusal(request) or await proceed(request)

    def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        if why := self._why_foreign(request):
            return JSONResponse({"detail": why}, HTTPStatus.FORBIDDEN)
        if self.token is None or path == SIGN_IN_PATH or self._is_public(path):
            return None
        given = _bearer(request)
        return (self._slow_down(request, given) if given else None) or self._demand_token(request)

    def _demand_token(self, request: Request) -> Response | None:
        if self._may(request):
            return None
        path = request.url.path
        if request.method == "GET" and (path in PAGES or path.startswith("/calls/")):
            return HTMLResponse(SIGN_IN, HTTPStatus.UNAUTHORIZED, headers=HEADERS)
        return JSONResponse(
            {"detail": "This needs HOLDLINE_TOKEN as a bearer token."},
            HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def routes(self) -> APIRouter:
        """Return the routes of the sign-in page and its form."""
        router = APIRouter()
        router.add_api_route(
            SIGN_IN_PATH, _show_sign_in, methods=["GET", "HEAD"], include_in_schema=False
        )
        router.add_api_route(SIGN_IN_PATH, self._sign_in, methods=["POST"], include_in_schema=False)
        return router

    async def _sign_in(self, request: Request) -> Response:
        given = await _given_token(request)
        if slowed := self._slow_down(request, given):
            return slowed
        if not self._is_token(given, request):
            return HTMLResponse(SIGN_IN, HTTPStatus.UNAUTHORIZED, headers=HEADERS)
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            self._cookie(),
            max_age=COOKIE_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _why_foreign(self, request: Request) -> str:
        """Return why this cannot come from one of our pages; empty if it may."""
        for_this_machine = not (self.token or self._is_public(request.url.path))
        if for_this_machine and not names_loopback(request.headers.get("host", "")):
            return "Without HOLDLINE_TOKEN this server answers only requests to localhost."
        if for_this_machine and is_handed_on(request.headers):
            return "Set HOLDLINE_TOKEN to allow requests from other machines through a proxy."
        if is_from_elsewhere(request, self.public_url):
            return "This route accepts requests from Holdline's own pages only."
        return ""

    def _is_public(self, path: str) -> bool:
        return self.public_client and (path.startswith("/client/") or path == "/api/offer")

    def _slow_down(self, request: Request, given: str) -> Response | None:
        """Answer 429 to a token that comes too soon after wrong ones.

        A right token is accepted anyway, because others may guess from the same address, such as a
        proxy's. A token short enough to be guessed is protected only by the wait, so it waits too.
        """
        wait_s = math.ceil(self.attempts.wait_s(_address(request), self.clock()))
        if not wait_s or (_is_right(given, self.token) and not is_short(given)):
            return None
        return JSONResponse(
            {"detail": f"Too many wrong tokens; try again in {wait_s} s."},
            HTTPStatus.TOO_MANY_REQUESTS,
            headers={"Retry-After": str(wait_s)},
        )

    def _may(self, request: Request) -> bool:
        if given := _bearer(request):
            return self._is_token(given, request)
        cookie = given_cookie(request, COOKIE)
        return hmac.compare_digest(cookie.encode(), self._cookie().encode())

    def _is_token(self, given: str, request: Request) -> bool:
        right = _is_right(given, self.token)
        if right:
            self.attempts.note_right(_address(request), self.clock())
        elif self.token:
            self.attempts.note_wrong(_address(request), self.clock())
        return right

    def _cookie(self) -> str:
        """Return a value that proves knowledge of the token without revealing it."""
        expected = self.token.get_secret_value() if self.token else ""
        return hmac.new(expected.encode(), b"holdline console", hashlib.sha256).hexdigest()


async def _show_sign_in() -> Response:
    return HTMLResponse(SIGN_IN, headers=HEADERS)


def _is_guarded(path: str) -> bool:
    guarded = path in ("/", SIGN_IN_PATH) or path.startswith(GUARDED)
    return guarded and path not in SIGN_IN_NEEDS


def _is_right(given: str, token: SecretStr | None) -> bool:
    expected = token.get_secret_value() if token else ""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _bearer(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _given_token(request: Request) -> str:
    """Return the form's token, or ""; a multipart form is not read.

    Parsing multipart forms is slow, and large parts of them are written to disk.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return ""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=SIGN_IN_FIELDS)
    except ValueError:
        return ""
    return fields.get("token", [""])[0]


SIGN_IN: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdline</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/client/icon.svg"><link rel="stylesheet" href="/client/style.css"></head>
<body><main><h1>Holdline</h1>
<form method="post" action="/sign-in">
<p><label>Token <input type="password" name="token" autocomplete="current-password" required>
</label></p>
<p><button>Sign in</button></p>
</form></main></body></html>
"""
