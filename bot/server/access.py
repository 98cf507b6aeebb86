"""Access control: which credential and role a request needs, and which site it may come from."""

import asyncio
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.server.credentials import (
    OPEN,
    SESSION_S,
    STRANGER,
    ConsoleCredentials,
    Credential,
    Denied,
    Identity,
    Role,
    identity_of,
)
from bot.server.pages.site import CONSOLE_PAGES, safe_next, sign_in_page, sign_out_page


def given_cookie(request: HTTPConnection, name: str) -> str:
    """Return the value of the last cookie of that name; empty if there is none.

    Our cookie is never quoted. `request.cookies` unquotes every cookie with `http.cookies`, which
    takes quadratic time in some versions of Python (CVE-2024-7592): half a second for one header.
    """
    pieces = (piece.partition("=") for piece in _cookies_last_first(request))
    return next((value.strip() for key, _, value in pieces if key.strip() == name), "")


def _cookies_last_first(request: HTTPConnection) -> list[str]:
    return ";".join(request.headers.getlist("cookie")).split(";")[::-1]


SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
# `Sec-Fetch-Site` of requests by our own pages, and of those that a person begins by hand.
OWN_SITES: Final = ("same-origin", "none")


def names_loopback(host: str) -> bool:
    """Return whether a host, as in a `Host` header, is a loopback name or address.

    A port is ignored. Another site can point a name of its own at 127.0.0.1, and its pages can then
    read our responses (DNS rebinding). But the browser sends that name as `Host`, not `localhost`
    or a loopback address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_from_elsewhere(request: HTTPConnection, public_url: str) -> bool:
    """Return whether a request that may change something comes from another site's page.

    Programs other than browsers send neither `Origin` nor `Sec-Fetch-Site`, and are allowed.
    """
    if method_of(request) in SAFE_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITES
    origin = request.headers.get("origin")
    return origin is not None and not _is_own(origin, request, public_url)


def _is_own(origin: str, request: HTTPConnection, public_url: str) -> bool:
    """Return whether an `Origin` header names this server, by its `Host` or its public URL."""
    scheme, _, place = origin.partition("://")
    public = urlsplit(public_url)
    is_host = scheme in ("http", "https") and place == request.headers.get("host")
    return is_host or origin == f"{public.scheme}://{public.netloc}"  # a proxy may change the host


# Such as `X-Client-IP`, `True-Client-IP`, `CF-Connecting-IP`.
CLIENT_HEADERS: Final = re.compile(
    r"(?:.+-)?forwarded-for|x-forwarded|x-real-ip|x-envoy-external-address"
    r"|(?:.+-)?(?:client|connecting|remote|originating|socket)-?(?:ip(?:v6)?|addr)"
)
HOST_HEADERS: Final = re.compile("x-(?:forwarded|original)-host")
FORWARDED: Final = "forwarded"  # RFC 7239
PROXY_HEADERS: Final = re.compile(
    rf"{FORWARDED}|via|x-forwarded-.+|{HOST_HEADERS.pattern}|{CLIENT_HEADERS.pattern}"
)


def is_forwarded(headers: Headers) -> bool:
    """Return whether a proxy forwards the request for a client that may be remote.

    A developer's proxy on the same machine names only loopback addresses. A proxy that names no
    client may forward for any.
    """
    if not any(map(PROXY_HEADERS.fullmatch, headers)):
        return False
    clients = list(_values_of_headers(headers, CLIENT_HEADERS, "for"))
    hosts = _values_of_headers(headers, HOST_HEADERS, "host", "by")
    return not (clients and all(map(_is_loopback, clients)) and all(map(_is_loopback, hosts)))


def _values_of_headers(headers: Headers, names: re.Pattern[str], *keys: str) -> Iterator[str]:
    """Yield the values of these headers, and of these keys in `Forwarded`."""
    for name in set(headers):
        if names.fullmatch(name):
            yield from ",".join(headers.getlist(name)).split(",")
    for pair in ",".join(headers.getlist(FORWARDED)).replace(";", ",").split(","):
        key, _, value = pair.partition("=")
        if key.strip().lower() in keys:
            yield value.strip().strip('"')


def _is_loopback(place: str) -> bool:
    """Return whether an address or a name, with or without a port, is loopback."""
    try:
        address = ipaddress.ip_address(place.strip())
    except ValueError:
        return names_loopback(place.strip())
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


COOKIE: Final = "holdline"
GUARDED_PREFIXES: Final = ("/client/", "/calls/", "/api/", "/metrics")
SIGN_IN_PATH: Final = "/sign-in"
SIGN_OUT_PATH: Final = "/sign-out"
OPEN_PATHS: Final = ("/client/style.css", "/client/icon.svg")  # the sign-in page needs them
OFFER_PATH: Final = "/api/offer"  # begins a call
PAGES: Final = (*CONSOLE_PAGES, "/client/", SIGN_OUT_PATH)
NO_STORE: Final = "no-store"
MAY_NOT_ACT: Final = "This needs HOLDLINE_TOKEN: HOLDLINE_VIEW_TOKEN is read-only."
NO_SUPERVISOR: Final = "The supervisor does not answer. Try again in a moment."
SIGNED_OUT_LATER: Final = (
    "This browser is signed out. The session may be open elsewhere until the supervisor and the "
    "store (server.store) answer again."
)


@dataclass(frozen=True, slots=True)
class Access:
    """Guards the pages, `/api/*` and `/metrics`; without a token, everything is open.

    That is safe because the configuration lets a server without a token listen on loopback only,
    and because this class then accepts only requests to a loopback name that no proxy forwards for
    a remote client. `public_client` opens the browser's telephone to everyone, and nothing else.
    """

    credentials: ConsoleCredentials
    public_client: bool = False
    public_url: str = ""

    async def admit(self, request: HTTPConnection) -> Identity | Response:
        """Return the identity of a request's sender, or the response that refuses it."""
        path = path_of(request)
        if why := self._why_foreign(request):
            return _refusal_response(why, HTTPStatus.FORBIDDEN)
        if self._is_public(path):
            return await self._identify_caller(request)
        if not self.credentials.are_needed or path == SIGN_IN_PATH:
            return OPEN
        found = await self._identify_or_refuse(request)
        if not isinstance(found, Identity):
            return found
        return (
            _refusal_response(MAY_NOT_ACT, HTTPStatus.FORBIDDEN)
            if _lacks_role(found, request)
            else found
        )

    async def _identify_caller(self, request: HTTPConnection) -> Identity:
        """Return the identity of a user of the public telephone: an operator, or `STRANGER`."""
        if self.credentials.are_needed:
            found = await self._identify_or_refuse(request)
            return found if isinstance(found, Identity) else STRANGER
        here = names_loopback(request.headers.get("host", "")) and not is_forwarded(request.headers)
        return OPEN if here else STRANGER

    async def _identify_or_refuse(self, request: HTTPConnection) -> Identity | Response:
        """Return the identity that a request's credential proves, or else the refusing response."""
        given = credential_of(request)
        if given is None:
            return _ask_for_credential(request, None)
        address, path = address_of(request), path_of(request)
        try:
            found = await self.credentials.check(given, address=address, path=path)
        except LookupError:
            return _refusal_response(NO_SUPERVISOR, HTTPStatus.SERVICE_UNAVAILABLE)
        return _ask_for_credential(request, found) if isinstance(found, Denied) else found

    def _why_foreign(self, request: HTTPConnection) -> str:
        """Return why a request is refused for its host, proxy or origin; empty if it is not."""
        for_this_machine = not (self.credentials.are_needed or self._is_public(path_of(request)))
        if for_this_machine and not names_loopback(request.headers.get("host", "")):
            return "Without HOLDLINE_TOKEN this server answers only requests to localhost."
        if for_this_machine and is_forwarded(request.headers):
            return "Set HOLDLINE_TOKEN to allow requests from other machines through a proxy."
        if is_from_elsewhere(request, self.public_url):
            return "This route accepts requests from Holdline's own pages only."
        return ""

    def _is_public(self, path: str) -> bool:
        return self.public_client and (path.startswith("/client/") or path == OFFER_PATH)


def path_of(request: HTTPConnection) -> str:
    """Return the path that is routed; `request.url.path` also depends on the client's `Host`."""
    return str(request.scope["path"])


def method_of(request: HTTPConnection) -> str:
    """Return the method; a WebSocket, over which anything may be sent, counts as a POST."""
    return str(request.scope.get("method", "POST"))


def address_of(request: HTTPConnection) -> str:
    """Return the IP address of the connection's other end; empty if it has none."""
    return request.client.host if request.client else ""


def credential_of(request: HTTPConnection) -> Credential | None:
    """Return the credential of a request: its bearer token, or else its session cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return Credential(way="bearer token", value=token)
    cookie = given_cookie(request, COOKIE)
    return Credential(way="session", value=cookie) if cookie else None


def check_may_act(request: HTTPConnection) -> None:
    """Check that the sender of a request has the role `ACT`.

    Raises:
        HTTPException: The sender does not have it (403).
    """
    if identity_of(request).role is not Role.ACT:
        raise HTTPException(HTTPStatus.FORBIDDEN, MAY_NOT_ACT)


def is_guarded(path: str) -> bool:
    """Return whether `Access` guards a path."""
    exact = path in CONSOLE_PAGES or path in (SIGN_IN_PATH, SIGN_OUT_PATH)
    guarded = exact or path.startswith(GUARDED_PREFIXES)
    return guarded and path not in OPEN_PATHS


def _lacks_role(identity: Identity, request: HTTPConnection) -> bool:
    """Return whether a request changes something or begins a call, and its sender may only read."""
    path = path_of(request)
    acts = path == OFFER_PATH or (method_of(request) not in SAFE_METHODS and path != SIGN_OUT_PATH)
    return acts and identity.role is not Role.ACT


def _ask_for_credential(request: HTTPConnection, denied: Denied | None) -> Response:
    """Return the sign-in page if a browser has no valid session, otherwise a JSON error.

    `denied` is `None` if the request has no credential.
    """
    path, wait_s = path_of(request), denied.wait_s if denied else 0
    if _expects_page(request) and (denied is None or denied.way == "session"):
        query = request.scope["query_string"].decode("latin-1")
        ended = "Your session has ended. Sign in again." if denied else ""
        return sign_in_page(f"{path}?{query}" if query else path, problem=ended, wait_s=wait_s)
    if wait_s:
        headers = {"Retry-After": str(wait_s)}
        why = f"Too many wrong tokens; try again in {wait_s} s."
        return _refusal_response(why, HTTPStatus.TOO_MANY_REQUESTS, headers)
    why = "This needs HOLDLINE_TOKEN as a bearer token."
    return _refusal_response(why, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})


def _expects_page(request: HTTPConnection) -> bool:
    """Return whether the sender of a request is probably a browser that shows the response."""
    path = path_of(request)
    is_page = path in PAGES or path.startswith("/calls/")
    asks_for_html = is_page or "text/html" in request.headers.get("accept", "")
    return path == SIGN_OUT_PATH or (method_of(request) == "GET" and asks_for_html)


def _refusal_response(
    why: str, status: HTTPStatus, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"detail": why}, status, headers)


FORM: Final = "application/x-www-form-urlencoded"
FORM_FIELDS: Final = 8  # most fields of a form


class SignIn:
    """The sign-in and sign-out pages and their forms."""

    def __init__(self, access: Access) -> None:
        self._credentials = access.credentials
        self._is_secure = access.public_url.startswith("https://")

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(SIGN_IN_PATH, self.show, methods=["GET", "HEAD"])
        router.add_api_route(SIGN_IN_PATH, self.sign_in, methods=["POST"])
        router.add_api_route(SIGN_OUT_PATH, self.show_session, methods=["GET"])
        router.add_api_route(SIGN_OUT_PATH, self.sign_out, methods=["POST"])
        return router

    async def show(self, request: Request) -> Response:
        """Show the sign-in form; it leads to the page in the query's `next`."""
        return sign_in_page(request.query_params.get("next", "/"), status=HTTPStatus.OK)

    async def sign_in(self, request: Request) -> Response:
        """Open a session and redirect; show the form again if the token is wrong.

        The form is shown, too, if the supervisor, which has the sessions, does not answer.

        If the server has no tokens, only redirect.
        """
        form, address = await _urlencoded_form(request), address_of(request)
        next_path, name = safe_next(form.get("next", "/")), form.get("name", "")
        if not self._credentials.are_needed:
            return RedirectResponse(next_path, HTTPStatus.SEE_OTHER)
        given = Credential(way="sign-in form", value=form.get("token", ""))
        found = await self._credentials.check(given, address=address, path=SIGN_IN_PATH)
        if isinstance(found, Denied):
            problem = "This token is wrong." if given.value else "Enter the token."
            return sign_in_page(next_path, problem=problem, name=name, wait_s=found.wait_s)
        try:
            cookie = await self._credentials.sign_in(found.role, name=name, address=address)
        except LookupError:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return sign_in_page(next_path, problem=NO_SUPERVISOR, name=name, status=status)
        response = RedirectResponse(next_path, HTTPStatus.SEE_OTHER)
        # Lax, so that links in alerts work. Requests that change something need our origin, too.
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(SESSION_S),
            httponly=True,
            samesite="lax",
            secure=self._is_secure,
        )
        return response

    async def show_session(self, request: Request) -> Response:
        """Show who is signed in."""
        return sign_out_page(identity_of(request))

    async def sign_out(self, request: Request) -> Response:
        """End the session, or all of them if the form asks for that and the role is `act`.

        The browser's cookie is deleted even if the session is still open (503).
        """
        identity, form = identity_of(request), await _urlencoded_form(request)
        everybody = form.get("who") == "everybody" and identity.role is Role.ACT
        try:
            await self._credentials.sign_out(identity, everybody=everybody)
        except LookupError:
            response = _refusal_response(SIGNED_OUT_LATER, HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            response = RedirectResponse(SIGN_IN_PATH, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE)
        return response


async def _urlencoded_form(request: Request) -> dict[str, str]:
    """Return the fields of an urlencoded form; empty for anything else.

    Multipart forms are not parsed: that is slow, and large parts would be written to disk.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=FORM_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


CHECK_SESSION_EVERY_S: Final = 5.0  # of an open stream: whether its session still exists
# RFC 6455, 7.4.1. Before the handshake, the server turns it into a 403.
POLICY_VIOLATION: Final = 1008


class Guard:
    """Applies `Access` to HTTP requests and WebSockets; forbids caching of the responses.

    An open stream, such as the live view, is closed soon after its session has ended: before a
    message is sent, the session is checked, at most every `CHECK_SESSION_EVERY_S`.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its sender's identity if the path is guarded, or refuse it."""
        if scope["type"] not in ("http", "websocket") or not is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        admitted = await self._access.admit(HTTPConnection(scope))
        if isinstance(admitted, Identity):
            scope.setdefault("state", {})["identity"] = admitted
            await self._pass_on(scope, receive, send, admitted)
        elif scope["type"] == "http":
            admitted.headers.setdefault("Cache-Control", NO_STORE)
            await admitted(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, identity: Identity
    ) -> None:
        """Run the application; end its stream when the sender's session has ended.

        That is checked when the application sends, but not more often than every
        `CHECK_SESSION_EVERY_S`. Caches must not store a response that says nothing else.
        """
        loop, deadline = asyncio.get_running_loop(), asyncio.timeout(None)
        check_at = loop.time() + CHECK_SESSION_EVERY_S

        async def send_in_session(message: Message) -> None:
            """Send a message; cut the response off if its session has been ended since it began."""
            nonlocal check_at
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Cache-Control", NO_STORE)
            elif identity.session and loop.time() >= check_at:
                check_at = loop.time() + CHECK_SESSION_EVERY_S
                if not await self._access.credentials.is_still_valid(identity):
                    deadline.reschedule(loop.time())
                    await asyncio.Event().wait()  # until the deadline cancels this, at once
            await send(message)

        try:
            async with deadline:
                await self._app(scope, receive, send_in_session)
        except TimeoutError:
            if not deadline.expired():  # the application's own
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})
