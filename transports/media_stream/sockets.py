"""The media sockets of a carrier: a stream must identify its call before the call is set up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, WebSocket
from loguru import logger

from calls.events import CallFailed, CallRefused, InputRefused
from transports.arrival_rules import BEGUN, FLOOD, Guest, WaitingRoom
from transports.leg import may_order
from transports.media_stream.leg import (
    CallControl,
    CarriedCall,
    RingOrder,
    StreamLeg,
    TransferOrder,
)
from transports.media_stream.line import NORMAL, LinePatience, close
from transports.media_stream.messages import (
    POLICY,
    TOO_BIG,
    Codec,
    Connected,
    Dialect,
    Refusal,
    Started,
)
from transports.media_stream.stream import Stream
from transports.media_stream.tokens import AdmittedStream, Kept, StreamedCalls
from transports.media_stream.webhooks import CarrierHost
from transports.parked import Parked
from transports.pool import ASK_PROCESS_S, SwitchboardFullError, take_seat

START_S: Final = 2.0  # for `connected` and `start`, which carriers send at once
ADMIT_S: Final = 2 * ASK_PROCESS_S  # to ask other processes for the call; one of them may hang
MAX_BEFORE_START: Final = 2  # messages: `connected` and `start`
MAX_WAITING: Final = 100  # sockets that have not identified their call yet
TRY_LATER: Final = 1013  # IANA websocket close codes: try again later
_ENDS: Final = {TOO_BIG: "message_too_big", FLOOD: "flood_before_start"}  # closes by the server
_NO_START: Final = Refusal(reason="no_start_in_time", close_code=POLICY)
NO_ROOM: Final = Refusal(reason="too_many_sockets_without_a_start", close_code=TRY_LATER)


@dataclass(slots=True, kw_only=True)
class MediaSockets:
    """Answers the media sockets of one carrier.

    Attributes:
        host: The server's functions.
        dialect: The carrier's stream protocol.
        admit: Returns the call of a new stream, or why it is refused.
        streamed_calls: Finds the process that has a call.
        ours: The codec of our audio; `None` to use that of the caller's audio.
        patience: How long a leg waits for a lost line.
        control: Ends calls and sends keypad digits; `None` if only the end of a stream ends a call.
        transfer: See `StreamLeg`.
        ring: See `StreamLeg`.
        is_known: Returns whether a handshake authenticates the carrier; then other clients cannot
            displace the connection.
        end: Ends a call for which there is no agent, by the carrier's id. `None` if the carrier
            asks for instructions after the stream; an agent may be found by then.
        waiting: The sockets that have not identified their call yet.
    """

    host: CarrierHost
    dialect: Dialect
    admit: Callable[[Started, WebSocket], Awaitable[AdmittedStream | Refusal]]
    streamed_calls: StreamedCalls
    ours: Codec | None = None
    patience: LinePatience | None = None
    control: CallControl | None = None
    transfer: TransferOrder | None = None
    ring: RingOrder | None = None
    is_known: Callable[[WebSocket], bool] = lambda _: False
    end: Callable[[str], Awaitable[object]] | None = None
    waiting: WaitingRoom = field(
        default_factory=lambda: WaitingRoom(places=MAX_WAITING, of_one_address=MAX_WAITING)
    )

    def add_to(self, router: APIRouter, path: str) -> None:
        """Add the routes of the sockets: for any worker, and for the worker named in the path."""
        router.add_api_websocket_route(path, self.media)
        router.add_api_websocket_route(path + "/{worker}", self.media)

    async def media(self, websocket: WebSocket) -> None:
        """Accept a media socket, and run its call until the end; refuse one without a call.

        The socket is closed in any case. A stream for a call in this process is given to its leg.
        """
        await websocket.accept()
        first = await self._find_call(websocket)
        if isinstance(first, Refusal):
            await self._publish_and_close(websocket, first)
            return
        if begin := websocket.scope.get("state", {}).get(BEGUN):
            begin()
        started, admitted = first
        if admitted.taker is not None:
            await admitted.taker(websocket)
            await close(websocket, NORMAL)
            return
        leg = self._make_leg(websocket, started, admitted.call)
        with self.streamed_calls.findable(leg):
            await self._run_call(websocket, admitted, leg)

    def _make_leg(self, websocket: WebSocket, started: Started, call: CarriedCall) -> StreamLeg:
        """Return the leg of a started stream; the caller's codec is the one in its start."""
        stream = Stream(
            dialect=self.dialect,
            stream_id=started.stream_sid,
            ours=self.ours or started.codec,
            theirs=started.codec,
        )
        return StreamLeg(
            websocket,
            call,
            stream,
            emit=self.host.emit,
            clock=self.host.clock,
            control=self.control,
            patience=self.patience,
            transfer=self.transfer,
            ring=self.ring,
        )

    async def _run_call(
        self, websocket: WebSocket, admitted: AdmittedStream, leg: StreamLeg
    ) -> None:
        """Run a call to its end, unless there is no agent; an error ends only this call.

        Its stored data is deleted after an ordinary end. After an error it stays, so that the call
        begins again when the carrier asks for instructions.
        """
        host, carrier = self.host, self.dialect.carrier
        try:
            with take_seat(host.pool, admitted.seat):
                if host.has_brief and not await host.has_brief(admitted.call.dial_id):
                    # It is better to say nothing than to greet with another campaign's words.
                    if self.end:
                        await self.end(admitted.call.call_ref)
                    host.emit(CallRefused(transport=carrier, reason="no_brief"))
                    return
                await self._take_up(admitted, leg)
                await host.answer(leg)
            if not leg.is_moved and await may_order(leg):
                await self.streamed_calls.forget(leg.facts.call_ref)
        except SwitchboardFullError:
            await close(websocket, TRY_LATER)
        except Exception as error:  # noqa: BLE001 - top of a call: only this call ends
            host.emit(CallFailed(where=f"{carrier}_door", error=type(error).__name__))
            logger.opt(exception=error).error("a telephone call ended with an internal error")
        finally:
            await close(websocket, NORMAL)

    async def _take_up(self, admitted: AdmittedStream, leg: StreamLeg) -> None:
        """Give the leg its stored state; for a resumed call, count its streams from 1 again."""
        facts = leg.facts
        parked = Parked(self.host.pool, self.dialect.carrier)
        leg.parked = admitted.parked or await parked.take(facts.call_ref)
        if leg.before:
            await self.streamed_calls.keep(Kept(call_sid=facts.call_ref, dial_id=facts.dial_id))

    async def _publish_and_close(self, websocket: WebSocket, refusal: Refusal) -> None:
        """Publish why a socket is refused, and close it."""
        self.host.emit(InputRefused(transport=self.dialect.carrier, reason=refusal.reason))
        await close(websocket, refusal.close_code or POLICY)

    async def _find_call(self, websocket: WebSocket) -> tuple[Started, AdmittedStream] | Refusal:
        """Return the stream's start and its call, or why the socket is refused.

        The carrier has `START_S` to send the start; then we have `ADMIT_S` to find the call. Until
        the end of both, a new socket may take this one's place in the waiting room (`make_room`).
        """
        time_limit = asyncio.timeout(START_S)
        ousted: list[Refusal] = []

        def make_room() -> None:
            ousted.append(NO_ROOM)
            with suppress(RuntimeError):  # it has timed out
                time_limit.reschedule(0.0)

        guest = Guest(
            address=websocket.client.host if websocket.client else "",
            came_at=self.host.clock(),
            leave=make_room,
            known=self.is_known(websocket),
        )
        try:
            async with time_limit:
                if not self.waiting.enter(guest, self.host.clock()):
                    return NO_ROOM
                started = await read_start(websocket, self.dialect)
                if isinstance(started, Refusal):
                    return started
                if not ousted:  # otherwise this would undo the time-out of `make_room`
                    time_limit.reschedule(asyncio.get_running_loop().time() + ADMIT_S)
                admitted = await self.admit(started, websocket)
                return admitted if isinstance(admitted, Refusal) else (started, admitted)
        except TimeoutError:
            return ousted[0] if ousted else _NO_START
        finally:
            self.waiting.remove(guest)


async def read_start(websocket: WebSocket, dialect: Dialect) -> Started | Refusal:
    """Return the `start` message of a media socket, or why the socket is refused.

    Reads at most `MAX_BEFORE_START` messages; the caller limits the time.
    """
    for _ in range(MAX_BEFORE_START):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            reason = _ENDS.get(message.get("code") or 0, "closed_before_start")
            return Refusal(reason=reason, close_code=None)
        text = message.get("text")
        match dialect.read(text if text is not None else message.get("bytes") or b""):
            case Started() as started:
                return started
            case Refusal(close_code=int()) as refusal:
                return refusal
            case Connected() | Refusal():
                continue
            case _:
                return Refusal(reason="media_before_start", close_code=POLICY)
    return Refusal(reason="no_start", close_code=POLICY)
