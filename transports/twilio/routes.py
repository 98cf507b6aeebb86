"""Twilio's routes: its webhooks and the media socket."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import VoiceResponse

from calls.leg_progress import OUTCOMES, StatusCallback
from transports.announcements import Announcement
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Refusal, Started
from transports.media_stream.sockets import MediaSockets
from transports.media_stream.tokens import (
    AdmittedStream,
    Instructions,
    StreamPass,
    StreamTokens,
    reply,
)
from transports.media_stream.webhooks import (
    MAX_WORD_CHARS,
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
        call_ref=form["CallSid"][:MAX_WORD_CHARS],
        ref=ref,
        status=form.get("CallStatus", ""),
        sip_code=int(sip) if _is_number(sip) else None,
        answered_by=form.get("AnsweredBy", "")[:MAX_WORD_CHARS],
        judged_after_s=int(judged) * _MILLISECOND if _is_number(judged) else 0.0,
        reason=form.get("ErrorCode", "")[:MAX_WORD_CHARS],
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


class TwilioRoutes:
    """Twilio's webhooks and media socket.

    Attributes:
        router: To be included in the application.

    Args:
        host: The server's functions. Signatures are checked for its addresses, because a proxy may
            have changed the URL of a request.
        auth_token: The account's primary token, with which Twilio signs webhooks.
        rest: Twilio's API, which ends calls; `None` to close the socket instead.
        patience: How long the agent waits for a lost line.
        people: Calls people for transfers; their streams arrive here, too.
    """

    def __init__(
        self,
        host: CarrierHost,
        *,
        auth_token: SecretStr,
        rest: TwilioRest | None = None,
        patience: LinePatience | None = None,
        people: TwilioPeople | None = None,
    ) -> None:
        """Register three signed webhooks and the media socket in `router`; start nothing."""
        self._host, self._people = host, people
        self._validator = RequestValidator(auth_token.get_secret_value())
        self._tokens = StreamTokens(host, "twilio", patience or LinePatience())
        self._progress = StatusCallbacks(host, "twilio")
        self.router = APIRouter()
        Webhooks("twilio", host.emit).add_forms(
            self.router,
            {
                VOICE_PATH: self._answer_new_call,
                AFTER_PATH: self._answer_after_stream,
                STATUS_PATH: self._take_status,
            },
            read=read_form,
            is_signed=self._is_signed,
            call_key="CallSid",
        )
        MediaSockets(
            host=host,
            dialect=TWILIO,
            admit=self._admit_stream,
            streamed_calls=self._tokens.streamed_calls,
            patience=self._tokens.patience,
            control=rest,
            ring=rest.ring if rest and rest.public_url else None,
            is_known=self._is_known,
        ).add_to(self.router, MEDIA_PATH)

    async def _answer_new_call(self, request: Request, form: Form) -> Response:
        """Hold a seat for a new call, and return its instructions."""
        call = call_in(form, call_ref=form["CallSid"], dial_id=dial_id_of(request))
        return self._reply_with(form, await self._tokens.hold_seat(call))

    async def _answer_after_stream(self, _: Request, form: Form) -> Response:
        """Return the instructions for a call whose stream has ended."""
        call = call_in(form, call_ref=form["CallSid"])
        over = form.get("CallStatus", "") in OUTCOMES
        answer = await self._tokens.follow(call, over=over, handed_on=dial_outcome(form))
        return self._reply_with(form, answer)

    async def _take_status(self, request: Request, form: Form) -> Response:
        """Take a status callback: progress, machine detection, an answer, or the end of a call.

        An answer of a rung person is a result of the caller's transfer. An end is told to the leg;
        what is stored of the call stays.
        """
        await self._progress.take(twilio_callback(form, ref=dial_id_of(request)))
        if caller := answered_for(form):
            await self._tokens.streamed_calls.find(caller, handed_on="connected")
        if form.get("CallStatus", "") in OUTCOMES:
            await self._tokens.streamed_calls.find(form["CallSid"], over=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _admit_stream(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Admit a new stream by its token: of a person that we called, or of a caller."""
        token = started.parameters.get("token", "")
        if self._people is None or token not in self._people.ringing:
            return await self._tokens.admit(started, token)
        taker = partial(self._people.take, token, started)
        return AdmittedStream(call=CarriedCall(call_ref=started.call_sid), seat=0, taker=taker)

    def _is_known(self, websocket: WebSocket) -> bool:
        """Return whether Twilio signed the handshake, for the URL in the TwiML.

        Otherwise it is accepted, too, because a proxy may have removed the header, but other
        clients may displace it. A slash after the path, which some deployments have seen, is
        accepted.
        """
        signature = websocket.headers.get("x-twilio-signature", "")
        url = self._host.socket_url(MEDIA_PATH, websocket.path_params.get("worker") or "")
        return bool(signature) and any(
            self._validator.validate(item, {}, signature) for item in (url, f"{url}/")
        )

    def _is_signed(self, request: Request, path: str, form: Form) -> bool:
        """Return whether Twilio signed a form, for any of the addresses that lead to us."""
        return is_signed(
            self._validator,
            form,
            addresses=self._host.addresses_for(request.scope),
            path=path,
            query=request.url.query,
            signature=request.headers.get("x-twilio-signature", ""),
        )

    def _reply_with(self, form: Form, answer: Instructions) -> Response:
        """Return the TwiML of an answer to a webhook; an ended call is told to hang up."""
        over = VoiceResponse()
        over.hangup()
        return reply(
            answer,
            stream=self._twiml_to_stream,
            say=self._twiml_to_say,
            busy=busy_twiml(form),
            over=str(over),
        )

    def _twiml_to_say(self, announced: Announcement) -> str:
        """Return TwiML that says a sentence; then Twilio asks again, or the call ends."""
        answer = VoiceResponse()
        answer.say(announced.text, language=announced.language)
        if announced.asks_again:
            answer.redirect(f"{self._host.public_url}{AFTER_PATH}", method="POST")
        else:
            answer.hangup()
        return str(answer)

    def _twiml_to_stream(self, admitted: StreamPass) -> str:
        """Return TwiML that opens a stream, at the pass's worker if it names one."""
        url = self._host.socket_url(MEDIA_PATH, admitted.worker)
        return stream_twiml(url, admitted.token, action=f"{self._host.public_url}{AFTER_PATH}")
