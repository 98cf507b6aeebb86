"""ICE restarts (RFC 8445, section 2.4): a new path between two connected ends.

aiortc accepts a browser's second offer, but keeps the names, passwords and addresses of the first
one, so none of the browser's new checks is answered. A restart changes them in the existing
connection: sound uses the old path until the browser has chosen a new one, and encryption, tracks
and data channel are not affected.
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
GATHER_S: Final = 1  # for a STUN or TURN server's answer; the caller waits this long
PART_S: Final = 1.0
RELAY: Final = "_TurnTransport__inner_protocol"
UFRAG: Final = re.compile(r"^a=ice-ufrag:(\S{4,256})\s*$", re.MULTILINE)
PASSWORD: Final = re.compile(r"^a=ice-pwd:(\S{22,256})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class IceNames:
    """The names of one end in its connectivity checks."""

    username: str
    password: str


def names_in(sdp: str) -> IceNames | None:
    """Return the names in an offer; all its media share them."""
    username, password = UFRAG.search(sdp), PASSWORD.search(sdp)
    return IceNames(username[1], password[1]) if username and password else None


def transports_of(line: RTCPeerConnection) -> set[RTCIceTransport]:
    """Return a peer connection's ICE transports: one if all media are bundled."""
    found = {
        gettransceiver.receiver.transport.transport for gettransceiver in line.getTransceivers()
    }
    return found | ({line.sctp.transport.transport} if line.sctp else set())


def make_quick(way: RTCIceTransport) -> None:
    """Avoid delays for the caller; call before the transport gathers its addresses."""
    connection = way._connection  # noqa: SLF001 - aiortc hands nothing through
    # aioice gives a STUN or TURN server 5 s: a dead one would delay every call by that.
    look = partial(connection.get_component_candidates, timeout=GATHER_S)
    connection.get_component_candidates = look  # type: ignore[method-assign]
    answer = partial(_check_at_once, connection, connection.check_incoming, set())
    connection.check_incoming = answer  # type: ignore[method-assign]


def _check_at_once(
    connection: ice.Connection,
    take: Callable[[stun.Message, tuple[str, int], ice.StunProtocol], None],
    again: set[int],
    message: stun.Message,
    address: tuple[str, int],
    protocol: ice.StunProtocol,
) -> None:
    """Answer the other end's check with our own check once, even if one is already pending.

    The pending one may have been lost before the other end's relay let us through, and would be
    repeated after 0.5, 1.5 and 3.5 s. RFC 8445, 7.3.1.4, requires this; aioice leaves it out.
    """
    known = connection._remote_candidates  # noqa: SLF001 - aioice adds each new address for ever
    if len(known) >= MAX_ADDRESSES and address not in {(item.host, item.port) for item in known}:
        return
    for pair in connection._check_list:  # noqa: SLF001
        theirs = pair.protocol is protocol and pair.remote_addr == address
        task = pair.task if pair.state is ice.CandidatePair.State.IN_PROGRESS else None
        if theirs and task is not None and id(pair) not in again:
            again.add(id(pair))
            task.cancel()
            pair.task = None
            connection.check_state(pair, ice.CandidatePair.State.WAITING)
    take(message, address, protocol)


def part_quickly(way: RTCIceTransport) -> None:
    """Leave a dead relay at once: aioice would keep asking it for a minute."""
    for protocol in way._connection._protocols:  # noqa: SLF001
        if isinstance(protocol.transport, turn.TurnTransport):
            inner = getattr(protocol.transport, RELAY)
            inner.delete = partial(_delete, inner, inner.delete)


async def _delete(inner: Any, delete: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(PART_S):
            await delete()
    except TimeoutError:
        inner.transport.close()  # the server frees it on expiry (RFC 8656, section 6)


async def restart(way: RTCIceTransport, theirs: IceNames) -> None:
    """Replace the other end's old names and addresses, and create new ones for ours."""
    connection = way._connection  # noqa: SLF001 - as above
    for pair in connection._check_list:  # noqa: SLF001
        if pair.task is not None:
            pair.task.cancel()
    connection._check_list.clear()  # noqa: SLF001 - the pair in use stays chosen
    connection._remote_candidates.clear()  # noqa: SLF001
    connection._remote_candidates_end = False  # noqa: SLF001
    way.iceGatherer._remote_candidates_end = False  # noqa: SLF001
    connection.remote_username, connection.remote_password = theirs.username, theirs.password
    connection._local_username = random_string(4)  # noqa: SLF001 - in the answer, as RFC 8839 asks
    connection._local_password = random_string(22)  # noqa: SLF001
    await _look_again(connection)


async def _look_again(connection: ice.Connection) -> None:
    """Add this machine's new addresses.

    A relay in use may be the dead part, so another one is requested. An unused relay is left alone,
    because the browser waits for our answer.
    """
    known = {protocol.local_candidate.host for protocol in connection._protocols}  # noqa: SLF001
    mine = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    new = [host_address for host_address in mine if host_address not in known]
    used = {pair.local_candidate.type for pair in connection._nominated.values()}  # noqa: SLF001
    if new or "relay" in used:
        found = await connection.get_component_candidates(1, new, timeout=GATHER_S)
        connection._local_candidates += found  # noqa: SLF001


def check(way: RTCIceTransport) -> None:
    """Try each untried pair of addresses: the first round of checks has long ended."""
    connection = way._connection  # noqa: SLF001 - as above
    untried = (ice.CandidatePair.State.WAITING, ice.CandidatePair.State.FROZEN)
    for pair in tuple(connection._check_list):  # noqa: SLF001
        if pair.state in untried:
            connection.check_start_task(pair)
