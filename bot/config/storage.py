"""Checks of `storage.url`, which may contain a password, so no message shows it unmasked."""

import importlib.util
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

SQLITE: Final = "sqlite+aiosqlite"
POSTGRES: Final = "postgresql+asyncpg"
LIKE_POSTGRES: Final = f"{POSTGRES}://USER@HOST/NAME"
KNOWN: Final = f"{SQLITE}:///FILE or {LIKE_POSTGRES}"
MEANT: Final = {"sqlite": SQLITE, "postgresql": POSTGRES, "postgres": POSTGRES}
MEMORY: Final = ("", ":memory:")


def trouble(url: str) -> str | None:
    """Return what is wrong with an address, and the cure; `None` if it is valid."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return f"it must be {KNOWN}"
    if scheme in MEANT:  # SQLAlchemy would use a driver that blocks the loop
        _, _, place = rest.rpartition("@")
        return f"write {MEANT[scheme]}://{_user(rest)}{place}"
    if scheme == SQLITE:
        wrong = rest and not rest.startswith("/")
        return f"a file path follows three slashes: {SQLITE}:///{rest}" if wrong else None
    return _postgres_trouble(url) if scheme == POSTGRES else _unknown(scheme)


def file_of(url: str) -> Path | None:
    """Return the file of a local database; `None` for any other one."""
    scheme, _, rest = url.partition(":///")
    name = rest.partition("?")[0]
    return Path(name) if scheme == SQLITE and name not in MEMORY else None


def _unknown(scheme: str) -> str:
    return f"{scheme} is not available; use {KNOWN}"


def _postgres_trouble(url: str) -> str | None:
    if importlib.util.find_spec("asyncpg") is None:
        cure = 'install it with .venv/bin/pip install "holdline[postgres]"'
        return f"it needs asyncpg, which is not installed; {cure}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    return None if host else f"it must be like {LIKE_POSTGRES}"


def _user(rest: str) -> str:
    login, at, _ = rest.rpartition("@")
    return login.partition(":")[0] + at
