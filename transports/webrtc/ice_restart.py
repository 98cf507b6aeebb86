"""ICE restarts (RFC 8445, section 2.4): a new path between two connected ends.

aiortc accepts a second offer of a browser, but keeps the names, passwords and addresses of the
first one, so that it does not respond to the browser's new checks. A restart replaces them in the
existing connection. Sound uses the old path until the browser has chosen a new one. Encryption,
tracks and the data channel stay as they are.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aioice import ice, stun, turn
from aioice.utils import random_string
from aiortc import RTCIceTransport, RTCPeerConnection

MAX_ADDRESSES: Final = 64  # of the other end; a browser with several networks has a dozen
GATHER_S: Final = 1  # for a STUN or TURN server's response; the caller waits this long
PART_S: Final = 1.0
RELAY: Final = "_TurnTransport__inner_protocol"
UFRAG: Final = re.compile(r"^a=ice-ufrag:(\S{4,256})\s*$", re.MULTILINE)
PASSWORD: Final = re.compile(r"^a=ice-pwd:(\S{22,256})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class IceNames:
    """The name and password of one end for connectivity checks."""

    username: str
    password: str


def names_in(sdp: str) -> IceNames | None:
    """Return the names in an offer, which all its media share; `None` if it has none."""
    username, password = UFRAG.search(sdp), PASSWORD.search(sdp)
    return IceNames(username[1], password[1]) if username and password else None


def transports_of(line: RTCPeerConnection) -> set[RTCIceTransport]:
    """Return the ICE transports of a peer connection; there is one if all media are bundled."""
    found = {transceiver.receiver.transport.transport for transceiver in line.getTransceivers()}
    return found | ({line.sctp.transport.transport} if line.sctp else set())


def make_quick(transport: RTCIceTransport) -> None:
    """Avoid delays for the caller: limit the wait for servers, and repeat lost checks at once.

    To be called once, before the transport gathers its addresses.
    """
    connection = transport._connection  # noqa: SLF001 - aiortc has no public way
    # aioice waits 5 s for a STUN or TURN server, so a dead one would delay every call.
    gather = partial(connection.get_component_candidates, timeout=GATHER_S)
    connection.get_component_candidates = gather  # type: ignore[method-assign]
    take_check = partial(_check_at_once, connection, connection.check_incoming, set())
    connection.check_incoming = take_check  # type: ignore[method-assign]


def _check_at_once(
    connection: ice.Connection,
    take: Callable[[stun.Message, tuple[str, int], ice.StunProtocol], None],
    repeated: set[int],
    message: stun.Message,
    address: tuple[str, int],
    protocol: ice.StunProtocol,
) -> None:
    """Take a check of the other end; send our own for that pair, once even if one is pending.

    The pending check may have been lost before the other end's relay let us through. It would be
    repeated only after 0.5, 1.5 and 3.5 s. RFC 8445, 7.3.1.4, requires a new one at once; aioice
    does not send it.
    """
    known = connection._remote_candidates  # noqa: SLF001 - aioice never removes an address
    if len(known) >= MAX_ADDRESSES and address not in {(item.host, item.port) for item in known}:
        return
    for pair in connection._check_list:  # noqa: SLF001
        theirs = pair.protocol is protocol and pair.remote_addr == address
        task = pair.task if pair.state is ice.CandidatePair.State.IN_PROGRESS else None
        if theirs and task is not None and id(pair) not in repeated:
            repeated.add(id(pair))
            task.cancel()
            pair.task = None
            connection.check_state(pair, ice.CandidatePair.State.WAITING)
    take(message, address, protocol)


def part_quickly(transport: RTCIceTransport) -> None:
    """Limit the time for leaving a relay: aioice would ask a dead one for a minute."""
    for protocol in transport._connection._protocols:  # noqa: SLF001
        if isinstance(protocol.transport, turn.TurnTransport):
            inner = getattr(protocol.transport, RELAY)
            inner.delete = partial(_leave_relay, inner, inner.delete)


async def _leave_relay(inner: Any, delete: Callable[[], Awaitable[None]]) -> None:
    """Leave a relay; after `PART_S` without its answer, only close our socket."""
    try:
        async with asyncio.timeout(PART_S):
            await delete()
    except TimeoutError:
        inner.transport.close()  # the server frees its part later (RFC 8656, section 6)


async def restart(transport: RTCIceTransport, theirs: IceNames) -> None:
    """Forget the other end's addresses, set its new names, and create new names for our end."""
    connection = transport._connection  # noqa: SLF001 - as above
    for pair in connection._check_list:  # noqa: SLF001
        if pair.task is not None:
            pair.task.cancel()
    connection._check_list.clear()  # noqa: SLF001 - the pair in use stays chosen
    connection._remote_candidates.clear()  # noqa: SLF001
    connection._remote_candidates_end = False  # noqa: SLF001
    transport.iceGatherer._remote_candidates_end = False  # noqa: SLF001
    connection.remote_username, connection.remote_password = theirs.username, theirs.password
    connection._local_username = random_string(4)  # noqa: SLF001 - RFC 8839 requires new names
    connection._local_password = random_string(22)  # noqa: SLF001
    await _gather_again(connection)


async def _gather_again(connection: ice.Connection) -> None:
    """Add new addresses of this machine, and a new relay if one is in use.

    A relay in use may be the reason for the restart. Without one, and without new addresses, no
    server is asked, because the browser waits for our answer.
    """
    used_hosts = {protocol.local_candidate.host for protocol in connection._protocols}  # noqa: SLF001
    hosts = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    new = [host for host in hosts if host not in used_hosts]
    used_types = {pair.local_candidate.type for pair in connection._nominated.values()}  # noqa: SLF001
    if new or "relay" in used_types:
        found = await connection.get_component_candidates(1, new, timeout=GATHER_S)
        connection._local_candidates += found  # noqa: SLF001


def try_untried_pairs(transport: RTCIceTransport) -> None:
    """Try each untried pair of addresses, because aioice's own round of checks has ended."""
    connection = transport._connection  # noqa: SLF001 - as above
    untried = (ice.CandidatePair.State.WAITING, ice.CandidatePair.State.FROZEN)
    for pair in tuple(connection._check_list):  # noqa: SLF001
        if pair.state in untried:
            connection.check_start_task(pair)
