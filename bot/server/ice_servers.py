"""The configured STUN and TURN servers, as a page takes them and as we do."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiortc import RTCIceServer

from bot.config.settings import IceServer


def for_page(servers: Sequence[IceServer]) -> list[Mapping[str, Any]]:
    """Return them as `RTCPeerConnection` takes them: a caller may use the relay."""
    return [_described(each) for each in servers]


def for_us(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Return them as aiortc takes them; of several it uses the first STUN and the first TURN."""
    return [
        RTCIceServer(urls=[each.url], username=each.username, credential=_credential(each))
        for each in servers
    ]


def _described(server: IceServer) -> Mapping[str, Any]:
    named = {"username": server.username, "credential": _credential(server)}
    return {"urls": [server.url], **{name: value for name, value in named.items() if value}}


def _credential(server: IceServer) -> str | None:
    return server.credential.get_secret_value() if server.credential else None
