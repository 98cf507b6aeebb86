"""Where Exotel comes in: the media socket of its Voicebot applet, and nothing else.

No webhook precedes it and nothing is signed. What proves the carrier is the name and password that
the applet's own address holds (`wss://KEY:TOKEN@…`), or where the connection comes from.
"""

import base64
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, WebSocket
from pydantic import SecretStr

from bot.house.house import HeldSeat
from bot.http.door_frame import DoorFrame
from bot.http.media_door import TRY_LATER, MediaDoor
from bot.http.token_desk import AdmittedStream
from calls.events import CallRefused, InputRefused
from transports.media_stream.exotel import EXOTEL
from transports.media_stream.leg import CarriedCall
from transports.media_stream.messages import POLICY, Refusal, Started

MEDIA_PATH: Final = "/exotel/media"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelProof:
    """What a handshake must show: the pair, where there is one, or else a known address."""

    key: SecretStr | None = None
    token: SecretStr | None = None
    addresses: Sequence[str] = ()

    def holds(self, authorization: str, address: str) -> bool:
        """Return whether a handshake shows enough."""
        if self.key and self.token:
            pair = f"{self.key.get_secret_value()}:{self.token.get_secret_value()}"
            right = "Basic " + base64.b64encode(pair.encode()).decode()
            if not hmac.compare_digest(authorization.encode(), right.encode()):
                return False
            return not self.addresses or self._is_near(address)
        return self._is_near(address)

    def _is_near(self, address: str) -> bool:
        try:
            host = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(host in ipaddress.ip_network(each) for each in self.addresses)


def exotel_router(frame: DoorFrame, *, proof: ExotelProof) -> APIRouter:
    """Return the one route of the Exotel door."""
    door = _ExotelDoor(frame=frame, proof=proof)
    door.sockets = MediaDoor(frame=frame, dialect=EXOTEL, admit=door.admit)
    router = APIRouter()
    router.add_api_websocket_route(MEDIA_PATH, door.media)
    return router


class _ExotelDoor:
    sockets: MediaDoor

    def __init__(self, *, frame: DoorFrame, proof: ExotelProof) -> None:
        self._frame = frame
        self._proof = proof

    async def media(self, websocket: WebSocket) -> None:
        """Let in a handshake that proves the carrier; another one is answered 403."""
        address = websocket.client.host if websocket.client else ""
        if not self._proof.holds(websocket.headers.get("authorization", ""), address):
            self._frame.tell(InputRefused(transport="exotel", reason="wrong_credentials"))
            await websocket.close(POLICY)
            return
        await self.sockets.media(websocket)

    async def admit(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Say whether there is a seat; without one the applet's next step has the caller."""
        admitted = await self._frame.house.admit(started.call_sid)
        if not isinstance(admitted, HeldSeat):
            self._frame.tell(CallRefused(transport="exotel", reason=admitted.reason))
            return Refusal(reason="no_seat", close_code=TRY_LATER)
        call = CarriedCall(call_ref=started.call_sid, caller=started.caller, called=started.called)
        return AdmittedStream(call=call, seat=admitted.seat)
