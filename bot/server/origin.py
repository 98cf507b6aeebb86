"""Whose page a request comes from: only our own pages may change anything."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

SAFE: Final = ("GET", "HEAD", "OPTIONS")
OWN_SITE: Final = ("same-origin", "none")  # what `Sec-Fetch-Site` says of our pages and of a person


def names_loopback(host: str) -> bool:
    """Return whether a `Host` is this machine's own name, with any port.

    A page of another site can point a name of its own at 127.0.0.1 and then read what we say
    (DNS rebinding); it cannot make the browser say `localhost` or an address in figures.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_from_elsewhere(request: Request, public_url: str) -> bool:
    """Return whether another site's page wants something changed.

    Programs send neither `Origin` nor `Sec-Fetch-Site`, and may.
    """
    if request.method in SAFE:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITE
    origin = request.headers.get("origin")
    return origin is not None and not _is_own(origin, request, public_url)


def _is_own(origin: str, request: Request, public_url: str) -> bool:
    scheme, _, place = origin.partition("://")
    public = urlsplit(public_url)
    own = scheme in ("http", "https") and place == request.headers.get("host")
    return own or origin == f"{public.scheme}://{public.netloc}"  # a proxy may name us otherwise
