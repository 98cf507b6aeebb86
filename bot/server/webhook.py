"""A carrier's webhook: its body, read in bounded time and room."""

import asyncio
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request, Response

from calls.entry import Tell
from calls.events import InputRefused

MAX_WEBHOOK_BYTES: Final = 64 * 1024  # a voice webhook has 1 to 3 kB
MAX_FIELDS: Final = 200
WEBHOOK_S: Final = 5.0


async def read_body(request: Request) -> bytes | None:
    """Return a request's body; None: it is too big, or too slow in coming."""
    body = bytearray()
    try:
        async with asyncio.timeout(WEBHOOK_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_WEBHOOK_BYTES:
                    return None
    except TimeoutError:
        return None
    return bytes(body)


def read_form(body: bytes) -> dict[str, str] | None:
    """Return a form's fields; None: it is no form, or names a field twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None


def elsewhere() -> Response:
    """Return the error after which a carrier asks the number's fallback URL, so another machine."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return Response(status.phrase, status_code=status, media_type="text/plain")


def refuse(tell: Tell, carrier: str, reason: str, status: HTTPStatus) -> Response:
    """Tell that a webhook was refused, and return the answer that says no more than that."""
    tell(InputRefused(transport=carrier, reason=reason))
    return Response(status.phrase, status_code=status, media_type="text/plain")
