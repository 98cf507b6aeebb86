"""Whether a proxy has handed a request on, and for whom, by its own word."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from starlette.datastructures import Headers

from bot.server.origin import names_loopback

CLIENTS: Final = ("x-forwarded-for", "x-real-ip")
HOSTS: Final = ("x-forwarded-host",)
FORWARDED: Final = "forwarded"  # RFC 7239
SIGNS: Final = (*CLIENTS, *HOSTS, FORWARDED, "x-forwarded-proto", "via")


def is_handed_on(head: Headers) -> bool:
    """Return whether a proxy asks, for somebody who may be elsewhere.

    One that a developer has on the same machine names addresses of loopback alone. One that says
    for nobody whom it asks may ask for anybody.
    """
    if not any(name in head for name in SIGNS):
        return False
    clients, others = list(_named(head, CLIENTS, "for")), _named(head, HOSTS, "host", "by")
    return not (clients and all(map(_is_here, clients)) and all(map(_is_here, others)))


def _named(head: Headers, names: tuple[str, ...], *keys: str) -> Iterator[str]:
    """Yield what is named in a list of headers, and under keys of `Forwarded`."""
    for name in names:
        yield from ",".join(head.getlist(name)).split(",") if name in head else ()
    for each in ",".join(head.getlist(FORWARDED)).replace(";", ",").split(","):
        key, _, value = each.partition("=")
        if key.strip().lower() in keys:
            yield value.strip().strip('"')


def _is_here(named: str) -> bool:
    """Return whether an address, with or without a port, or a name is this machine's own."""
    try:
        address = ipaddress.ip_address(named.strip())
    except ValueError:
        return names_loopback(named.strip())
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
