"""Where Twilio comes in: its webhooks and the media socket."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Protocol

from fastapi import APIRouter, Request, Response, WebSocket
from loguru import logger
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from bot.call.briefs import Briefs
from bot.call.switchboard import SwitchboardFullError
from bot.house.house import Alone, HeldSeat, House, seated
from bot.http.bounded_socket import BEGUN, FLOOD
from bot.http.twilio_people import TwilioPeople
from bot.http.twilio_returns import MOST_BEGINNINGS, Kept, Returns
from bot.http.twilio_status import Progress
from bot.http.twilio_tokens import LIFE_S, Ticket, Tokens
from calls.entry import Tell
from calls.events import CallFailed, CallRefused, InputRefused
from calls.leg_progress import OUTCOMES
from calls.waiting_room import Guest, WaitingRoom
from transports.leg import Leg
from transports.media_stream.leg import StreamLeg
from transports.media_stream.line import NORMAL, LinePatience, close
from transports.media_stream.messages import POLICY, TOO_BIG, Connected, Refusal, Started
from transports.twilio import TwilioCall, TwilioLeg
from transports.twilio_dial import AFTER_PATH, STATUS_PATH, answered_for, dial_outcome
from transports.twilio_rest import TwilioRest
from transports.twilio_webhook import VOICE_PATH, Form, busy_twiml, is_signed, read_form
from transports.twilio_wire import read

MEDIA_PATH: Final = "/twilio/media"
MAX_FORM_BYTES: Final = 64 * 1024  # a voice webhook has about 1 kB
FORM_S: Final = 5.0
START_S: Final = 2.0  # Twilio sends `connected` and `start` at once
MAX_BEFORE_START: Final = 2  # messages: these two
MOST_REF_CHARS: Final = 64  # of our own id of a dial
MAX_WAITING: Final = 100  # sockets that have not shown a token yet
TRY_LATER: Final = 1013  # IANA websocket close codes: try again later
_ENDS: Final = {TOO_BIG: "message_too_big", FLOOD: "flood_before_start"}  # by the server itself
_NO_START: Final = Refusal(reason="no_start_in_time", close_code=POLICY)
_NO_ROOM: Final = Refusal(reason="too_many_sockets_without_a_start", close_code=TRY_LATER)


class DoorSwitchboard(Protocol):
    """What this door asks of the house."""

    @property
    def open(self) -> bool:
        """Whether a call could be taken now."""
        ...

    @property
    def why_closed(self) -> str:
        """The name of the reason why not."""
        ...

    async def answer(self, leg: Leg) -> None:
        """Run a call on `leg` until it ends; raises `SwitchboardFullError`."""
        ...


def twilio_router(  # noqa: PLR0913 - all that a door asks of the house
    *,
    public_url: str,
    auth_token: SecretStr,
    switchboard: DoorSwitchboard,
    tell: Tell,
    clock: Callable[[], float],
    rest: TwilioRest | None = None,
    house: House | None = None,
    patience: LinePatience | None = None,
    people: TwilioPeople | None = None,
    briefs: Briefs | None = None,
) -> APIRouter:
    """Return the routes of the Twilio door.

    Args:
        public_url: As Twilio was told it: scheme, host and perhaps a path; signatures are checked
            over it, whatever a proxy made of the request.
        auth_token: The account's primary one, which signs the webhooks.
        switchboard: Takes the calls.
        tell: Is told what was refused.
        clock: Monotonic seconds.
        rest: Where hang-ups are asked for; None closes the socket instead.
        house: Holds a seat from the webhook to the stream's end; None: the switchboard alone does.
        patience: How long a line is waited for.
        people: Who is being called for a caller; their streams come here, too.
        briefs: What agents are told who talk with those whom campaigns call.
    """
    house = house or Alone(why_closed=lambda: switchboard.why_closed, clock=clock)
    door = _TwilioDoor(
        public_url=public_url.rstrip("/"),
        validator=RequestValidator(auth_token.get_secret_value()),
        switchboard=switchboard,
        tell=tell,
        clock=clock,
        rest=rest,
        house=house,
        tokens=Tokens(house),
        returns=Returns(house),
        patience=patience or LinePatience(),
        people=people,
        progress=Progress(house=house, tell=tell, clock=clock),
        briefs=briefs,
    )
    router = APIRouter()
    router.add_api_route(VOICE_PATH, door.voice, methods=["POST"])
    router.add_api_route(AFTER_PATH, door.after, methods=["POST"])
    router.add_api_route(STATUS_PATH, door.status, methods=["POST"])
    router.add_api_websocket_route(MEDIA_PATH, door.media)
    router.add_api_websocket_route(MEDIA_PATH + "/{worker}", door.media)
    return router


@dataclass(frozen=True, slots=True)
class _Coming:
    call: TwilioCall
    seat: int
    goes_on: StreamLeg | None = None  # here already
    person: str = ""  # the token of somebody whom we called


@dataclass(slots=True, kw_only=True)
class _TwilioDoor:
    public_url: str
    validator: RequestValidator
    switchboard: DoorSwitchboard
    tell: Tell
    clock: Callable[[], float]
    rest: TwilioRest | None
    house: House
    tokens: Tokens
    returns: Returns
    patience: LinePatience
    people: TwilioPeople | None
    progress: Progress
    briefs: Briefs | None
    waiting: WaitingRoom = field(
        default_factory=lambda: WaitingRoom(places=MAX_WAITING, of_one_address=MAX_WAITING)
    )

    async def voice(self, request: Request) -> Response:
        """Answer Twilio's question what to do with a call."""
        form = await self._form(request, VOICE_PATH)
        if isinstance(form, Response):
            return form
        dial_id = request.query_params.get("dial", "")[:MOST_REF_CHARS]
        return await self._begin(form, Kept(call_sid=form["CallSid"], dial_id=dial_id))

    async def after(self, request: Request) -> Response:
        """Answer Twilio's question what to do with a call whose stream is over.

        A call that goes on gets another stream. One that never began, or whose process is gone,
        begins anew. What the agent or the caller has ended is over.
        """
        form = await self._form(request, AFTER_PATH)
        if isinstance(form, Response):
            return form
        call_sid, over = form["CallSid"], form.get("CallStatus", "") in OUTCOMES
        found = await self.returns.find(call_sid, over=over, handed_on=dial_outcome(form))
        if found is not None and found.goes_on:
            return await self._connect(_ticket(form, goes_on=True), worker=found.worker)
        kept = await self.returns.forget(call_sid)
        if over or found is not None or kept is None or kept.beginnings >= MOST_BEGINNINGS:
            answer = VoiceResponse()
            answer.hangup()
            return _xml(answer)
        return await self._begin(form, replace(kept, beginnings=kept.beginnings + 1))

    async def status(self, request: Request) -> Response:
        """Take what Twilio tells of a call: how it goes, who picked up, that it has ended."""
        form = await self._form(request, STATUS_PATH)
        if isinstance(form, Response):
            return form
        await self.progress.take(form, ref=request.query_params.get("dial", ""))
        if caller := answered_for(form):
            await self.returns.find(caller, handed_on="connected")
        if form.get("CallStatus", "") in OUTCOMES:
            await self.returns.find(form["CallSid"], over=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _form(self, request: Request, path: str) -> Form | Response:
        """Return what Twilio has signed, or the refusal of whatever else came."""
        body = await _body(request)
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
            public_url=self.public_url,
            path=path,
            query=request.url.query,
            proof=request.headers.get("x-twilio-signature", ""),
        )

    async def _begin(self, form: Form, kept: Kept) -> Response:
        admitted = await self.house.admit(kept.call_sid)
        if isinstance(admitted, HeldSeat):
            await self.returns.keep(kept)
            ticket = _ticket(form, seat=admitted.seat, dial_id=kept.dial_id)
            return await self._connect(ticket)
        self.tell(CallRefused(transport="twilio", reason=admitted.reason))
        return Response(busy_twiml(), media_type="text/xml")

    async def _connect(self, ticket: Ticket, *, worker: str = "") -> Response:
        """Have a stream opened, at the one worker that has the call already if it is named."""
        for_s = (ticket.goes_on and self.patience.returns_within_s) or LIFE_S
        token = await self.tokens.issue(ticket, now=self.clock(), for_s=for_s)
        stream = Stream(url=socket_url(self.public_url) + (f"/{worker}" if worker else ""))
        stream.parameter(name="token", value=token)
        connect = Connect(action=f"{self.public_url}{AFTER_PATH}")
        connect.append(stream)
        answer = VoiceResponse()
        answer.append(connect)
        return _xml(answer)

    def _refuse(self, reason: str, status: HTTPStatus) -> Response:
        self.tell(InputRefused(transport="twilio", reason=reason))
        return Response(status.phrase, status_code=status, media_type="text/plain")

    async def media(self, websocket: WebSocket) -> None:
        """Take a media socket: its `start` must show a token before anything is built for it."""
        await websocket.accept()
        coming = await self._first_words(websocket)
        if isinstance(coming, Refusal):
            self.tell(InputRefused(transport="twilio", reason=coming.reason))
            await close(websocket, coming.close_code or POLICY)
            return
        if begin := websocket.scope.get("state", {}).get(BEGUN):
            begin()
        if self.people is not None and coming.person:
            await self.people.take(coming.person, coming.call, websocket)
            await close(websocket, NORMAL)
            return
        if coming.goes_on is not None:
            await coming.goes_on.resume(websocket, coming.call.stream_sid)
            await close(websocket, NORMAL)
            return
        leg = TwilioLeg(
            websocket,
            coming.call,
            tell=self.tell,
            clock=self.clock,
            rest=self.rest,
            patience=self.patience,
        )
        with self.returns.held(leg):
            await self._answer(leg, websocket, coming.seat)

    async def _answer(self, leg: TwilioLeg, websocket: WebSocket, seat: int) -> None:
        try:
            if self.briefs and not await self.briefs.load(leg.facts.dial_id):
                self.tell(CallRefused(transport="twilio", reason="no_brief"))
                return  # whoever was called hears nothing rather than somebody else's greeting
            with seated(self.house, seat):
                await self.switchboard.answer(leg)
            await self.returns.forget(leg.facts.call_ref)
        except SwitchboardFullError:
            await close(websocket, TRY_LATER)
        except Exception as broken:  # noqa: BLE001 - the top of a call: it ends, and no other
            self.tell(CallFailed(where="twilio_door", error=type(broken).__name__))
            logger.opt(exception=broken).error("a telephone call ended with a mistake of ours")
        finally:
            await close(websocket, NORMAL)

    async def _first_words(self, websocket: WebSocket) -> _Coming | Refusal:
        patience = asyncio.timeout(START_S)
        ousted: list[Refusal] = []

        def make_room() -> None:
            ousted.append(_NO_ROOM)
            with suppress(RuntimeError):  # its time was over anyway
                patience.reschedule(0.0)

        guest = Guest(
            address=websocket.client.host if websocket.client else "",
            came_at=self.clock(),
            leave=make_room,
            known=self._is_known(websocket),
        )
        try:
            async with patience:
                if not self.waiting.enter(guest, self.clock()):
                    return _NO_ROOM
                return await self._start(websocket)
        except TimeoutError:
            return ousted[0] if ousted else _NO_START
        finally:
            self.waiting.remove(guest)

    def _is_known(self, websocket: WebSocket) -> bool:
        """Say whether Twilio signed the handshake, which it does over the address in the TwiML.

        One that is not signed, or not as we think, only waits with the strangers: a proxy may keep
        the header to itself, and some deployments saw a slash behind the path.
        """
        proof = websocket.headers.get("x-twilio-signature", "")
        worker = websocket.path_params.get("worker")
        url = socket_url(self.public_url) + (f"/{worker}" if worker else "")
        return bool(proof) and any(
            self.validator.validate(each, {}, proof) for each in (url, f"{url}/")
        )

    async def _start(self, websocket: WebSocket) -> _Coming | Refusal:
        for _ in range(MAX_BEFORE_START):
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                reason = _ENDS.get(message.get("code") or 0, "closed_before_start")
                return Refusal(reason=reason, close_code=None)
            text = message.get("text")
            match read(text if text is not None else message.get("bytes") or b""):
                case Started() as started:
                    return await self._admit(started)
                case Refusal(close_code=int()) as refusal:
                    return refusal
                case Connected() | Refusal():
                    continue
                case _:
                    return Refusal(reason="media_before_start", close_code=POLICY)
        return Refusal(reason="no_start", close_code=POLICY)

    async def _admit(self, started: Started) -> _Coming | Refusal:
        token = started.parameters.get("token", "")
        if self.people is not None and token in self.people.called:
            call = TwilioCall(call_sid=started.call_sid, stream_sid=started.stream_sid)
            return _Coming(call, seat=0, person=token)
        ticket = await self.tokens.redeem(token, call_sid=started.call_sid, now=self.clock())
        if isinstance(ticket, str):
            return Refusal(reason=ticket, close_code=POLICY)
        call = TwilioCall(
            call_sid=ticket.call_sid,
            stream_sid=started.stream_sid,
            caller=ticket.caller,
            called=ticket.called,
            direction="outbound" if ticket.outbound else "inbound",
            dial_id=ticket.dial_id,
        )
        if not ticket.goes_on:
            return _Coming(call, seat=ticket.seat)
        leg = self.returns.here(ticket.call_sid)
        if leg is None:
            return Refusal(reason="call_is_over", close_code=POLICY)
        return _Coming(call, seat=ticket.seat, goes_on=leg)


async def _body(request: Request) -> bytes | None:
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_FORM_BYTES:
                    return None
    except TimeoutError:
        return None
    return bytes(body)


def _ticket(form: Form, *, seat: int = 0, goes_on: bool = False, dial_id: str = "") -> Ticket:
    return Ticket(
        call_sid=form["CallSid"],
        caller=form.get("From", ""),
        called=form.get("To", ""),
        seat=seat,
        goes_on=goes_on,
        outbound=form.get("Direction", "").startswith("outbound"),
        dial_id=dial_id,
    )


def _xml(answer: VoiceResponse) -> Response:
    return Response(str(answer), media_type="text/xml")


def socket_url(public_url: str) -> str:
    """Return where a media stream of ours is opened."""
    scheme, _, rest = public_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{MEDIA_PATH}"
