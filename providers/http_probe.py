"""The cheap authenticated question that says whether a provider takes our key."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from providers.provider import ProbeFailedError


async def ask(url: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
    """GET `url` and be content with any 2xx answer.

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
    except TimeoutError as slow:
        raise ProbeFailedError(f"{host} did not answer within {timeout_s:g} s") from slow
    except aiohttp.ClientError as broken:
        raise ProbeFailedError(f"{host}: {type(broken).__name__}") from broken
    if not 200 <= status < 300:
        raise ProbeFailedError(f"{host} answered {status}{MEANS.get(status, '')}")


MEANS: Mapping[int, str] = {
    401: ": the key is not accepted",
    402: ": the account has no credit",
    403: ": the key lacks a permission",
    404: ": no such route; is the url right?",
    429: ": too many requests",
}


def http_twin(url: str, path: str) -> str:
    """Return the http(s) URL of `path` on the host of a ws(s) URL."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, path, "", ""))
