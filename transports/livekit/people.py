"""Calls people through LiveKit, for callers who wait; each called person gets a room."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from livekit import api
from loguru import logger
from pydantic import SecretStr

from calls.dialled import DialVerdict
from calls.entry import Emit
from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from calls.leg_events import LegEnded, LegOutcome, LegRinging
from runtime import clock
from transports.leg import Leg
from transports.livekit.dialling import (
    AlreadyDiallingError,
    Dialled,
    OutboundCall,
    dial,
    open_exchange,
    room_of,
)
from transports.livekit.leg import LivekitLeg
from transports.livekit.line import LivekitLine
from transports.livekit.room import LineError, RoomPlace
from transports.livekit.rooms import LivekitRooms, RoomsError
from transports.livekit.trunks import ExchangeError, outbound_trunk_id

ROOM_PREFIX: Final = "person-"  # no dispatch rule has it, so no caller is expected in these rooms
JOIN_S: Final = 5.0  # how long a person who has answered may take to join the room
RESULT_BY_OUTCOME: Final[Mapping[LegOutcome, Handover]] = {
    "busy": "busy",
    "no-answer": "no_answer",
    "cancelled": "no_answer",
}
"""The result of a transfer, by the outcome of the unanswered leg; any other means "failed"."""

CALL_FAILURES: Final = (
    LineError,
    ExchangeError,
    AlreadyDiallingError,
    TimeoutError,
    aiohttp.ClientError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivekitPeople:
    """Calls people over our LiveKit SIP trunk.

    Attributes:
        rooms: The server's rooms.
        api_key: The server's API key.
        api_secret: The secret of the key.
        trunk: The name of our trunk.
        our_number: The number that the person sees if they are called at a SIP address.
        tasks: Owns the tasks that watch the legs.
        emit: Publishes the events of a call.
    """

    rooms: LivekitRooms
    api_key: SecretStr
    api_secret: SecretStr
    trunk: str
    our_number: str
    tasks: asyncio.TaskGroup
    emit: Emit

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call a person; return their leg after they answer, or the result if they do not.

        The leg is watched in a task. Without one, also after a cancellation, the room is closed.
        """
        room = room_of(secrets.token_hex(8), prefix=ROOM_PREFIX)
        place = RoomPlace(url=self.rooms.url, room=room, token=lambda: self.rooms.token(room))
        line = LivekitLine(place, clock=clock.monotonic)
        leg: LivekitLeg | None = None
        try:
            await line.open()  # first, so that the person who answers does not hear silence
            self.emit(LegRinging(call_ref=room))
            dialled = await self._dial_person(to, room, ring_s=ring_s)
            if not dialled.answered:
                return self._note_unanswered(room, dialled)
            async with asyncio.timeout(JOIN_S):
                came = await line.wait_for_caller()
            if not came:
                self._emit_failure(LineError("the person who answered did not enter the room"))
                return "failed"
            leg = self._make_watched_leg(line)
            return leg  # noqa: TRY300 - `finally` checks `leg`
        except CALL_FAILURES as error:
            self._emit_failure(error)
            return "failed"
        finally:
            if leg is None:  # no one uses the room, or this was cancelled
                await asyncio.shield(self._delete_room_and_leave(line))

    async def _dial_person(self, to: Destination, room: str, *, ring_s: float) -> Dialled:
        """Ring a person into the room; raises what `dial` and `_outbound_call` raise."""
        url = self.rooms.url.replace("ws", "http", 1)
        async with open_exchange(url, self.api_key.get_secret_value(), self.api_secret) as lk:
            return await dial(lk, await self._outbound_call(lk, to, room, ring_s=ring_s))

    async def _outbound_call(
        self, lk: api.LiveKitAPI, to: Destination, room: str, *, ring_s: float
    ) -> OutboundCall:
        """Return the call to place: through our trunk, or directly to a SIP address.

        Raises:
            ExchangeError: We have no outbound trunk, or LiveKit did not list the trunks.
        """
        scheme, _, address = to.number.partition(":")
        if scheme.lower() in ("sip", "sips"):
            user, _, host = address.rpartition("@")
            return OutboundCall(
                room=room,
                trunk_id="",
                number=user,
                host=host,
                our_number=self.our_number,
                ring_s=ring_s,
            )
        trunk_id = await outbound_trunk_id(lk, self.trunk)
        if trunk_id is None:
            raise ExchangeError("there is no outbound trunk; run: holdline sip setup")
        return OutboundCall(room=room, trunk_id=trunk_id, number=to.number, ring_s=ring_s)

    def _make_watched_leg(self, line: LivekitLine) -> LivekitLeg:
        """Return a leg on the line, which a task watches until it ends."""
        leg = LivekitLeg(line, emit=self.emit, rooms=self.rooms)
        self.tasks.create_task(_watch_leg(leg), name="watch a person's room")
        return leg

    def _note_unanswered(self, room: str, dialled: Dialled) -> Handover:
        """Publish the end of an unanswered call; return its result."""
        verdict: DialVerdict = dialled.verdict
        ended = LegEnded(
            call_ref=room,
            outcome=verdict.outcome,
            sip_code=dialled.sip_code,
            reason=verdict.reason,
        )
        self.emit(ended)
        if verdict.reason == "declined":
            return "declined"
        return RESULT_BY_OUTCOME.get(verdict.outcome, "failed")

    async def _delete_room_and_leave(self, line: LivekitLine) -> None:
        """Close the room, which stops the ringing, and leave it; retry the closing later."""
        try:
            await self.rooms.delete(line.place.room)
        except RoomsError as error:
            logger.debug("{} was not closed: {}", line.place.room, error)
            self.rooms.delete_later(line.place.room)
        finally:
            await line.close()

    def _emit_failure(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        self.emit(ProviderFailed(stage="transport", provider="livekit", error=text))


async def _watch_leg(leg: LivekitLeg) -> None:
    """Watch a leg until it ends; an error ends only this leg."""
    try:
        await leg.watch()
    except Exception as error:  # noqa: BLE001 - top of a leg: only this leg ends
        logger.opt(exception=error).error("the watch of a person's room failed")
        await leg.hang_up("failed")
