"""Twilio's routes: its webhooks and the media socket."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from bot import clock
from bot.call.briefs import Briefs
from bot.config.settings import Settings
from bot.server.carrier_door import (
    MOST_WORD_CHARS,
    DoorFrame,
    StatusCallbacks,
    elsewhere,
    read_body,
    refuse,
    socket_url,
)
from bot.server.media_door import MediaDoor, unbriefed
from bot.server.stream_tokens import AdmittedStream, StreamPass, StreamTokens, TurnedAway
from bot.server.twilio_people import TwilioPeople
from bot.workers.pool import WorkerPool
from bot.workers.process import Process
from calls.leg_progress import OUTCOMES, StatusCallback
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Refusal, Started
from transports.twilio.calls import AFTER_PATH, STATUS_PATH, TwilioRest, answered_for, dial_outcome
from transports.twilio.dialect import TWILIO
from transports.twilio.leg import TwilioLeg
from transports.twilio.webhook import (
    VOICE_PATH,
    Form,
    busy_twiml,
    is_outbound,
    is_signed,
    read_form,
)

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
        ref=ref[:MOST_WORD_CHARS],
        status=form.get("CallStatus", ""),
        sip_code=int(sip) if _is_number(sip) else None,
        answered_by=form.get("AnsweredBy", "")[:MOST_WORD_CHARS],
        judged_after_s=int(judged) * _MILLISECOND if _is_number(judged) else 0.0,
        reason=form.get("ErrorCode", "")[:MOST_WORD_CHARS],
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


MEDIA_PATH: Final = "/twilio/media"
MOST_REF_CHARS: Final = 64  # of our dial id


def twilio_router(
    frame: DoorFrame,
    *,
    auth_token: SecretStr,
    rest: TwilioRest | None = None,
    patience: LinePatience | None = None,
    people: TwilioPeople | None = None,
    briefs: Briefs | None = None,
) -> APIRouter:
    """Return Twilio's routes.

    Args:
        frame: Dependencies of the routes; signatures are checked for its address, whatever a proxy
            changed in the request.
        auth_token: The account's primary token, which signs the webhooks.
        rest: Twilio's API, which ends calls; `None` to close the socket instead.
        patience: How long a lost line is waited for.
        people: Calls to people, whose streams arrive here too.
        briefs: Instructions of agents for campaign calls.
    """
    desk = StreamTokens(frame, "twilio", patience or LinePatience())
    door = _TwilioDoor(
        frame=frame,
        validator=RequestValidator(auth_token.get_secret_value()),
        desk=desk,
        rest=rest,
        people=people,
        briefs=briefs,
        progress=frame.status_callbacks("twilio"),
    )
    return _routes(door)


def _routes(door: "_TwilioDoor") -> APIRouter:
    media = MediaDoor(
        frame=door.frame,
        dialect=TWILIO,
        admit=door.admit,
        returns=door.desk.returns,
        is_known=door.is_known,
        new_leg=door.new_leg,
        why_not=unbriefed(door.briefs),
    )
    router = APIRouter()
    router.add_api_route(VOICE_PATH, door.voice, methods=["POST"])
    router.add_api_route(AFTER_PATH, door.after, methods=["POST"])
    router.add_api_route(STATUS_PATH, door.status, methods=["POST"])
    router.add_api_websocket_route(MEDIA_PATH, media.media)
    router.add_api_websocket_route(MEDIA_PATH + "/{worker}", media.media)
    return router


@dataclass(frozen=True, slots=True, kw_only=True)
class _TwilioDoor:
    frame: DoorFrame
    validator: RequestValidator
    desk: StreamTokens
    rest: TwilioRest | None
    people: TwilioPeople | None
    briefs: Briefs | None
    progress: StatusCallbacks

    async def voice(self, request: Request) -> Response:
        """Answer what to do with a call."""
        form = await self._form(request, VOICE_PATH)
        if isinstance(form, Response):
            return form
        dial_id = request.query_params.get("dial", "")[:MOST_REF_CHARS]
        return self._what_next(form, await self.desk.begin(_call(form, dial_id=dial_id)))

    async def after(self, request: Request) -> Response:
        """Answer what to do with a call whose stream has ended."""
        form = await self._form(request, AFTER_PATH)
        if isinstance(form, Response):
            return form
        over = form.get("CallStatus", "") in OUTCOMES
        given = await self.desk.follow(_call(form), over=over, handed_on=dial_outcome(form))
        return self._what_next(form, given)

    async def status(self, request: Request) -> Response:
        """Take a status callback: progress, machine detection, the end."""
        form = await self._form(request, STATUS_PATH)
        if isinstance(form, Response):
            return form
        await self.progress.take(twilio_callback(form, ref=request.query_params.get("dial", "")))
        if caller := answered_for(form):
            await self.desk.returns.find(caller, handed_on="connected")
        if form.get("CallStatus", "") in OUTCOMES:
            await self.desk.returns.find(form["CallSid"], over=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def admit(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Return the call of a new stream: that of a called person, or of a call with a token."""
        token = started.parameters.get("token", "")
        if self.people is None or token not in self.people.called:
            return await self.desk.admit(started, token)
        taker = partial(self.people.take, token, started)
        return AdmittedStream(call=CarriedCall(call_ref=started.call_sid), seat=0, taker=taker)

    def new_leg(self, websocket: WebSocket, started: Started, call: CarriedCall) -> TwilioLeg:
        """Return the leg of a new call."""
        return TwilioLeg(
            websocket,
            call,
            started.stream_sid,
            tell=self.frame.tell,
            clock=self.frame.clock,
            rest=self.rest,
            patience=self.desk.patience,
        )

    def is_known(self, websocket: WebSocket) -> bool:
        """Return whether Twilio signed the handshake, for the URL in the TwiML.

        Handshakes without a valid signature wait with the strangers: a proxy may remove the header,
        and some deployments have seen a slash after the path.
        """
        proof = websocket.headers.get("x-twilio-signature", "")
        url = self.frame.socket_url(MEDIA_PATH, websocket.path_params.get("worker") or "")
        return bool(proof) and any(
            self.validator.validate(item, {}, proof) for item in (url, f"{url}/")
        )

    async def _form(self, request: Request, path: str) -> Form | Response:
        """Return the signed form, or the refusal of an unsigned one."""
        body = await read_body(request)
        if body is None:
            return self._refuse("webhook_too_big_or_too_slow", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            form = read_form(body)
        except ValueError:
            return self._refuse("webhook_is_no_form", HTTPStatus.BAD_REQUEST)
        if not self._is_signed(request, path, form):
            return self._refuse("wrong_signature", HTTPStatus.FORBIDDEN)
        if not form.get("CallSid"):
            return self._refuse("webhook_without_call_sid", HTTPStatus.BAD_REQUEST)
        return form

    def _is_signed(self, request: Request, path: str, form: Form) -> bool:
        return is_signed(
            self.validator,
            form,
            addresses=self.frame.addresses,
            path=path,
            query=request.url.query,
            proof=request.headers.get("x-twilio-signature", ""),
        )

    def _what_next(self, form: Form, given: StreamPass | TurnedAway) -> Response:
        match given:
            case StreamPass():
                return _xml(self._connect(given))
            case TurnedAway.LEAVING:
                return elsewhere()
            case TurnedAway.NO_SEAT | TurnedAway.GOES_ON:
                return _xml(busy_twiml(form))
            case TurnedAway.OVER:
                answer = VoiceResponse()
                answer.hangup()
                return _xml(answer)

    def _connect(self, given: StreamPass) -> VoiceResponse:
        """Return TwiML that opens a stream, at one worker if it is named."""
        stream = Stream(url=self.frame.socket_url(MEDIA_PATH, given.worker))
        stream.parameter(name="token", value=given.token)
        connect = Connect(action=f"{self.frame.public_url}{AFTER_PATH}")
        connect.append(stream)
        answer = VoiceResponse()
        answer.append(connect)
        return answer

    def _refuse(self, reason: str, status: HTTPStatus) -> Response:
        return refuse(self.frame.tell, "twilio", reason, status)


def _call(form: Form, *, dial_id: str = "") -> CarriedCall:
    return CarriedCall(
        call_ref=form["CallSid"],
        caller=form.get("From", ""),
        called=form.get("To", ""),
        direction="outbound" if is_outbound(form) else "inbound",
        dial_id=dial_id,
    )


def _xml(answer: VoiceResponse | str) -> Response:
    return Response(str(answer), media_type="text/xml")


def twilio_routers(process: Process, frame: DoorFrame) -> list[APIRouter]:
    """Return Twilio's routes; empty if it is not enabled."""
    settings = process.settings
    twilio = settings.transports.twilio
    if not (twilio.enabled and twilio.auth_token):
        return []
    return [
        twilio_router(
            frame,
            auth_token=twilio.auth_token,
            rest=_rest(settings),
            patience=LinePatience(returns_within_s=twilio.returns_within_s),
            people=_twilio_people(settings, process, frame.pool),
            briefs=process.briefs,
        )
    ]


def _twilio_people(settings: Settings, process: Process, pool: WorkerPool) -> TwilioPeople | None:
    """Return the calls to people through Twilio; `None` without our number or the account's id."""
    twilio, rest = settings.transports.twilio, _rest(settings)
    if rest is None or twilio.number is None:
        return None
    people = TwilioPeople(
        rest=rest,
        our_number=twilio.number,
        socket_url=socket_url(settings.server.public_url, MEDIA_PATH),
        pool=pool,
        tell=process.switchboard.tell,
        clock=clock.monotonic,
    )
    process.people.add("twilio", people)
    return people


def _rest(settings: Settings) -> TwilioRest | None:
    twilio = settings.transports.twilio
    if not (twilio.account_sid and twilio.auth_token):
        return None  # then a hang-up closes the socket, and the TwiML ends the call
    return TwilioRest(
        public_url=settings.server.public_url.rstrip("/"),
        api_url=twilio.api_url,
        account_sid=twilio.account_sid.get_secret_value(),
        auth_token=twilio.auth_token,
    )
