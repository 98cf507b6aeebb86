"""Cuts the network path between two ends: nothing passes any more, in either direction."""

from typing import Any

from aiortc import RTCPeerConnection

from transports.webrtc.ice_restart import transports_of


def sever(line: RTCPeerConnection) -> None:
    """Drop everything to and from the other end's current addresses.

    A changed network looks like this: only packets from a new address arrive again.
    """
    for way in transports_of(line):
        connection = way._connection
        pairs = connection._check_list + list(connection._nominated.values())
        old = {pair.remote_addr for pair in pairs}
        old |= {
            (remote_candidate._network_host, remote_candidate.port)
            for remote_candidate in connection._remote_candidates
        }
        for protocol in connection._protocols:
            _block(protocol, old)


def _block(protocol: Any, old: set[tuple[str, int]]) -> None:
    receive, send = protocol.datagram_received, protocol.transport.sendto

    def received(data: bytes, address: tuple[Any, ...]) -> None:
        if (address[0], address[1]) not in old:
            receive(data, address)

    def sent(data: bytes, address: tuple[Any, ...]) -> None:
        if (address[0], address[1]) not in old:
            send(data, address)

    protocol.datagram_received = received
    protocol.transport = _Leaky(protocol.transport, sent)


class _Leaky:
    """A socket that drops packets to and from some addresses."""

    def __init__(self, transport: Any, sendto: Any) -> None:
        self._transport = transport
        self.sendto = sendto

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
