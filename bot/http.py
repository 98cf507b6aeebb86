"""A process's HTTP requests over warm connections: one pool for each remote system.

While `open_connections` is open, a request reuses the connection of an earlier one to the same
host, without DNS, TCP or TLS. Outside, as in a command, each has a connection of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp

IDLE_S: Final = 300.0  # chosen: longer than most calls, so that a hang-up reuses the connection
# Connections; a host that hangs does not block others. LiveKit keeps one for each phone that rings.
MAX_OF_ONE_HOST: Final = 256

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
