"""Decides to which network addresses of a browser we try to connect.

We send STUN requests to each of these candidates, and an offer may name any address. So the rules
are:

- A candidate must be one that a browser can have: UDP, a port above those of services, and an
  address or a name under `.local`. Multicast, link-local, unspecified and reserved addresses are
  dropped. So are this machine's own, unless the browser runs on it.
- Private addresses and names are tried only for browsers on our networks. Otherwise a stranger
  with a public address could probe our network.
- Of one offer, at most `MAX_CANDIDATES` are tried, with at most `MAX_PUBLIC` different public
  addresses. Otherwise a stranger could make us send requests to many hosts.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

MAX_CANDIDATES: Final = 24  # between two offers; a browser with several networks has a dozen
MAX_PUBLIC: Final = 6  # a browser has one for each network, IPv6 address and relay
FIRST_PORT: Final = 1024  # those below belong to services (RFC 6335)
LAST_PORT: Final = 65535
TYPES: Final = ("host", "srflx", "prflx", "relay")
ON_LINK: Final = re.compile(r"[\w-]{1,63}\.local\.?", re.ASCII | re.IGNORECASE)  # RFC 6762
MARK: Final = "a=candidate:"


def is_on_our_networks(address: str) -> bool:
    """Return whether an address is not a public one."""
    try:
        return not ip_address(address).is_global
    except ValueError:
        return False


def is_on_this_machine(address: str) -> bool:
    """Return whether an address is loopback."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


class CandidateFilter:
    """Chooses the candidates of one browser.

    Attributes:
        excess: How many were dropped only because of a limit on their number.
    """

    def __init__(self, *, allows_private: bool, allows_loopback: bool = False) -> None:
        """Start without candidates.

        Args:
            allows_private: Whether the browser may be on one of our networks.
            allows_loopback: Whether the browser runs on this machine.
        """
        self._allows_loopback = allows_loopback
        self.excess = 0
        self._allows_private = allows_private
        self.renew()

    def renew(self) -> None:
        """Start again, for another offer; `excess` goes on."""
        self._left = MAX_CANDIDATES
        self._public: set[IPv4Address | IPv6Address] = set()

    def keeps(self, candidate: str) -> bool:
        """Return whether to try a candidate, like `1 1 udp 2130706431 10.0.0.2 50000 typ host`.

        One that is tried counts towards the limits of its offer: ask once for each.
        """
        parts = candidate.split()
        if len(parts) < 8 or not _is_usable(parts) or not self._may_reach(parts[4]):
            return False
        if not self._left or not self._has_room_for(parts[4]):
            self.excess += 1
            return False
        self._left -= 1
        return True

    def without_others(self, sdp: str) -> str:
        """Return an offer (SDP) without the candidates that are not tried; the others count."""
        return "".join(self._kept_lines(sdp))

    def _kept_lines(self, sdp: str) -> Iterator[str]:
        for line in sdp.splitlines(keepends=True):
            if not line.startswith(MARK) or self.keeps(line.removeprefix(MARK)):
                yield line

    def _may_reach(self, host: str) -> bool:
        """Return whether the rules allow an address, or a name under `.local` in our networks."""
        address = _address_of(host)
        if address is None:
            return self._allows_private and bool(ON_LINK.fullmatch(host))
        if address.is_loopback:
            return self._allows_loopback
        return not _is_special(address) and (address.is_global or self._allows_private)

    def _has_room_for(self, host: str) -> bool:
        """Return whether a public address is one of the first `MAX_PUBLIC`, and remember it."""
        address = _address_of(host)
        if address is None or not address.is_global:
            return True
        if address not in self._public and len(self._public) >= MAX_PUBLIC:
            return False
        self._public.add(address)
        return True


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is, or `None` if it is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _is_usable(parts: list[str]) -> bool:
    port = int(parts[5]) if parts[5].isascii() and parts[5].isdigit() else 0
    is_udp = parts[2].lower() == "udp" and parts[1] == "1"
    return is_udp and FIRST_PORT <= port <= LAST_PORT and parts[7] in TYPES


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )
