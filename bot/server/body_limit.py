"""What a request's body may be: read whole and bounded before anybody else sees the request."""

from http import HTTPStatus
from typing import Final

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.server.access import SIGN_IN_PATH

MOST_BYTES: Final = 128 * 1024  # a browser's offer has about 6 kB, a webhook about 1 kB
MOST_SIGN_IN_BYTES: Final = 4 * 1024  # a token of at most 500 characters, percent-encoded


class BodyLimit:
    """Answers 413 to a body that is too big, by what it says of itself or by what it is.

    Sending it needs no token: nothing is parsed, nothing goes to the disk, and the
    connection is closed, so that the rest is not read. A sender who goes away in the middle is
    nobody's error. How long a body may take is for the connection to bound.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with its body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MOST_SIGN_IN_BYTES if scope["path"] == SIGN_IN_PATH else MOST_BYTES
        if _announced_bytes(scope) > limit:
            await _refuse(limit)(scope, receive, send)
            return
        body = await _read(receive, limit)
        if body is None:
            return
        if len(body) > limit:
            await _refuse(limit)(scope, receive, send)
            return
        await self._app(scope, _from_memory(body, receive), send)


def _announced_bytes(scope: Scope) -> int:
    """Return what the request says of its body; 0 when it says nothing, as chunked ones do."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # h11 lets only digits through
    return 0


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the body, or a little more than the limit of it; None: the sender went away."""
    body = bytearray()
    while len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _from_memory(body: bytes, receive: Receive) -> Receive:
    """Return what hands the body out once, and then what the server itself has to say."""
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def hand_out() -> Message:
        return kept.pop() if kept else await receive()

    return hand_out


def _refuse(limit: int) -> JSONResponse:
    return JSONResponse(
        {"detail": f"That is more than {limit // 1024} kB."},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        headers={"Connection": "close"},
    )
