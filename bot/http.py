"""A process's HTTP requests over warm connections, and how their answers are read.

An answer is untrusted: it has a bound in bytes, and one that is nested too deeply is not JSON. The
standard proxy variables apply (`bot/hosts.py`).

While `open_connections` is open, a request reuses the connection of an earlier one to the same
host, without DNS, TCP or TLS. Outside, as in a command, each has a connection of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp

from bot.hosts import proxy_for

IDLE_S: Final = 300.0  # chosen: longer than most calls, so that a hang-up reuses the connection
# Connections; a host that hangs does not block others. LiveKit keeps one for each phone that rings.
MAX_OF_ONE_HOST: Final = 256

MAX_ANSWER_BYTES: Final = 1 << 20  # a carrier's list of a hundred calls has some 100 kB

_SESSIONS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]()


@asynccontextmanager
async def open_connections() -> AsyncIterator[None]:
    """Keep connections open between requests during the block."""
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
    """Return the session of the open process, for libraries that take one; else `None`."""
    return _SESSIONS.get(asyncio.get_running_loop())


@asynccontextmanager
async def request(
    method: str, url: str, *, twice: bool = False, **asked: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a request; read the answer in the block.

    Args:
        method: The HTTP method.
        url: The address.
        twice: The request is safe to repeat if the host has just closed the kept connection.
        asked: Arguments of `aiohttp.ClientSession.request`.
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
        if not twice:
            raise
        answer = await session.request(method, url, **asked)
    async with answer:
        yield answer


class UnreadableError(ValueError):
    """An answer is larger than its bound, or nested too deeply."""


async def read_body(content: aiohttp.StreamReader, *, most_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """Return a whole answer, also if it arrives in several pieces.

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
    """Return the JSON object in a text; empty for everything else, as from another server."""
    try:
        told = parse_json(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
