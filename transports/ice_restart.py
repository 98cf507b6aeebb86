"""ICE restarts (RFC 8445, section 2.4): a new way between two ends that are talking already.

aiortc takes a browser's second offer, but goes on with the names, passwords and addresses of the
first one, so none of the browser's new checks is answered. A restart changes them in the connection
that there is: sound goes the old way until the browser has chosen a new one, and encryption, tracks
and data channel notice nothing.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from aioice import ice
from aioice.utils import random_string
from aiortc import RTCIceTransport, RTCPeerConnection

GATHER_S: Final = 1.0  # for what a STUN or TURN server answers; the first ringing waits as long
UFRAG: Final = re.compile(r"^a=ice-ufrag:(\S{4,256})\s*$", re.MULTILINE)
PASSWORD: Final = re.compile(r"^a=ice-pwd:(\S{22,256})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class IceNames:
    """By what one end of a connection is known in its checks."""

    username: str
    password: str


def names_in(sdp: str) -> IceNames | None:
    """Return the names in an offer; all its media share them."""
    username, password = UFRAG.search(sdp), PASSWORD.search(sdp)
    return IceNames(username[1], password[1]) if username and password else None


def transports_of(line: RTCPeerConnection) -> set[RTCIceTransport]:
    """Return a peer connection's ways to the other end: one, where all media are bundled."""
    found = {each.receiver.transport.transport for each in line.getTransceivers()}
    return found | ({line.sctp.transport.transport} if line.sctp else set())


def wait_briefly(way: RTCIceTransport) -> None:
    """Have a way's first look for addresses of its own wait no longer than a caller does.

    aioice gives a STUN or TURN server 5 s to answer: one that is down would cost every call that.
    """
    connection = way._connection  # noqa: SLF001 - aiortc hands nothing through
    look = partial(connection.get_component_candidates, timeout=GATHER_S)
    connection.get_component_candidates = look  # type: ignore[method-assign]


async def restart(way: RTCIceTransport, theirs: IceNames) -> None:
    """Forget the other end's old names and addresses, and take names and addresses anew."""
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
    """Add the addresses that this machine has got meanwhile.

    A relay that we speak through may be what died, and another one is asked for; one that we do not
    use is left alone, for the browser waits for our answer.
    """
    known = {each.local_candidate.host for each in connection._protocols}  # noqa: SLF001
    mine = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    new = [each for each in mine if each not in known]
    used = {pair.local_candidate.type for pair in connection._nominated.values()}  # noqa: SLF001
    if new or "relay" in used:
        found = await connection.get_component_candidates(1, new, timeout=int(GATHER_S))
        connection._local_candidates += found  # noqa: SLF001


def check(way: RTCIceTransport) -> None:
    """Try each pair of addresses that was not tried: the first round of checks is long over."""
    connection = way._connection  # noqa: SLF001 - as above
    untried = (ice.CandidatePair.State.WAITING, ice.CandidatePair.State.FROZEN)
    for pair in tuple(connection._check_list):  # noqa: SLF001
        if pair.state in untried:
            connection.check_start_task(pair)
