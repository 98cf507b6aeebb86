"""Where Telnyx comes in: the Call Control webhook and the media socket."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Request, Response, WebSocket

from bot.call.briefs import Briefs
from bot.server import telnyx_signature
from bot.server.carrier_door import DoorFrame, elsewhere, read_body, refuse
from bot.server.media_door import MediaDoor, unbriefed
from bot.server.stream_tokens import AdmittedStream, StreamPass, StreamTokens, TurnedAway
from bot.server.telnyx_legs import (
    MARK,
    PICKED_UP,
    STREAM_OVER,
    TelnyxControl,
    TelnyxDials,
    TelnyxTransfers,
    handed_on,
    placed_call,
)
from calls.events import ProviderFailed
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Codec, Refusal, Started, is_id, part, text
from transports.media_stream.stream import Stream
from transports.telnyx.calls import NO_ANSWER, VOICE_PATH, TelnyxRest
from transports.telnyx.dial import is_handed_on, ref_of, state_text
from transports.telnyx.dialect import CODECS, MAX_REF_CHARS, TELNYX

# The streams of Telnyx's calls: asked for, asked for anew, and the end of a call that gets none.
#
# Telnyx goes on with a call whose stream is over, or never came: its caller would hear nothing
# until they hang up.

MEDIA_PATH: Final = "/telnyx/media"
OK: Final = Response(status_code=HTTPStatus.OK)
LATER: Final = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
AGAIN_AFTER_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # the caller has picked up, and hears nothing yet
OPENS_WITHIN_S: Final = 10.0  # all tries together; then the call is ended


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxStreams:
    """Asks Telnyx for them; returns what its news of a call is answered."""

    frame: DoorFrame
    rest: TelnyxRest
    desk: StreamTokens
    waiting: TelnyxTransfers

    async def open(self, call_id: str, given: StreamPass, *, once: str = "") -> Response:
        """Have a call's stream opened; a call that Telnyx opens no stream for is ended.

        What fails on Telnyx's side is asked for again here: it delivers its news again too, but
        only a few times, and then nobody would end a call whose caller hears nothing.
        """
        status = await self._start(call_id, given, once)
        if status == HTTPStatus.OK:
            return OK
        # A call that is somewhere in the house is its leg's, which waits for a stream and then ends
        # it: perhaps the stream that was refused is only a second one, for news that came twice.
        if _passes(status):
            return await self._give_up(call_id)
        return OK if await self.desk.returns.find(call_id) else await self.end(call_id)

    async def follow(
        self, call: CarriedCall, payload: dict[str, Any], *, news_id: str = ""
    ) -> Response:
        """Have another stream opened for a call whose stream is over and which is not.

        News that is delivered again, as Telnyx does after two seconds without an answer, opens no
        other one: that would be the end of the first, of which there would be news again.

        One that gets none is ended, unless we had its caller handed on: they talk with somebody, or
        will in a moment. That stands in the call's state, so that a process which knows nothing of
        the call can tell. A call without a state of ours is somebody else's.
        """
        given = await self.desk.follow(call, news_id=news_id)
        if isinstance(given, StreamPass):
            return await self.open(call.call_ref, given, once=news_id)
        if given is TurnedAway.GOES_ON:
            return OK
        state = payload.get("client_state")
        handed_on = is_handed_on(state) or self.waiting.is_connected(call.call_ref)
        if handed_on or not state_text(state):
            return OK
        return await self.end(call.call_ref)

    async def end(self, call_id: str) -> Response:
        """End a call that gets no stream; have its news come again where Telnyx does not."""
        error = await self.rest.complete(call_id)
        if error is None:
            return OK
        self._tell(error)
        return LATER

    def answer(self, command: str, status: int) -> Response:
        """Return what Telnyx is told: to ask us again when it was its own side that failed."""
        if status == HTTPStatus.OK:
            return OK
        self._tell(f"{command} answered {status}" if status else f"{command} not answered")
        return LATER if _passes(status) else OK

    async def _start(self, call_id: str, given: StreamPass, once: str) -> int:
        """Ask for a stream until it is opened, or refused for good; return the last status."""
        url, status = self.frame.socket_url(MEDIA_PATH, given.worker), NO_ANSWER
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENS_WITHIN_S):
                for pause_s in (0.0, *AGAIN_AFTER_S):
                    await asyncio.sleep(pause_s)
                    status = await self.rest.start_stream(
                        call_id, url=url, token=given.token, once=once
                    )
                    if self.answer("streaming_start", status) is OK:
                        break
        return status

    async def _give_up(self, call_id: str) -> Response:
        """End a call that never had a stream; whatever else becomes of it is not known here."""
        kept = await self.desk.give_up(call_id)
        if kept is None:
            return LATER
        ended = await self.end(call_id)
        if ended is LATER:
            await self.desk.returns.keep(kept)  # for the news that comes again
        return ended

    def _tell(self, error: str) -> None:
        self.frame.tell(ProviderFailed(stage="transport", provider="telnyx", error=error))


def _passes(status: int) -> bool:
    """Return whether a failure is Telnyx's own, and may pass."""
    return status in (NO_ANSWER, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500


TOKEN_HEADER: Final = "x-telnyx-streaming-auth-token"  # noqa: S105 - a header's name


def telnyx_router(
    frame: DoorFrame,
    *,
    key: Ed25519PublicKey,
    rest: TelnyxRest,
    utc_s: Callable[[], float],
    patience: LinePatience | None = None,
    briefs: Briefs | None = None,
) -> APIRouter:
    """Return the routes of the Telnyx door.

    Args:
        frame: What the house offers.
        key: The account's public one, which checks webhooks.
        rest: Where calls are answered, streamed and ended.
        utc_s: Seconds since 1970: webhooks are signed with the time of day.
        patience: How long a line is waited for.
        briefs: What agents are told who talk with those whom campaigns call.
    """
    desk = StreamTokens(frame, "telnyx", patience or LinePatience())
    waiting = TelnyxTransfers(frame.pool)
    door = _TelnyxDoor(
        frame=frame,
        key=key,
        rest=rest,
        utc_s=utc_s,
        desk=desk,
        waiting=waiting,
        streams=TelnyxStreams(frame=frame, rest=rest, desk=desk, waiting=waiting),
        dials=TelnyxDials(progress=frame.status_callbacks("telnyx"), desk=desk),
    )
    return _routes(door, briefs)


def _routes(door: "_TelnyxDoor", briefs: Briefs | None) -> APIRouter:
    media = MediaDoor(
        frame=door.frame,
        dialect=TELNYX,
        admit=door.admit,
        returns=door.desk.returns,
        new_leg=door.new_leg,
        why_not=unbriefed(briefs, hang_up=door.rest.complete),
    )
    router = APIRouter()
    router.add_api_route(VOICE_PATH, door.voice, methods=["POST"])
    router.add_api_websocket_route(MEDIA_PATH, media.media)
    router.add_api_websocket_route(MEDIA_PATH + "/{worker}", media.media)
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
    desk: StreamTokens
    waiting: TelnyxTransfers
    streams: TelnyxStreams
    dials: TelnyxDials

    async def voice(self, request: Request) -> Response:
        """Do what Telnyx's news of a call asks for."""
        body = await self._read_signed(request)
        if isinstance(body, Response):
            return body
        event, payload, news_id = _read_event(body)
        call_id = payload.get("call_control_id")
        if not is_id(call_id, MAX_REF_CHARS):
            return self._refuse("webhook_without_call_id", HTTPStatus.BAD_REQUEST)
        if (ring := _ring_of(payload)) is not None:
            return await self._of_person(ring, event, payload)
        return await self._of_call(call_id, event, payload, news_id)

    async def _of_call(
        self, call_id: str, event: str, payload: dict[str, Any], news_id: str
    ) -> Response:
        """Handle news of a call that came in, or that we placed."""
        ref = ref_of(payload.get("client_state"))
        if event in STREAM_OVER:
            call = placed_call(call_id, payload, ref) if ref else _call(call_id, payload)
            # That a stream failed and that it stopped is news of one loss.
            stream_id = text(payload, "stream_id")
            named = stream_id if is_id(stream_id) else news_id
            return await self.streams.follow(call, payload, news_id=named)
        if ref:
            return await self._of_dial(ref, call_id, event, payload)
        answers = {
            "call.initiated": self._ringing,
            "call.answered": self._answered,
            "call.hangup": self._over,
        }
        return await answers[event](call_id, payload) if event in answers else OK

    async def _read_signed(self, request: Request) -> bytes | Response:
        """Return what Telnyx has signed, or the refusal of whatever else came."""
        body = await read_body(request)
        if body is None:
            return self._refuse("webhook_too_big_or_too_slow", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        trouble = telnyx_signature.trouble(self.key, request.headers, body, now=self.utc_s())
        return body if trouble is None else self._refuse(trouble, HTTPStatus.FORBIDDEN)

    async def _of_person(self, ring: str, event: str, payload: dict[str, Any]) -> Response:
        """Handle news of a leg that is rung for a caller."""
        outcome = handed_on(event, text(payload, "hangup_cause"))
        if outcome is not None or event == PICKED_UP:
            await self.waiting.tell(ring, outcome)
        return OK

    async def _of_dial(
        self, ref: str, call_id: str, event: str, payload: dict[str, Any]
    ) -> Response:
        """Handle news of a call that we placed."""
        given = await self.dials.heed(ref, call_id, event, payload)
        if given is TurnedAway.NO_SEAT:
            return await self.streams.end(call_id)  # nobody is kept waiting in silence
        if not isinstance(given, StreamPass):
            return OK
        # News of an answer that is delivered twice opens one stream: both have the dial's name.
        return await self.streams.open(call_id, given, once=ref)

    async def _ringing(self, call_id: str, payload: dict[str, Any]) -> Response:
        incoming = payload.get("direction") == "incoming"
        if not incoming or await self.desk.returns.find(call_id) is not None:
            return OK  # told again: a second seat would be kept for a call that is here
        given = await self.desk.begin(_call(call_id, payload))
        if given is TurnedAway.LEAVING:
            return elsewhere()
        if given is TurnedAway.NO_SEAT:
            return self.streams.answer("reject", await self.rest.reject(call_id))
        if not isinstance(given, StreamPass):
            return OK
        status = await self.rest.pick_up(call_id, token=given.token)
        return self.streams.answer("answer", status)

    async def _answered(self, call_id: str, payload: dict[str, Any]) -> Response:
        token = state_text(payload.get("client_state"))
        if not token:
            return OK  # a call that somebody else answered
        return await self.streams.open(call_id, StreamPass(token=token))

    async def _over(self, call_id: str, _: dict[str, Any]) -> Response:
        await self.desk.end(call_id)
        return OK

    def _refuse(self, reason: str, status: HTTPStatus) -> Response:
        return refuse(self.frame.tell, "telnyx", reason, status)

    async def admit(self, started: Started, websocket: WebSocket) -> AdmittedStream | Refusal:
        """Say whose stream begins so: its token was given to Telnyx for one call."""
        token = started.parameters.get("token") or websocket.headers.get(TOKEN_HEADER, "")
        return await self.desk.admit(started, token)

    def new_leg(self, websocket: WebSocket, started: Started, call: CarriedCall) -> StreamLeg:
        """Return the leg of a call that begins."""
        ours, theirs = _codec(self.rest), started.codec
        return StreamLeg(
            websocket,
            call,
            Stream(dialect=TELNYX, stream_id=started.stream_sid, ours=ours, theirs=theirs),
            tell=self.frame.tell,
            clock=self.frame.clock,
            control=TelnyxControl(rest=self.rest, waiting=self.waiting, dial_id=call.dial_id),
            patience=self.desk.patience,
        )


def _call(call_id: str, payload: dict[str, Any]) -> CarriedCall:
    return CarriedCall(call_ref=call_id, caller=text(payload, "from"), called=text(payload, "to"))


def _read_event(body: bytes) -> tuple[str, dict[str, Any], str]:
    """Return what happened, to what, and the news' own name, which it keeps when it comes again."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return "", {}, ""
    data = part(told, "data") if isinstance(told, dict) else {}
    news_id = text(data, "id")
    return text(data, "event_type"), part(data, "payload"), news_id if is_id(news_id) else ""


def _ring_of(payload: dict[str, Any]) -> str | None:
    """Return the name of the ring that a leg was placed for; None: it is no such leg."""
    state = state_text(payload.get("client_state"))
    return state.removeprefix(MARK) if state.startswith(MARK) else None
