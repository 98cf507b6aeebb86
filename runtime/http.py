"""HTTP requests over kept-alive connections, and the reading of their responses.

Responses are untrusted: their size is limited, and JSON that is nested too deeply is rejected. The
standard proxy variables apply (`runtime/hosts.py`).

Inside `open_connections`, a request reuses an earlier connection to the same host, which saves DNS,
TCP and TLS. Outside, as in most commands, each request opens its own connection.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp

from runtime.hosts import proxy_for

IDLE_S: Final = 300.0  # chosen: longer than most calls, so that a hang-up reuses the connection
# Connections per host, so that a host that hangs does not block others. LiveKit keeps one open for
# each phone that rings.
MAX_OF_ONE_HOST: Final = 256

MAX_ANSWER_BYTES: Final = 1 << 20  # a carrier's list of a hundred calls has about 100 kB

_SESSIONS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]()


@asynccontextmanager
async def open_connections() -> AsyncIterator[None]:
    """During the block, keep connections of this event loop open between requests.

    At its end, they are closed. Blocks may be nested; the inner one has its own connections.
    """
    loop = asyncio.get_running_loop()
    before = _SESSIONS.get(loop)
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=MAX_OF_ONE_HOST, keepalive_timeout=IDLE_S
    )
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        _SESSIONS[loop] = session
        try:
            yield
        finally:
            if before is None:
                del _SESSIONS[loop]
            else:
                _SESSIONS[loop] = before


def kept_session() -> aiohttp.ClientSession | None:
    """Return the shared session, for libraries that take one; `None` outside `open_connections`."""
    return _SESSIONS.get(asyncio.get_running_loop())


@asynccontextmanager
async def request(
    method: str, url: str, *, may_repeat: bool = False, **asked: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a request and yield its response, which must be read inside the block.

    Args:
        method: The HTTP method.
        url: The address.
        may_repeat: Whether to repeat the request if the host has closed the kept connection; only
            for requests that are safe to repeat.
        asked: Further arguments of `aiohttp.ClientSession.request`. By default, aiohttp waits up to
            5 minutes and follows redirects.

    Raises:
        aiohttp.ClientError, TimeoutError: No response came; a response may have any status.
    """
    asked.setdefault("proxy", proxy_for(url))
    session = kept_session()
    if session is None:
        async with aiohttp.ClientSession() as own, own.request(method, url, **asked) as answer:
            yield answer
        return
    try:
        answer = await session.request(method, url, **asked)
    except (aiohttp.ServerDisconnectedError, ConnectionResetError):
        if not may_repeat:
            raise
        answer = await session.request(method, url, **asked)
    async with answer:
        yield answer


class UnreadableError(ValueError):
    """A response is too large, or its JSON is nested too deeply."""


async def read_body(content: aiohttp.StreamReader, *, most_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """Return the whole body of a response.

    Raises:
        UnreadableError: It is larger than `most_bytes`.
    """
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > most_bytes:
            raise UnreadableError(f"the answer is larger than {most_bytes} bytes")
    return bytes(body)


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text from another system.

    Raises:
        UnreadableError: It is nested too deeply.
        ValueError: It is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise UnreadableError("the answer is nested too deeply") from None


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in another system's text; an empty one if it holds anything else."""
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
