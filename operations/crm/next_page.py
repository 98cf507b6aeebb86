"""A next page that a register names by a whole address: followed at the register itself alone.

The key of the register goes with each request, so no link of an answer may say where that is sent.
"""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

PORTS: Final = {"http": 80, "https": 443}
WHOLE: Final = re.compile(r"https?://", re.IGNORECASE)
PLAIN: Final = re.compile(r"[!-\[\]-~]{1,2000}")
"""ASCII without spaces, lines and backslashes, which readers of addresses disagree about."""


def is_whole(link: str) -> bool:
    """Say whether a register names a page by its address, rather than by a mark."""
    return WHOLE.match(link) is not None


def path_here(link: str, url: str) -> str | None:
    """Return path and query of a link; None: it leads to another place than the register's."""
    if PLAIN.fullmatch(link) is None:
        return None
    try:
        there, here = urlsplit(link), urlsplit(url)
        if "@" in there.netloc or _origin(there) != _origin(here):
            return None
    except ValueError:  # a port that is none
        return None
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


def root_of(url: str) -> str:
    """Return an address without its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
