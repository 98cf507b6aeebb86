"""Fetches a file of contacts from a URL into a file of this machine."""

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

MOST_BYTES: Final = 500_000_000  # chosen: five million contacts
PIECE_BYTES: Final = 65_536
TIMEOUT: Final = aiohttp.ClientTimeout(total=600.0, connect=10.0, sock_read=30.0)


class FetchError(Exception):
    """There is no such file, or it did not come; one line."""


async def fetch_file(url: str, target: Path) -> None:
    """Write what a URL holds into a file, a piece at a time.

    Raises:
        FetchError: It did not come whole; the line shows no login and no query of the URL.
    """
    shown = _without_secrets(url)
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise FetchError(f"{shown} answers {response.status} {response.reason}")
            await _write(response, target, shown)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        said = str(error).partition("\n")[0].replace(url, shown) or type(error).__name__
        raise FetchError(f"{shown} cannot be fetched: {said}") from error


async def _write(response: aiohttp.ClientResponse, target: Path, shown: str) -> None:
    size = 0
    with target.open("wb") as file:
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            size += len(piece)
            if size > MOST_BYTES:
                raise FetchError(f"{shown} is larger than {MOST_BYTES // 1_000_000} MB; split it")
            await asyncio.to_thread(file.write, piece)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
