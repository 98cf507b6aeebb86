"""Campaigns over LiveKit's SIP service: each dial is a room whose name is made of our own id.

LiveKit keeps no list of calls that were. So the room is made first, to stay for an hour: while it
is there, the dial was made, whoever asks. The agent is in the room before the callee is. A dial
that reached nobody closes its room: an agent who waits there holds a seat.
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

KEPT_S: Final = 3600  # that an empty room stays: longer than any lease, and than most calls
MOST: Final = 1000  # dials that are kept in mind; the oldest that are over give way
STATUS: Final = "sip.callStatus"
ACTIVE: Final = "active"
DIAL_PREFIX: Final = "dial-"


@dataclass(slots=True)
class RingingDial:
    """A dial that rings, or did.

    Attributes:
        task: Rings, and tidies up behind it.
        dialled: What became of it, as soon as that is known; None: nobody has picked up yet.
    """

    task: asyncio.Task[None] = field(init=False)
    dialled: Dialled | None = None

    def learn(self, dialled: Dialled) -> None:
        """Note what became of it: it stays so, however the tidying ends."""
        self.dialled = dialled

    def call_off(self) -> None:
        """Have it ring no longer; one of which is known what became of it rings no more."""
        if self.dialled is None:
            self.task.cancel()


@dataclass(slots=True, kw_only=True)
class LivekitCarrier:
    """One LiveKit and one of its outbound trunks.

    Attributes:
        open_exchange: Makes a client, which asks once.
        trunk: The trunk's name, as `holdline sip setup` has it.
        room_prefix: Of rooms that are calls of ours, which an agent enters.
        tasks: Owns the dials that ring.
        to_number: What the trunk is told to dial, of an E.164 number.
        media_timeout_s: The gateway hangs up after so long without a packet of the callee.
    """

    open_exchange: Callable[[], api.LiveKitAPI]
    trunk: str
    room_prefix: str
    tasks: asyncio.TaskGroup
    to_number: Callable[[str], str] = str
    media_timeout_s: float = 120.0
    _ringing: dict[str, RingingDial] = field(default_factory=dict[str, RingingDial])

    async def dial(self, request: DialRequest) -> str:
        """Make the room and have it ring; return the room's name."""
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
        """Return what became of a dial: known here while it rings, else seen in its room."""
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
        """Have a telephone ring no longer; one that another process rings, rings on."""
        if ringing := self._ringing.get(dial_id):
            ringing.call_off()

    def close(self) -> None:
        """Have nothing ring on."""
        for ringing_dial in self._ringing.values():
            ringing_dial.task.cancel()

    def room_of(self, dial_id: str) -> str:
        """Return the one room of a dial."""
        return f"{self.room_prefix}{DIAL_PREFIX}{dial_id}"

    def _forget_old(self) -> None:
        over = [dial_id for dial_id, each in self._ringing.items() if each.task.done()]
        for dial_id in over[: max(0, len(self._ringing) - MOST)]:
            del self._ringing[dial_id]

    async def _ring(self, call: OutboundCall, ringing: RingingDial) -> None:
        async with self.open_exchange() as lk:
            try:
                dialled = await dial(lk, call, learn=ringing.learn)
            except AlreadyDiallingError:  # asked twice: the first one's fate is seen in the room
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
            # Made by a process that is gone: somebody may have been talked to.
            unknown = FoundCall(provider_call_id=room, outcome=DialOutcome.UNKNOWN)
            return _over(room) if rang_here else unknown
        answered = callee.attributes.get(STATUS) == ACTIVE
        return FoundCall(provider_call_id=room, answered=answered)


async def _close(lk: api.LiveKitAPI, room: str) -> None:
    """Have the agent leave a room that nobody will come into; else it leaves in its own time."""
    with suppress(*FAILURES):
        async with asyncio.timeout(TIDY_S):
            await lk.room.delete_room(api.DeleteRoomRequest(room=room))


def _over(room: str) -> FoundCall:
    return FoundCall(provider_call_id=room, outcome=DialOutcome.COMPLETED, answered=True)


def dial_of(room: str, prefix: str) -> str:
    """Return our own id of the dial that a room was made for; empty: for none."""
    begin = f"{prefix}{DIAL_PREFIX}"
    return room.removeprefix(begin) if room.startswith(begin) else ""
