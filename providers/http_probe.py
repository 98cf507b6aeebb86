"""The cheap authenticated request that checks whether a provider accepts our key."""

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from providers.provider import ProbeFailedError

MAX_BODY_BYTES: Final = 64 * 1024  # of an error's explanation


async def ask(url: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
    """GET `url` and accept any 2xx answer.

    Raises:
        ProbeFailedError: Another status, no answer in `timeout_s`, or no connection. The text
            names the host and the status, never a header or a body.
    """
    host = urlsplit(url).netloc
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=dict(headers), allow_redirects=False) as answer,
        ):
            status = answer.status
            body = await _body(answer) if status >= 300 else None
    except TimeoutError as slow:
        raise ProbeFailedError(f"{host} did not answer within {timeout_s:g} s") from slow
    except aiohttp.ClientError as broken:
        raise ProbeFailedError(f"{host}: {type(broken).__name__}") from broken
    if not 200 <= status < 300:
        text = f"{host} answered {status}{MEANS.get(status, '')}"
        raise ProbeFailedError(text, status=status, body=body)


MEANS: Mapping[int, str] = {
    401: ": it rejects our key",
    402: ": the account has no credit",
    403: ": our key lacks a permission",
    404: ": no such route; check the url",
    429: ": too many requests",
}


async def _body(answer: aiohttp.ClientResponse) -> object:
    text = (await answer.content.read(MAX_BODY_BYTES)).decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def http_twin(url: str, path: str) -> str:
    """Return the http(s) URL of `path` on the host of a ws(s) URL."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, path, "", ""))
