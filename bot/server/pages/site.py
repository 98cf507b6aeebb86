"""Serves the pages: telephone, operators' pages, sign-in, and their files under `/client/`."""

import functools
import re
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from bot.server.credentials import NAME_CHARACTERS, Identity, Role, identity_of

FOLDER: Final = Path(__file__).parent
VENDOR: Final = FOLDER / "vendor"  # unmodified third-party files with their licences
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = {
    # Pages load only from this server, send only to it, and run no inline code.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'; object-src 'none'"
    ),
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # After an update, no old script may run with new markup. The files are small and local.
    "Cache-Control": "no-cache",
}


CONSOLE_PAGES: Final = {
    "/": "console.html",
    "/calls": "calls.html",
    "/inbox": "inbox.html",
    "/do-not-call": "do_not_call.html",
}
"""The operators' pages by path, except `/calls/ID`; `bot/server/access.py` guards them."""
LINKS: Final = {
    "/": "Console",
    "/calls": "Calls",
    "/inbox": "Inbox",
    "/do-not-call": "Do not call",
    "/client/": "Telephone",
    "/sign-out": "Session",
}
"""The navigation of every operators' page."""
NO_LINKS: Final = '<nav aria-label="Pages"></nav>'


def page(name: str) -> FileResponse:
    """Return a page or another file of the pages, by its name.

    Raises:
        HTTPException: 404 if there is no such file.
    """
    path = _files_by_name().get(name)
    if path is None:
        raise HTTPException(404, "There is no such page.")
    return FileResponse(path, headers=HEADERS, media_type=CONTENT_TYPES[path.suffix])


@functools.cache
def _files_by_name() -> Mapping[str, Path]:
    """Return the pages' files by name, so that no name in a request is ever used as a path."""
    found = (*VENDOR.iterdir(), *FOLDER.iterdir())
    return {path.name: path for path in found if path.suffix in CONTENT_TYPES}


def client_routes() -> APIRouter:
    """Return the route of the telephone page."""
    router = APIRouter()
    router.add_api_route("/client/", lambda: page("client.html"), include_in_schema=False)
    return router


def asset_routes() -> APIRouter:
    """Return the route of scripts, styles and icons."""
    router = APIRouter()
    router.add_api_route("/client/{name}", page, include_in_schema=False, response_model=None)
    return router


def _console_page(name: str, request: Request, *, has_lab: bool) -> HTMLResponse:
    """Return an operators' page with the navigation, and what `dom.js` reads of this operator."""
    identity = identity_of(request)
    marks = {"role": "act" if identity.role is Role.ACT else "see", "name": identity.name}
    marks["lab"] = "on" if has_lab else "off"
    read = " ".join(f'data-{key}="{escape(value)}"' for key, value in marks.items())
    links = " ".join(
        f'<a href="{path}"{_current_page_mark(path, request)}>{title}</a>'
        for path, title in LINKS.items()
    )
    text = _files_by_name()[name].read_text(encoding="utf-8").replace("<body", f"<body {read}", 1)
    text = text.replace(NO_LINKS, NO_LINKS.replace("></nav>", f">{links}</nav>"), 1)
    if identity.role is not Role.ACT:
        text = text.replace("</header>", "<p>Read-only access</p></header>", 1)
    return HTMLResponse(text, headers=HEADERS)


def _current_page_mark(path: str, request: Request) -> str:
    return ' aria-current="page"' if path == request.url.path else ""


async def explain_missing(request: Request, missing: Exception) -> Response:
    """Answer an unknown address: with a page in a browser, else with JSON.

    Other refusals of HTTP are answered as FastAPI does; any other exception is raised again.
    """
    if not isinstance(missing, StarletteHTTPException):
        raise missing
    wants_page = "text/html" in request.headers.get("accept", "")
    if missing.status_code != HTTPStatus.NOT_FOUND or not wants_page:
        return await http_exception_handler(request, missing)
    body = '<p>There is nothing at this address.</p>\n<p><a href="/">To the console</a></p>'
    page_text = PAGE.format(title="No such page", body=body)
    return HTMLResponse(page_text, HTTPStatus.NOT_FOUND, HEADERS)


def console_routes(*, has_lab: bool = False) -> APIRouter:
    """Return the routes of the operators' pages; `has_lab`: the lab has routes, too."""
    router = APIRouter()
    # The page of one call reads the call's id from its URL.
    for path, name in (*CONSOLE_PAGES.items(), ("/calls/{call_id}", "call.html")):
        send = functools.partial(_console_page, name, has_lab=has_lab)
        router.add_api_route(path, send, include_in_schema=False, response_model=None)

    return router


CONSOLE: Final = "|".join(re.escape(path[1:]) for path in CONSOLE_PAGES if path != "/")
NEXT_PATTERN: Final = re.compile(
    rf"/(?:client/(?:\?[!-~]*)?|calls/[!-~]*|(?:{CONSOLE})(?:\?[!-~]*)?"
    r"|api/[!-~]*|sign-out|\?[!-~]*)?"
)
MAX_NEXT: Final = 300  # characters of a path
PAGE: Final = (FOLDER / "parts" / "page.html").read_text(encoding="utf-8")
SIGN_IN: Final = (FOLDER / "parts" / "sign_in.html").read_text(encoding="utf-8")
SIGN_OUT: Final = (FOLDER / "parts" / "sign_out.html").read_text(encoding="utf-8")
SIGN_OUT_ALL: Final = ' <button name="who" value="everybody">Sign everybody out</button>'


def safe_next(path: str) -> str:
    """Return `path` if it is one of our pages, to which a sign-in may redirect; else `/`."""
    return path if len(path) <= MAX_NEXT and NEXT_PATTERN.fullmatch(path) else "/"


def sign_in_page(
    next_path: str,
    *,
    problem: str = "",
    name: str = "",
    wait_s: int = 0,
    status: HTTPStatus = HTTPStatus.UNAUTHORIZED,
) -> HTMLResponse:
    """Return the sign-in page.

    Args:
        next_path: The page to show after the sign-in.
        problem: A sentence about the last attempt; empty if there was none.
        name: The operator's name, as entered before.
        wait_s: How long this address must wait after wrong tokens; 0 if it need not.
        status: The response's status; 429 instead if the address must wait.
    """
    headers = {**HEADERS, "Cache-Control": "no-store"}
    if wait_s:
        problem = f"Too many wrong tokens came from this address. Try again in {wait_s} s."
        status = HTTPStatus.TOO_MANY_REQUESTS
        headers["Retry-After"] = str(wait_s)
    body = SIGN_IN.format(
        problem=f'<p class="notice" role="alert">{escape(problem)}</p>\n' if problem else "",
        next=escape(safe_next(next_path)),
        name=escape(name[:NAME_CHARACTERS]),
        most=NAME_CHARACTERS,
    )
    return HTMLResponse(PAGE.format(title="Sign in", body=body), status, headers)


def sign_out_page(identity: Identity) -> HTMLResponse:
    """Return the page that shows who is signed in and offers to sign out."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    if not identity.session:
        who = "There is no session: this server has no token, or the request sent it as a header."
        body = f'<p>{who}</p>\n<p><a href="/">Back to the console</a></p>'
        return HTMLResponse(PAGE.format(title="Session", body=body), headers=headers)
    name = escape(identity.name) or "without a name"
    may = "read and change everything" if identity.role is Role.ACT else "only read"
    who = f"You are signed in {f'as {name}' if identity.name else name}, and may {may}."
    button = SIGN_OUT_ALL if identity.role is Role.ACT else ""
    body = SIGN_OUT.format(who=who, all=button)
    return HTMLResponse(PAGE.format(title="Session", body=body), headers=headers)
