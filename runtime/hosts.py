"""Loopback hosts, and the proxies for all other hosts.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` apply to every HTTP request and to the
providers' websockets, and may also be set in `.env`. Loopback is never reached through a proxy.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

PROXY_SUFFIX: Final = "_proxy"
SCHEMES: Final = {"wss": "https", "ws": "http"}  # a websocket begins as an HTTP request

_PROXIES: Final[dict[str, str]] = {}  # by scheme; `no` lists the hosts to reach directly


def is_loopback(host: str) -> bool:
    """Return whether a server on this host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_near(host: str) -> bool:
    """Return whether a host is this machine or an address in a private network.

    Any other name counts as public, because it is not resolved.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    return address.is_loopback or address.is_private or address.is_link_local


def use_proxies(variables: Mapping[str, str]) -> None:
    """Replace this process's proxies by those in these environment variables.

    Lower case wins, as in curl; names in mixed case are ignored.
    """
    _PROXIES.clear()
    for name, value in sorted(variables.items()):  # upper case first
        if name.lower().endswith(PROXY_SUFFIX) and (name.islower() or name.isupper()):
            _PROXIES[name.lower().removesuffix(PROXY_SUFFIX)] = value.strip()


def proxy_for(url: str) -> str | None:
    """Return the proxy's address for a request to `url`; `None` to connect directly.

    Also `None` for a URL that cannot be read: the request itself will fail.
    """
    if not _PROXIES:
        return None
    # Rarely needed, and slow to import; typeshed does not list it.
    from urllib.request import (  # noqa: PLC0415
        proxy_bypass_environment,  # pyright: ignore[reportAttributeAccessIssue]
    )

    try:
        parts = urlsplit(url)
    except ValueError:  # the request itself will report the invalid URL
        return None
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass_environment(host, _PROXIES):
        return None
    scheme = SCHEMES.get(parts.scheme, parts.scheme)
    return _PROXIES.get(scheme) or _PROXIES.get("all") or None
