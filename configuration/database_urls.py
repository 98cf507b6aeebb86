"""Checks of `storage.url` and `resilience.share`.

A URL may contain a password, so messages show it masked.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from configuration.errors import MASK, without_secrets
from runtime.exits import install_command

STORE_ADDRESS: Final = r"^[a-z][a-z0-9+]*://\S+$"
LOCAL: Final = "local"  # `resilience.share` without other servers
SQLITE: Final = "sqlite+aiosqlite"
POSTGRES: Final = "postgresql+asyncpg"
POSTGRES_EXAMPLE: Final = f"{POSTGRES}://USER@HOST/NAME"
STORAGE_URLS: Final = f"{SQLITE}:///FILE or {POSTGRES_EXAMPLE}"
ASYNC_SCHEMES: Final = {"sqlite": SQLITE, "postgresql": POSTGRES, "postgres": POSTGRES}
MEMORY: Final = ("", ":memory:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """Properties of a URL scheme."""

    backend: str
    package: str  # the driver's module
    extra: str = ""  # Holdline's extra that installs the driver; empty if none is needed
    options: frozenset[str] = frozenset()  # allowed query parameters


_SQLITE: Final = Scheme(backend="sqlite", package="aiosqlite")
_POSTGRES: Final = Scheme(
    backend="postgresql",
    package="asyncpg",
    extra="postgres",
    options=frozenset({"ssl", "sslmode"}),
)
_REDIS: Final = Scheme(backend="redis", package="redis", extra="redis")
_REDISS: Final = replace(_REDIS, options=frozenset({"ssl_cert_reqs", "ssl_ca_certs"}))
SHARES: Final[Mapping[str, Scheme]] = {
    "sqlite": _SQLITE,
    SQLITE: _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    POSTGRES: _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDISS,
}
"""The schemes of databases through which provider health can be shared."""


def mask_password(url: str) -> str:
    """Return the URL with its password masked.

    Everything between the user name and the last `@` counts as the password, even if it contains an
    unescaped `@` or `/`.
    """
    head, at, tail = url.rpartition("@")
    if not at:
        return without_secrets(url)
    scheme, _, login = head.partition("://")
    user, colon, _ = login.partition(":")
    return without_secrets(f"{scheme}://{user}{colon}{MASK if colon else ''}@{tail}")


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database; `None` for one in memory and any other database."""
    scheme, _, rest = url.partition(":///")
    name = rest.partition("?")[0]
    return Path(name) if SHARES.get(scheme) is _SQLITE and name not in MEMORY else None


def storage_trouble(url: str) -> str | None:
    """Return what is wrong with `storage.url`, and the cure; `None` if it is valid."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return f"it must be {STORAGE_URLS}"
    if scheme in ASYNC_SCHEMES:  # SQLAlchemy would use a driver that blocks the loop
        login, at, place = rest.rpartition("@")
        return f"write {ASYNC_SCHEMES[scheme]}://{login.partition(':')[0]}{at}{place}"
    if scheme == SQLITE:
        wrong = rest and not rest.startswith("/")
        return f"a file path follows three slashes: {SQLITE}:///{rest}" if wrong else None
    if scheme != POSTGRES:
        return f"{scheme} is not available; use {STORAGE_URLS}"
    return _missing_driver(_POSTGRES) or (
        None if _split_url(url) else _must_be_like(POSTGRES_EXAMPLE)
    )


def share_trouble(url: str) -> str | None:
    """Return what is wrong with `resilience.share`, and the cure; `None` if it is valid."""
    if url == LOCAL:
        return None
    name = url.partition("://")[0]
    scheme = SHARES.get(name)
    if scheme is None:
        cure = "use local, sqlite:///FILE, postgresql://… or redis://…"
        return f"health cannot be shared through {name}; {cure}"
    return _missing_driver(scheme) or (
        None if scheme is _SQLITE else _why_address_is_wrong(url, scheme)
    )


def store_trouble(url: str) -> str | None:
    """Return what is wrong with `server.store`, and the cure; `None` if it is valid."""
    scheme = SHARES.get(url.partition("://")[0])
    if scheme not in (_REDIS, _REDISS):
        return _must_be_like("redis://:password@host:6379/0")
    return _missing_driver(scheme) or _why_address_is_wrong(url, scheme)


def _missing_driver(scheme: Scheme) -> str | None:
    """Return how to install the scheme's driver; `None` if it is installed."""
    if importlib.util.find_spec(scheme.package) is not None:
        return None
    cure = f"install it with {install_command(f'holdline[{scheme.extra}]')}"
    return f"it needs {scheme.package}, which is not installed; {cure}"


def _must_be_like(example: str) -> str:
    return f"it must be like {example}"


def _split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; `None` if its host or port cannot be read."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts if host else None


def _why_address_is_wrong(url: str, scheme: Scheme) -> str | None:
    """Return what is wrong with the URL of a shared database; `None` if it is valid."""
    parts = _split_url(url)
    if not parts or "@" in parts.path or parts.fragment:
        example = _must_be_like(f"{scheme.backend}://user:password@host/0")
        return f"{example}; write /, @, : and # of a password as %2F, %40, %3A, %23"
    if scheme.backend == "redis" and not (parts.path.strip("/") or "0").isdigit():
        return "the part after the host must be the database's number, such as 0"
    unknown = sorted(set(parse_qs(parts.query, keep_blank_values=True)) - scheme.options)
    known = ", ".join(sorted(scheme.options)) or "the address itself"
    return f"the option {unknown[0]} is unknown; known: {known}" if unknown else None
