"""Addresses of shared provider health.

An address may contain a password, so no message shows it unmasked.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bot.config.errors import MASK, without_secrets

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scheme:
    """Properties of a URL scheme."""

    backend: str
    package: str  # the driver's module
    extra: str = ""  # Holdline's extra that installs the driver; empty if none is needed
    options: frozenset[str] = frozenset()  # allowed query parameters


_SQLITE: Final = _Scheme(backend="sqlite", package="aiosqlite")
_POSTGRES: Final = _Scheme(
    backend="postgresql",
    package="asyncpg",
    extra="postgres",
    options=frozenset({"ssl", "sslmode"}),
)
_REDIS: Final = _Scheme(backend="redis", package="redis", extra="redis")
_REDISS: Final = replace(_REDIS, options=frozenset({"ssl_cert_reqs", "ssl_ca_certs"}))
PLACES: Final[Mapping[str, _Scheme]] = {
    "sqlite": _SQLITE,
    "sqlite+aiosqlite": _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "postgresql+asyncpg": _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDISS,
}


def masked(share: str) -> str:
    """Return the address with its password masked.

    Everything between the user's name and the last `@` counts as the password, even if it contains
    an unescaped `@` or `/`.
    """
    head, at, tail = share.rpartition("@")
    if not at:
        return without_secrets(share)
    scheme, _, login = head.partition("://")
    user, colon, _ = login.partition(":")
    return without_secrets(f"{scheme}://{user}{colon}{MASK if colon else ''}@{tail}")


def file_of(share: str) -> Path | None:
    """Return the file of a local SQLite board; `None` for any other board."""
    scheme, _, rest = share.partition(":///")
    name = rest.partition("?")[0]
    known = PLACES.get(scheme) is _SQLITE and name not in ("", ":memory:")
    return Path(name) if known else None


def trouble(share: str) -> str | None:
    """Return what is wrong with an address, and the cure; `None` if it is valid."""
    if share == LOCAL:
        return None
    scheme = share.partition("://")[0]
    place = PLACES.get(scheme)
    if place is None:
        cure = "use local, sqlite:///FILE, postgresql://… or redis://…"
        return f"health cannot be shared through {scheme}; {cure}"
    if importlib.util.find_spec(place.package) is None:
        cure = f'install it with .venv/bin/pip install "holdline[{place.extra}]"'
        return f"it needs {place.package}, which is not installed; {cure}"
    return None if place is _SQLITE else _unreadable(share, place)


def _unreadable(share: str, place: _Scheme) -> str | None:
    try:
        parts = urlsplit(share)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or "@" in parts.path or parts.fragment:
        example = f"{place.backend}://user:password@host/0"
        return f"it must be like {example}; write /, @, : and # of a password as %2F, %40, %3A, %23"
    if place.backend == "redis" and not (parts.path.strip("/") or "0").isdigit():
        return "the part after the host must be the database's number, such as 0"
    unknown = sorted(set(parse_qs(parts.query, keep_blank_values=True)) - place.options)
    known = ", ".join(sorted(place.options)) or "the address itself"
    return f"the option {unknown[0]} is unknown; known: {known}" if unknown else None
