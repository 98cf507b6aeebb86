"""The result of a check, and checks that a server can be reached."""

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from runtime.hosts import proxy_for

SERVER_ANSWER_S: Final = 5.0  # a server that takes longer to connect is useless in a call
PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """The result of one check."""

    about: str  # a configuration key or a component, such as `storage.url`
    text: str
    ok: bool
    cure: str = ""  # what to do; empty if `text` says enough


async def reach(url: str) -> tuple[str, bool]:
    """Connect to a URL's server, or to the proxy if one is set for it; send no request.

    Returns:
        The result in words, and whether it succeeded.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    secure = parts.scheme in ("wss", "https")
    if proxy := proxy_for(url):
        text, ok = await reach_port(urlsplit(proxy).hostname or "", urlsplit(proxy).port or 80)
        return (f"is reached through a proxy: {text}", ok)
    return await reach_port(host, port, secure=secure)


async def reach_port(host: str, port: int, *, secure: bool = False) -> tuple[str, bool]:
    """Connect to a port, with TLS if `secure`; return the result in words, and whether it works."""
    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            context = ssl.create_default_context() if secure else None
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        return f"{host}:{port} did not answer within {SERVER_ANSWER_S:g} s", False
    except (OSError, UnicodeError) as error:
        return f"{host}:{port} does not answer: {_reason_of_error(error)}", False
    writer.close()
    return f"{host}:{port} answers", True


def _reason_of_error(error: Exception) -> str:
    """Return why a connection failed, as words for an operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text is only `Connect call failed (…)`
    return getattr(error, "strerror", None) or str(error)
