"""Campaigns over LiveKit's SIP service: each dial has a room named after our own id.

LiveKit keeps no list of past calls. So the room is created first and kept for an hour: while it
exists, any process can see that the dial was placed. The agent enters the room before the callee. A
dial that was not answered closes its room, because a waiting agent occupies a seat.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from livekit import api

from calls.dialled import ANSWERED
from calls.outbound import DialOutcome
from campaigns.carrier import LEG_OUTCOMES, CarrierError, DialRequest, FoundCall
from transports.livekit.dial import (
    ASK_S,
    CALLEE,
    TIDY_S,
    AlreadyDiallingError,
    Dialled,
    OutboundCall,
    dial,
)
from transports.livekit.rooms import FAILURES
from transports.livekit.trunks import ExchangeError, outbound_trunk_id

KEPT_S: Final = 3600  # lifetime of an empty room: longer than any lease and most calls
MOST: Final = 1000  # dials that are remembered; the oldest finished ones are dropped
STATUS: Final = "sip.callStatus"
ACTIVE: Final = "active"
DIAL_PREFIX: Final = "dial-"


@dataclass(slots=True)
class RingingDial:
    """A dial that rings, or did.

    Attributes:
        task: Rings, and tidies up afterwards.
        dialled: The result; `None` until the call is answered or has failed.
    """

    task: asyncio.Task[None] = field(init=False)
    dialled: Dialled | None = None

    def learn(self, dialled: Dialled) -> None:
        """Record the result; a failure of the tidying does not change it."""
        self.dialled = dialled

    def call_off(self) -> None:
        """Stop the ringing, unless the result is already known."""
        if self.dialled is None:
            self.task.cancel()


@dataclass(slots=True, kw_only=True)
class LivekitCarrier:
    """One LiveKit and one of its outbound trunks.

    Attributes:
        open_exchange: Makes an API client for one use.
        trunk: The trunk's name, as `holdline sip setup` created it.
        room_prefix: Prefix of the rooms that an agent enters.
        tasks: Owns the ringing dials.
        to_number: Turns an E.164 number into what the trunk should dial.
        media_timeout_s: The gateway hangs up after this long without a packet from the callee.
    """

    open_exchange: Callable[[], api.LiveKitAPI]
    trunk: str
    room_prefix: str
    tasks: asyncio.TaskGroup
    to_number: Callable[[str], str] = str
    media_timeout_s: float = 120.0
    _ringing: dict[str, RingingDial] = field(default_factory=dict[str, RingingDial])

    async def dial(self, request: DialRequest) -> str:
        """Create the room and start ringing; return the room's name."""
        room = self.room_of(request.dial_id)
        try:
            async with self.open_exchange() as lk:
                trunk_id = await outbound_trunk_id(lk, self.trunk)
                if not trunk_id:
                    raise CarrierError(f"LiveKit has no outbound trunk named {self.trunk}")
                await request.confirm()
                async with asyncio.timeout(ASK_S):
                    await lk.room.create_room(
                        api.CreateRoomRequest(name=room, empty_timeout=KEPT_S)
                    )
        except (*FAILURES, ExchangeError) as error:
            raise CarrierError(type(error).__name__) from error
        call = OutboundCall(
            room=room,
            trunk_id=trunk_id,
            number=self.to_number(request.to),
            ring_s=request.patience_s,
            media_timeout_s=self.media_timeout_s,
        )
        ringing = RingingDial()
        ringing.task = self.tasks.create_task(self._ring(call, ringing), name=f"ring {room}")
        self._forget_old()
        self._ringing[request.dial_id] = ringing
        return room

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial: from here while it rings, otherwise from its room."""
        room, ringing = self.room_of(dial_id), self._ringing.get(dial_id)
        if ringing is not None:
            if not ringing.task.done():
                return FoundCall(provider_call_id=room)
            dialled = ringing.dialled
            if dialled is None:
                return FoundCall(provider_call_id=room, outcome=DialOutcome.CANCELLED)
            if not dialled.answered:
                verdict = dialled.verdict
                outcome = LEG_OUTCOMES[verdict.outcome]
                return FoundCall(provider_call_id=room, outcome=outcome, verdict=verdict)
        try:
            return await self._seen(room, rang_here=ringing is not None)
        except FAILURES as error:
            raise CarrierError(type(error).__name__) from error

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop a dial that this process rings; a dial of another process rings on."""
        if ringing := self._ringing.get(dial_id):
            ringing.call_off()

    def close(self) -> None:
        """Stop all ringing."""
        for ringing_dial in self._ringing.values():
            ringing_dial.task.cancel()

    def room_of(self, dial_id: str) -> str:
        """Return the room's name for a dial."""
        return f"{self.room_prefix}{DIAL_PREFIX}{dial_id}"

    def _forget_old(self) -> None:
        over = [dial_id for dial_id, ringing in self._ringing.items() if ringing.task.done()]
        for dial_id in over[: max(0, len(self._ringing) - MOST)]:
            del self._ringing[dial_id]

    async def _ring(self, call: OutboundCall, ringing: RingingDial) -> None:
        async with self.open_exchange() as lk:
            try:
                dialled = await dial(lk, call, learn=ringing.learn)
            except AlreadyDiallingError:  # ordered twice: the room shows the first dial's state
                ringing.learn(Dialled(verdict=ANSWERED))
                return
            if not dialled.answered:
                await _close(lk, call.room)

    async def _seen(self, room: str, *, rang_here: bool) -> FoundCall | None:
        async with self.open_exchange() as lk, asyncio.timeout(ASK_S):
            rooms = await lk.room.list_rooms(api.ListRoomsRequest(names=[room]))
            if not rooms.rooms:
                return _over(room) if rang_here else None
            listed = await lk.room.list_participants(api.ListParticipantsRequest(room=room))
        callee = next(
            (participant for participant in listed.participants if participant.identity == CALLEE),
            None,
        )
        if callee is None:
            # Created by a process that is gone: there may have been a conversation.
            unknown = FoundCall(provider_call_id=room, outcome=DialOutcome.UNKNOWN)
            return _over(room) if rang_here else unknown
        answered = callee.attributes.get(STATUS) == ACTIVE
        return FoundCall(provider_call_id=room, answered=answered)


async def _close(lk: api.LiveKitAPI, room: str) -> None:
    """Delete a room that no callee will enter, so that its agent leaves early."""
    with suppress(*FAILURES):
        async with asyncio.timeout(TIDY_S):
            await lk.room.delete_room(api.DeleteRoomRequest(room=room))


def _over(room: str) -> FoundCall:
    return FoundCall(provider_call_id=room, outcome=DialOutcome.COMPLETED, answered=True)


def dial_of(room: str, prefix: str) -> str:
    """Return the dial id in a room's name; empty if the room belongs to no dial."""
    begin = f"{prefix}{DIAL_PREFIX}"
    return room.removeprefix(begin) if room.startswith(begin) else ""
