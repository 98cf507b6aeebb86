"""Who may see what: one token, as a bearer header or the console's sign-in cookie."""

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import SecretStr

from bot import clock
from bot.clock import Clock
from bot.config.checks import is_short
from bot.server.attempts import Attempts
from bot.server.cookie import given_cookie
from bot.server.handed_on import is_handed_on
from bot.server.origin import is_from_elsewhere, names_loopback
from bot.server.pages.site import HEADERS

COOKIE: Final = "holdline"
COOKIE_S: Final = 12 * 3600  # a working day
GUARDED: Final = ("/client/", "/calls/", "/api/", "/metrics")

SIGN_IN_PATH: Final = "/sign-in"
FORM: Final = "application/x-www-form-urlencoded"
SIGN_IN_FIELDS: Final = 8  # of a form that has one
SIGN_IN_NEEDS: Final = ("/client/style.css", "/client/icon.svg")  # what that page looks like

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Guards the pages, `/api/*` and `/metrics`; without a token everything is open.

    That is safe because a server without a token listens on loopback only, which configuration sees
    to, and is called by a name of loopback and by no proxy that asks for others, which is seen to
    here. `public_client` opens the browser's telephone alone. Wrong tokens of an address have to
    wait longer and longer.
    """

    token: SecretStr | None
    public_client: bool = False
    public_url: str = ""
    clock: Clock = clock.monotonic
    attempts: Attempts = field(default_factory=Attempts)

    async def guard(self, request: Request, proceed: Next) -> Response:
        """Let a request through, or answer 401: with a sign-in page for people."""
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
        if request.method == "GET" and (path in ("/", "/client/") or path.startswith("/calls/")):
            return HTMLResponse(SIGN_IN, HTTPStatus.UNAUTHORIZED, headers=HEADERS)
        return JSONResponse(
            {"detail": "This needs HOLDLINE_TOKEN as a bearer token."},
            HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def routes(self) -> APIRouter:
        """Return the routes of the sign-in: its page, and where that posts to."""
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
        """Return why no page of ours can have sent this; nothing if it may have."""
        for_this_machine = not (self.token or self._is_public(request.url.path))
        if for_this_machine and not names_loopback(request.headers.get("host", "")):
            return "Without HOLDLINE_TOKEN this is open on localhost only, by that name."
        if for_this_machine and is_handed_on(request.headers):
            return "Set HOLDLINE_TOKEN: without it this is not open to whom a proxy asks for."
        if is_from_elsewhere(request, self.public_url):
            return "This is for our own pages, not for those of another site."
        return ""

    def _is_public(self, path: str) -> bool:
        return self.public_client and (path.startswith("/client/") or path == "/api/offer")

    def _slow_down(self, request: Request, given: str) -> Response | None:
        """Answer 429 to a token that comes too soon after wrong ones.

        The right one is let in all the same: others may guess from the same address, such as a
        proxy's. One that is short enough to be guessed is protected by nothing but the wait.
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
        """Return what proves the token without being it."""
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
    """Return the form's token, or nothing; a form in many parts is not even looked at.

    Those are parsed at length, and what is large in them is put on the disk.
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
