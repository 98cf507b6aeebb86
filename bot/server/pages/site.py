"""Serves the pages: the telephone and all files under `/client/`, the console, one call."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

FOLDER: Final = Path(__file__).parent
VENDOR: Final = FOLDER / "vendor"  # unmodified third-party files with their licences
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = {
    # Pages load from and send to this server only, and text never becomes code.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'; object-src 'none'"
    ),
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # An update must never run an old script with new markup. The files are small and local.
    "Cache-Control": "no-cache",
}


def page(name: str) -> FileResponse:
    """Return one of the pages' files.

    Raises:
        HTTPException: 404 if there is no such file.
    """
    path = _files().get(name)
    if path is None:
        raise HTTPException(404, "There is no such page.")
    return FileResponse(path, headers=HEADERS, media_type=CONTENT_TYPES[path.suffix])


@functools.cache
def _files() -> Mapping[str, Path]:
    """Return the pages' files by name; a name from outside never becomes a path."""
    found = (*VENDOR.iterdir(), *FOLDER.iterdir())
    return {path.name: path for path in found if path.suffix in CONTENT_TYPES}


def client_routes() -> APIRouter:
    """Return the telephone's route."""
    router = APIRouter()
    router.add_api_route("/client/", lambda: page("client.html"), include_in_schema=False)
    return router


def asset_routes() -> APIRouter:
    """Return the route of scripts, styles and icons."""
    router = APIRouter()
    router.add_api_route("/client/{name}", page, include_in_schema=False, response_model=None)
    return router


def console_routes() -> APIRouter:
    """Return the routes of the console, of the do-not-call list and of one call's page."""
    router = APIRouter()
    router.add_api_route("/", lambda: page("console.html"), include_in_schema=False)
    router.add_api_route("/do-not-call", lambda: page("do_not_call.html"), include_in_schema=False)

    @router.get("/calls/{call_id}", include_in_schema=False)
    async def one_call(call_id: str) -> FileResponse:  # pyright: ignore[reportUnusedFunction]
        del call_id  # the page reads it from its URL
        return page("call.html")

    return router
