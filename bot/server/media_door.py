"""The media socket of a carrier: a stream must identify its call before the call is built."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fastapi import WebSocket
from loguru import logger

from bot.call.briefs import Briefs
from bot.call.switchboard import SwitchboardFullError
from bot.server.arrival_rules import Guest, WaitingRoom
from bot.server.carrier_door import DoorFrame
from bot.server.limits import BEGUN, FLOOD
from bot.server.parked import Parked
from bot.server.stream_tokens import AdmittedStream, Returns
from bot.workers.pool import take_seat
from bot.workers.wire import ASK_S
from calls.events import CallFailed, CallRefused, InputRefused
from transports.media_stream.leg import CallControl, CarriedCall, StreamLeg
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

START_S: Final = 2.0  # carriers send `connected` and `start` at once
ADMIT_S: Final = 2 * ASK_S  # other processes are asked for the call; one may hang
MAX_BEFORE_START: Final = 2  # messages: these two
MAX_WAITING: Final = 100  # sockets that have not identified their call yet
TRY_LATER: Final = 1013  # IANA websocket close codes: try again later
_ENDS: Final = {TOO_BIG: "message_too_big", FLOOD: "flood_before_start"}  # by the server
_NO_START: Final = Refusal(reason="no_start_in_time", close_code=POLICY)
NO_ROOM: Final = Refusal(reason="too_many_sockets_without_a_start", close_code=TRY_LATER)
NewLeg: TypeAlias = Callable[[WebSocket, Started, CarriedCall], StreamLeg]


@dataclass(slots=True, kw_only=True)
class MediaDoor:
    """Answers the media sockets of one carrier.

    Attributes:
        frame: Dependencies of the routes.
        dialect: The carrier's stream protocol.
        admit: Returns the call of a new stream, or why it is refused.
        ours: Codec that we send; `None` for the carrier's own.
        control: Ends calls at the carrier, if it can.
        returns: Finds calls that lost their stream; `None` if a call ends with its stream.
        patience: How long a lost line is waited for.
        is_known: Whether a handshake proves the carrier; strangers cannot displace it then.
        new_leg: Makes the leg of a new call; `None` for a leg that uses `control`.
        why_not: Returns why a call cannot have a conversation; empty if it can.
    """

    frame: DoorFrame
    dialect: Dialect
    admit: Callable[[Started, WebSocket], Awaitable[AdmittedStream | Refusal]]
    ours: Codec | None = None
    control: CallControl | None = None
    returns: Returns | None = None
    patience: LinePatience = field(default_factory=LinePatience)
    is_known: Callable[[WebSocket], bool] = lambda _: False
    new_leg: NewLeg | None = None
    why_not: Callable[[CarriedCall], Awaitable[str]] | None = None
    waiting: WaitingRoom = field(
        default_factory=lambda: WaitingRoom(places=MAX_WAITING, of_one_address=MAX_WAITING)
    )

    async def media(self, websocket: WebSocket) -> None:
        """Answer a media socket, and run its call to the end."""
        await websocket.accept()
        first = await self._first_words(websocket)
        if isinstance(first, Refusal):
            await self._send_away(websocket, first)
            return
        if begin := websocket.scope.get("state", {}).get(BEGUN):
            begin()
        started, admitted = first
        if admitted.taker is not None:
            await admitted.taker(websocket)
            await close(websocket, NORMAL)
            return
        new_leg = self.new_leg or self._leg
        leg = new_leg(websocket, started, admitted.call)
        with self.returns.held(leg) if self.returns else nullcontext():
            await self._run(websocket, admitted, leg)

    def _leg(self, websocket: WebSocket, started: Started, call: CarriedCall) -> StreamLeg:
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
            tell=self.frame.tell,
            clock=self.frame.clock,
            control=self.control,
            patience=self.patience,
        )

    async def _run(self, websocket: WebSocket, admitted: AdmittedStream, leg: StreamLeg) -> None:
        try:
            with take_seat(self.frame.pool, admitted.seat):
                if self.why_not and (reason := await self.why_not(admitted.call)):
                    self.frame.tell(CallRefused(transport=self.dialect.carrier, reason=reason))
                    return
                if self.returns:
                    parked = Parked(self.frame.pool, self.dialect.carrier)
                    leg.parked = await parked.take(leg.facts.call_ref)
                await self.frame.switchboard.answer(leg)
            if self.returns:
                await self.returns.forget(leg.facts.call_ref)
        except SwitchboardFullError:
            await close(websocket, TRY_LATER)
        except Exception as broken:  # noqa: BLE001 - top of a call: only this call ends
            where = f"{self.dialect.carrier}_door"
            self.frame.tell(CallFailed(where=where, error=type(broken).__name__))
            logger.opt(exception=broken).error("a telephone call ended with an internal error")
        finally:
            await close(websocket, NORMAL)

    async def _send_away(self, websocket: WebSocket, refusal: Refusal) -> None:
        self.frame.tell(InputRefused(transport=self.dialect.carrier, reason=refusal.reason))
        await close(websocket, refusal.close_code or POLICY)

    async def _first_words(self, websocket: WebSocket) -> tuple[Started, AdmittedStream] | Refusal:
        patience = asyncio.timeout(START_S)
        ousted: list[Refusal] = []

        def make_room() -> None:
            ousted.append(NO_ROOM)
            with suppress(RuntimeError):  # it had timed out anyway
                patience.reschedule(0.0)

        guest = Guest(
            address=websocket.client.host if websocket.client else "",
            came_at=self.frame.clock(),
            leave=make_room,
            known=self.is_known(websocket),
        )
        try:
            async with patience:
                if not self.waiting.enter(guest, self.frame.clock()):
                    return NO_ROOM
                started = await read_start(websocket, self.dialect)
                if isinstance(started, Refusal):
                    return started
                if not ousted:
                    patience.reschedule(asyncio.get_running_loop().time() + ADMIT_S)
                admitted = await self.admit(started, websocket)
                return admitted if isinstance(admitted, Refusal) else (started, admitted)
        except TimeoutError:
            return ousted[0] if ousted else _NO_START
        finally:
            self.waiting.remove(guest)


async def read_start(websocket: WebSocket, dialect: Dialect) -> Started | Refusal:
    """Return the `start` of a media socket, or why it is refused."""
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


def unbriefed(
    briefs: Briefs | None, hang_up: Callable[[str], Awaitable[object]] | None = None
) -> Callable[[CarriedCall], Awaitable[str]] | None:
    """Return a check whether an agent can talk in a call that we placed; `None` without campaigns.

    Args:
        briefs: Instructions of agents for campaign calls.
        hang_up: Ends such a call by the carrier's id. `None` if the carrier asks what to do after
            the stream; a brief may exist by then.
    """
    if briefs is None:
        return None

    async def why_not(call: CarriedCall) -> str:
        if await briefs.load(call.dial_id):
            return ""
        if hang_up is not None:
            await hang_up(call.call_ref)
        return "no_brief"  # silence is better than another campaign's greeting

    return why_not
