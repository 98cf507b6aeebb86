"""Who may see what: one token, as a bearer header or the console's sign-in cookie."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import SecretStr

from bot.http.pages.site import HEADERS

COOKIE: Final = "holdline"
COOKIE_S: Final = 12 * 3600  # a working day
GUARDED: Final = ("/client/", "/api/", "/metrics")

SIGN_IN_PATH: Final = "/sign-in"
FORM: Final = "application/x-www-form-urlencoded"
SIGN_IN_FIELDS: Final = 8  # of a form that has one
SIGN_IN_NEEDS: Final = ("/client/style.css", "/client/icon.svg")  # what that page looks like

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Guards `/`, `/client/`, `/api/*` and `/metrics`; without a token everything is open.

    That is safe because a server without a token listens on loopback only: configuration sees to
    it. `public_client` opens the browser's telephone alone.
    """

    token: SecretStr | None
    public_client: bool = False

    async def guard(self, request: Request, proceed: Next) -> Response:
        """Let a request through, or answer 401: with a sign-in page for people."""
        if self._may(request):
            return await proceed(request)
        if request.method == "GET" and request.url.path in ("/", "/client/"):
            return HTMLResponse(SIGN_IN, HTTPStatus.UNAUTHORIZED, headers=HEADERS)
        return JSONResponse(
            {"detail": "This needs HOLDLINE_TOKEN as a bearer token."},
            HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def routes(self) -> APIRouter:
        """Return the route that the sign-in page posts to."""
        router = APIRouter()
        router.add_api_route(SIGN_IN_PATH, self._sign_in, methods=["POST"], include_in_schema=False)
        return router

    async def _sign_in(self, request: Request) -> Response:
        if not self._is_token(await _given_token(request)):
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

    def _may(self, request: Request) -> bool:
        path = request.url.path
        guarded = (path == "/" or path.startswith(GUARDED)) and path not in SIGN_IN_NEEDS
        if self.token is None or not guarded:
            return True
        if self.public_client and (path.startswith("/client/") or path == "/api/offer"):
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(given)
        cookie = request.cookies.get(COOKIE, "")
        return hmac.compare_digest(cookie.encode(), self._cookie().encode())

    def _is_token(self, given: str) -> bool:
        expected = self.token.get_secret_value() if self.token else ""
        return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())

    def _cookie(self) -> str:
        """Return what proves the token without being it."""
        expected = self.token.get_secret_value() if self.token else ""
        return hmac.new(expected.encode(), b"holdline console", hashlib.sha256).hexdigest()


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
