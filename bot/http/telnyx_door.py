"""Where Telnyx comes in: the Call Control webhook and the media socket."""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Request, Response, WebSocket

from bot.house.house import HeldSeat
from bot.http import telnyx_signature
from bot.http.media_door import Admitted, DoorFrame, MediaDoor
from bot.http.twilio_tokens import Ticket, Tokens
from bot.http.webhook import read_body, refuse
from calls.events import CallRefused, ProviderFailed
from transports.media_stream.codec import Codec
from transports.media_stream.leg import CarriedCall
from transports.media_stream.messages import POLICY, Refusal, Started, is_id, part, text
from transports.media_stream.telnyx import CODECS, MAX_REF_CHARS, TELNYX
from transports.telnyx_rest import NO_ANSWER, TelnyxRest

VOICE_PATH: Final = "/telnyx/voice"
MEDIA_PATH: Final = "/telnyx/media"
TOKEN_HEADER: Final = "x-telnyx-streaming-auth-token"  # noqa: S105 - a header's name
OK: Final = Response(status_code=HTTPStatus.OK)


def telnyx_router(
    frame: DoorFrame,
    *,
    key: Ed25519PublicKey,
    rest: TelnyxRest,
    utc_s: Callable[[], float],
) -> APIRouter:
    """Return the routes of the Telnyx door.

    Args:
        frame: What the house offers.
        key: The account's public one, which checks webhooks.
        rest: Where calls are answered, streamed and ended.
        utc_s: Seconds since 1970: webhooks are signed with the time of day.
    """
    door = _TelnyxDoor(frame=frame, key=key, rest=rest, utc_s=utc_s, tokens=Tokens(frame.house))
    media = MediaDoor(
        frame=frame, dialect=TELNYX, admit=door.admit, ours=_codec(rest), control=rest
    )
    router = APIRouter()
    router.add_api_route(VOICE_PATH, door.voice, methods=["POST"])
    router.add_api_websocket_route(MEDIA_PATH, media.media)
    return router


def _codec(rest: TelnyxRest) -> Codec:
    codec = CODECS[rest.codec]
    return Codec(encoding=codec.encoding, rate_hz=rest.rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TelnyxDoor:
    frame: DoorFrame
    key: Ed25519PublicKey
    rest: TelnyxRest
    utc_s: Callable[[], float]
    tokens: Tokens

    async def voice(self, request: Request) -> Response:
        """Do what Telnyx's news of a call asks for."""
        body = await read_body(request)
        if body is None:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return refuse(self.frame.tell, "telnyx", "webhook_too_big_or_too_slow", status)
        trouble = telnyx_signature.trouble(self.key, request.headers, body, now=self.utc_s())
        if trouble is not None:
            return refuse(self.frame.tell, "telnyx", trouble, HTTPStatus.FORBIDDEN)
        event, payload = _read_event(body)
        call_id = payload.get("call_control_id")
        if not is_id(call_id, MAX_REF_CHARS):
            status = HTTPStatus.BAD_REQUEST
            return refuse(self.frame.tell, "telnyx", "webhook_without_call_id", status)
        answers = {"call.initiated": self._ringing, "call.answered": self._answered}
        return await answers[event](call_id, payload) if event in answers else OK

    async def _ringing(self, call_id: str, payload: dict[str, Any]) -> Response:
        if payload.get("direction") != "incoming":
            return OK
        admitted = await self.frame.house.admit(call_id)
        if not isinstance(admitted, HeldSeat):
            self.frame.tell(CallRefused(transport="telnyx", reason=admitted.reason))
            return await self._ask("reject", self.rest.reject(call_id))
        caller, called = text(payload, "from"), text(payload, "to")
        ticket = Ticket(call_sid=call_id, caller=caller, called=called, seat=admitted.seat)
        token = await self.tokens.issue(ticket, now=self.frame.clock())
        return await self._ask("answer", self.rest.pick_up(call_id, token=token))

    async def _answered(self, call_id: str, payload: dict[str, Any]) -> Response:
        token = _token(payload.get("client_state"))
        if not token:
            return OK  # a call that somebody else answered
        url = self.frame.socket_url(MEDIA_PATH)
        asked = self.rest.start_stream(call_id, url=url, token=token)
        return await self._ask("streaming_start", asked)

    async def _ask(self, command: str, asked: Awaitable[int]) -> Response:
        """Return what Telnyx is told: to ask us again when it was its own side that failed."""
        status = await asked
        if status == HTTPStatus.OK:
            return OK
        error = f"{command} answered {status}" if status else f"{command} not answered"
        self.frame.tell(ProviderFailed(stage="transport", provider="telnyx", error=error))
        passes = status in (NO_ANSWER, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE) if passes else OK

    async def admit(self, started: Started, websocket: WebSocket) -> Admitted | Refusal:
        """Say whose stream begins so: its token was given to Telnyx for one call."""
        token = started.parameters.get("token") or websocket.headers.get(TOKEN_HEADER, "")
        ticket = await self.tokens.redeem(token, call_sid=started.call_sid, now=self.frame.clock())
        if isinstance(ticket, str):
            return Refusal(reason=ticket, close_code=POLICY)
        call = CarriedCall(call_ref=ticket.call_sid, caller=ticket.caller, called=ticket.called)
        return Admitted(call=call, seat=ticket.seat)


def _read_event(body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return "", {}
    data = part(told, "data") if isinstance(told, dict) else {}
    return text(data, "event_type"), part(data, "payload")


def _token(client_state: object) -> str:
    try:
        return base64.b64decode(str(client_state or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
