"""Where Plivo comes in: the answer webhook, what follows a stream, and the media socket."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr

from bot.house.house import HeldSeat
from bot.http import plivo_signature
from bot.http.media_door import Admitted, DoorFrame, MediaDoor
from bot.http.twilio_tokens import Ticket, Tokens
from bot.http.webhook import read_body, read_form, refuse
from calls.events import CallRefused
from transports.media_stream.leg import CarriedCall
from transports.media_stream.messages import POLICY, Refusal, Started, is_id
from transports.media_stream.plivo import CONTENT_TYPES, PLIVO
from transports.plivo_rest import PlivoRest

VOICE_PATH: Final = "/plivo/voice"
AFTER_PATH: Final = "/plivo/after"
MEDIA_PATH: Final = "/plivo/media"
BUSY: Final = '<Hangup reason="busy"/>'
OVER: Final = "<Hangup/>"


def plivo_router(
    frame: DoorFrame, *, auth_token: SecretStr, rest: PlivoRest, content_type: str
) -> APIRouter:
    """Return the routes of the Plivo door.

    Args:
        frame: What the house offers.
        auth_token: Of the account, which signs webhooks.
        rest: Where calls are ended.
        content_type: In which sound is to come and go, as Plivo names it.
    """
    door = _PlivoDoor(
        frame=frame, auth_token=auth_token, content_type=content_type, tokens=Tokens(frame.house)
    )
    codec = CONTENT_TYPES[content_type]
    media = MediaDoor(frame=frame, dialect=PLIVO, admit=door.admit, ours=codec, control=rest)
    router = APIRouter()
    router.add_api_route(VOICE_PATH, door.voice, methods=["POST"])
    router.add_api_route(AFTER_PATH, door.after, methods=["POST"])
    router.add_api_websocket_route(MEDIA_PATH, media.media)
    return router


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlivoDoor:
    frame: DoorFrame
    auth_token: SecretStr
    content_type: str
    tokens: Tokens

    async def voice(self, request: Request) -> Response:
        """Answer Plivo's question what to do with a call."""
        form = await self._form(request, VOICE_PATH)
        return form if isinstance(form, Response) else await self._stream(form)

    async def after(self, request: Request) -> Response:
        """Answer what follows a stream that is over: the end of the call."""
        form = await self._form(request, AFTER_PATH)
        return form if isinstance(form, Response) else _xml(OVER)

    async def _form(self, request: Request, path: str) -> Mapping[str, str] | Response:
        body = await read_body(request)
        if body is None:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return self._refuse("webhook_too_big_or_too_slow", status)
        form = read_form(body)
        if form is None:
            return self._refuse("webhook_is_no_form", HTTPStatus.BAD_REQUEST)
        if not self._is_signed(request, path, form):
            return self._refuse("wrong_signature", HTTPStatus.FORBIDDEN)
        if not is_id(form.get("CallUUID")) or not form["CallUUID"]:
            return self._refuse("webhook_without_call_id", HTTPStatus.BAD_REQUEST)
        return form

    def _is_signed(self, request: Request, path: str, form: Mapping[str, str]) -> bool:
        nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
        if not nonce or len(nonce) > plivo_signature.MOST_NONCE_CHARS:
            return False
        url = f"{self.frame.public_url}{path}"
        text = plivo_signature.signed_text(url, request.url.query, form, nonce)
        proofs = request.headers.get("x-plivo-signature-v3", "")
        return plivo_signature.is_signed(self.auth_token.get_secret_value(), text, proofs)

    def _refuse(self, reason: str, status: HTTPStatus) -> Response:
        return refuse(self.frame.tell, "plivo", reason, status)

    async def _stream(self, form: Mapping[str, str]) -> Response:
        call_ref = form["CallUUID"]
        admitted = await self.frame.house.admit(call_ref)
        if not isinstance(admitted, HeldSeat):
            self.frame.tell(CallRefused(transport="plivo", reason=admitted.reason))
            return _xml(BUSY)
        caller, called = form.get("From", ""), form.get("To", "")
        ticket = Ticket(call_sid=call_ref, caller=caller, called=called, seat=admitted.seat)
        return _xml(self._verbs(await self.tokens.issue(ticket, now=self.frame.clock())))

    def _verbs(self, token: str) -> str:
        """Return a stream that the call outlives, and whom to ask what follows it."""
        said = (
            f'<Stream bidirectional="true" keepCallAlive="true" audioTrack="inbound"'
            f' contentType={quoteattr(self.content_type)} extraHeaders="token={token}">'
            f"{escape(self.frame.socket_url(MEDIA_PATH))}</Stream>"
        )
        after = escape(f"{self.frame.public_url}{AFTER_PATH}")
        return f'{said}<Redirect method="POST">{after}</Redirect>'

    async def admit(self, started: Started, _: WebSocket) -> Admitted | Refusal:
        """Say whose stream begins so: its token was given to Plivo for one call."""
        token = started.parameters.get("token", "")
        ticket = await self.tokens.redeem(token, call_sid=started.call_sid, now=self.frame.clock())
        if isinstance(ticket, str):
            return Refusal(reason=ticket, close_code=POLICY)
        call = CarriedCall(call_ref=ticket.call_sid, caller=ticket.caller, called=ticket.called)
        return Admitted(call=call, seat=ticket.seat)


def _xml(verbs: str) -> Response:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return Response(f"{head}<Response>{verbs}</Response>", media_type="text/xml")
