"""Twilio's routes: its webhooks and the media socket."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import VoiceResponse

from calls.leg_progress import OUTCOMES, StatusCallback
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import MULAW, Refusal, Started
from transports.media_stream.redirected_leg import RedirectedLeg
from transports.media_stream.sockets import MediaSockets
from transports.media_stream.stream import Stream
from transports.media_stream.tokens import (
    AdmittedStream,
    StreamPass,
    StreamTokens,
    TurnedAway,
    reply,
)
from transports.media_stream.webhooks import (
    MOST_WORD_CHARS,
    CarrierHost,
    StatusCallbacks,
    Webhooks,
    call_in,
    dial_id_of,
)
from transports.twilio.dialect import TWILIO
from transports.twilio.people import TwilioPeople, stream_twiml
from transports.twilio.rest import AFTER_PATH, STATUS_PATH, TwilioRest, answered_for, dial_outcome
from transports.twilio.webhook import VOICE_PATH, Form, busy_twiml, is_signed, read_form

MEDIA_PATH: Final = "/twilio/media"
_MILLISECOND: Final = 0.001


def twilio_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return the status in a callback.

    Args:
        form: The signed form.
        ref: Our dial id, from the callback's URL.
    """
    sip, judged = form.get("SipResponseCode", ""), form.get("MachineDetectionDuration", "")
    return StatusCallback(
        call_ref=form["CallSid"][:MOST_WORD_CHARS],
        ref=ref,
        status=form.get("CallStatus", ""),
        sip_code=int(sip) if _is_number(sip) else None,
        answered_by=form.get("AnsweredBy", "")[:MOST_WORD_CHARS],
        judged_after_s=int(judged) * _MILLISECOND if _is_number(judged) else 0.0,
        reason=form.get("ErrorCode", "")[:MOST_WORD_CHARS],
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


def twilio_router(
    host: CarrierHost,
    *,
    auth_token: SecretStr,
    rest: TwilioRest | None = None,
    patience: LinePatience | None = None,
    people: TwilioPeople | None = None,
) -> APIRouter:
    """Return Twilio's routes.

    Args:
        host: The server's side; signatures are checked for its addresses, whatever a proxy changed
            in the request.
        auth_token: The account's primary token, which signs the webhooks.
        rest: Twilio's API, which ends calls; `None` to close the socket instead.
        patience: How long a lost line is waited for.
        people: Calls to people, whose streams arrive here too.
    """
    routes = _TwilioRoutes(
        host=host,
        webhooks=Webhooks("twilio", host.tell),
        validator=RequestValidator(auth_token.get_secret_value()),
        tokens=StreamTokens(host, "twilio", patience or LinePatience()),
        progress=StatusCallbacks(host, "twilio"),
        rest=rest,
        people=people,
    )
    return routes.router()


@dataclass(frozen=True, slots=True, kw_only=True)
class _TwilioRoutes:
    host: CarrierHost
    webhooks: Webhooks
    validator: RequestValidator
    tokens: StreamTokens
    progress: StatusCallbacks
    rest: TwilioRest | None
    people: TwilioPeople | None

    def router(self) -> APIRouter:
        """Return the routes."""
        media = MediaSockets(
            host=self.host,
            dialect=TWILIO,
            admit=self.admit,
            returns=self.tokens.returns,
            new_leg=self.new_leg,
            is_known=self.is_known,
        )
        router = APIRouter()
        router.add_api_route(VOICE_PATH, self.voice, methods=["POST"])
        router.add_api_route(AFTER_PATH, self.after, methods=["POST"])
        router.add_api_route(STATUS_PATH, self.status, methods=["POST"])
        media.add_to(router, MEDIA_PATH)
        return router

    async def voice(self, request: Request) -> Response:
        """Answer what to do with a call."""
        form = await self._form(request, VOICE_PATH)
        if isinstance(form, Response):
            return form
        call = call_in(form, call_ref=form["CallSid"], dial_id=dial_id_of(request))
        return self._reply(form, await self.tokens.begin(call))

    async def after(self, request: Request) -> Response:
        """Answer what to do with a call whose stream has ended."""
        form = await self._form(request, AFTER_PATH)
        if isinstance(form, Response):
            return form
        call = call_in(form, call_ref=form["CallSid"])
        over = form.get("CallStatus", "") in OUTCOMES
        given = await self.tokens.follow(call, over=over, handed_on=dial_outcome(form))
        return self._reply(form, given)

    async def status(self, request: Request) -> Response:
        """Take a status callback: progress, machine detection, the end."""
        form = await self._form(request, STATUS_PATH)
        if isinstance(form, Response):
            return form
        await self.progress.take(twilio_callback(form, ref=dial_id_of(request)))
        if caller := answered_for(form):
            await self.tokens.returns.find(caller, handed_on="connected")
        if form.get("CallStatus", "") in OUTCOMES:
            await self.tokens.returns.find(form["CallSid"], over=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def admit(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Return the call of a new stream: that of a called person, or of a call with a token."""
        token = started.parameters.get("token", "")
        if self.people is None or token not in self.people.called:
            return await self.tokens.admit(started, token)
        taker = partial(self.people.take, token, started)
        return AdmittedStream(call=CarriedCall(call_ref=started.call_sid), seat=0, taker=taker)

    def new_leg(self, websocket: WebSocket, started: Started, call: CarriedCall) -> RedirectedLeg:
        """Return the leg of a new call."""
        return RedirectedLeg(
            websocket,
            call,
            Stream(dialect=TWILIO, stream_id=started.stream_sid, ours=MULAW, theirs=MULAW),
            tell=self.host.tell,
            clock=self.host.clock,
            control=self.rest,
            patience=self.tokens.patience,
            ring=self.rest.ring if self.rest else None,
        )

    def is_known(self, websocket: WebSocket) -> bool:
        """Return whether Twilio signed the handshake, for the URL in the TwiML.

        Handshakes without a valid signature wait with the strangers: a proxy may remove the header,
        and some deployments have seen a slash after the path.
        """
        proof = websocket.headers.get("x-twilio-signature", "")
        url = self.host.socket_url(MEDIA_PATH, websocket.path_params.get("worker") or "")
        return bool(proof) and any(
            self.validator.validate(item, {}, proof) for item in (url, f"{url}/")
        )

    async def _form(self, request: Request, path: str) -> Form | Response:
        """Return the signed form, or the refusal of an unsigned one."""
        form = await self.webhooks.form(
            request,
            read=read_form,
            is_signed=lambda form: is_signed(
                self.validator,
                form,
                addresses=self.host.addresses,
                path=path,
                query=request.url.query,
                proof=request.headers.get("x-twilio-signature", ""),
            ),
        )
        if isinstance(form, Response) or form.get("CallSid"):
            return form
        return self.webhooks.refuse("webhook_without_call_sid", HTTPStatus.BAD_REQUEST)

    def _reply(self, form: Form, given: StreamPass | TurnedAway) -> Response:
        over = VoiceResponse()
        over.hangup()
        return reply(given, stream=self._twiml, busy=busy_twiml(form), over=str(over))

    def _twiml(self, given: StreamPass) -> str:
        """Return TwiML that opens a stream, at one worker if it is named."""
        url = self.host.socket_url(MEDIA_PATH, given.worker)
        return stream_twiml(url, given.token, action=f"{self.host.public_url}{AFTER_PATH}")
