"""A process's HTTP requests over warm connections: one pool for each remote system.

While `open_connections` is open, a request reuses the connection of an earlier one to the same
host, without DNS, TCP or TLS. Outside, as in a command, each has a connection of its own.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp

from fallbacks.classification import classify_error
from fallbacks.failure import Finding, Kind, ServiceError, error_of, failed

STAGE: Final = "dial"
ASK_S: Final = 5.0  # a caller may be waiting; longer would not help


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOrder:
    """A call to be placed.

    Attributes:
        to: The number, E.164.
        caller: The number shown to the callee, one of the account's.
        ref: Our own id of the dial. It returns with every callback, so it identifies a call even if
            the order got no answer.
        ring_s: The ringing time, where the carrier accepts one.
        machine: The carrier's option for answering-machine detection; empty for none.
    """

    to: str
    caller: str
    ref: str
    ring_s: float = 30.0
    machine: str = ""


async def answered(carrier: str, asking: Awaitable[tuple[int, Any]]) -> tuple[int, Any]:
    """Return the status and the JSON of an answer.

    Raises:
        ServiceError: No answer; tells why, and whether a retry may help.
    """
    try:
        async with asyncio.timeout(ASK_S):
            return await asking
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        raise dial_error(carrier, classify_error(error), type(error).__name__) from error


def dial_error(carrier: str, found: Finding | Kind, reason: str) -> ServiceError:
    """Return the exception for a carrier's failure."""
    return error_of(failed(found, STAGE, provider=carrier, reason=reason))


def number_of(said: object) -> float | None:
    """Return a number given as a number or a text; `None` if it is neither."""
    try:
        number = float(str(said))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


IDLE_S: Final = 300.0  # chosen: longer than most calls, so that a hang-up reuses the connection
MOST_OF_ONE_HOST: Final = 32  # connections; a host that hangs does not block others

_SESSIONS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession]()


@asynccontextmanager
async def open_connections() -> AsyncIterator[None]:
    """Keep connections open between requests during the block."""
    loop = asyncio.get_running_loop()
    before = _SESSIONS.get(loop)
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=MOST_OF_ONE_HOST, keepalive_timeout=IDLE_S
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
    session = _SESSIONS.get(asyncio.get_running_loop())
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
