"""Outbound calls through LiveKit's SIP service: one call, and the dials of campaigns.

    async with open_exchange(url, key, secret) as lk:
        trunk = await outbound_trunk_id(lk, "holdline")
        call = OutboundCall(room=room_of("order-17"), trunk_id=trunk, number="+15550142")
        dialled = await dial(lk, call)          # after an answer, the callee is in the room

The agent should be in the room before the callee answers, so that the callee does not say hello to
silence. So let it enter before the dial, or while the phone rings.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from livekit import api
from livekit.protocol.sip import SIPMediaConfig, SIPOutboundConfig
from pydantic import SecretStr

from calls.dialled import ANSWERED, GATEWAY_LOST, DialVerdict, judge_dial
from calls.outbound import DialOutcome
from runtime.http import kept_session
from transports.dialling import LEG_OUTCOMES, CarrierError, DialRequest, FoundCall
from transports.livekit.rooms import FAILURES
from transports.livekit.trunks import ExchangeError, duration, outbound_trunk_id
from transports.livekit.words import ACTIVE, STATUS

CALLEE: Final = "callee"
MAX_RING_S: Final = 70.0  # the server answers within 80 s (livekit-server v1.13.5) in every case
RESPONSE_MARGIN_S: Final = 5.0  # after the ringing time, for the server's response
CLEAN_UP_S: Final = 5.0  # for a request of the clean-up
OTHER_REQUEST_S: Final = 10.0  # for any other request
MEDIA_TIMEOUT_S: Final = 120.0  # as for an inbound call: configuration.settings.SipSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCall:
    """An outbound call.

    Attributes:
        room: The room of this call only. It is named after the purpose of the call (`room_of`), so
            that a repeated request finds the call instead of ringing again.
        trunk_id: The trunk; empty if `host` is set.
        number: The callee's number, in the carrier's format.
        our_number: The number shown to the callee; empty for the trunk's own.
        ring_s: How long it may ring; at most 70 s.
        max_call_s: The gateway hangs up after this time; `None` for the gateway's own limit.
        media_timeout_s: The gateway hangs up after this time without a packet from the callee.
        headers: SIP headers for the carrier, such as a campaign's number.
        host: The host of a callee with a SIP address, who is called without a carrier.
    """

    room: str
    trunk_id: str
    number: str
    our_number: str = ""
    ring_s: float = 30.0
    max_call_s: float | None = None
    media_timeout_s: float = MEDIA_TIMEOUT_S
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """The result of a dial.

    Attributes:
        verdict: What the result means for the number; the outcome of an answered call is
            `completed`.
        call_ref: The gateway's id of the call; empty if it was not answered.
        sip_code: The code from the far end or the carrier; `None` for 200 or no code.
        words: The text that came with the code.
    """

    verdict: DialVerdict
    call_ref: str = ""
    sip_code: int | None = None
    words: str = ""

    @property
    def answered(self) -> bool:
        """Whether the call was answered."""
        return self.verdict is ANSWERED


class AlreadyDiallingError(Exception):
    """A dial for this room is already in progress."""


def room_of(purpose: str, *, prefix: str = "dial-") -> str:
    """Return the room for a call with this purpose."""
    return prefix + re.sub(r"[^A-Za-z0-9_.-]+", "-", purpose)


def open_exchange(url: str, key: str, secret: SecretStr) -> api.LiveKitAPI:
    """Return a client that does not repeat requests, because a repeated one could ring twice.

    Each request sets its own timeout: the library ignores the session's (livekit-api 1.2.2).
    """
    return api.LiveKitAPI(
        url, key, secret.get_secret_value(), session=kept_session(), failover=False
    )


async def dial(
    lk: api.LiveKitAPI, call: OutboundCall, *, on_result: Callable[[Dialled], None] = lambda _: None
) -> Dialled:
    """Call a person and wait until they answer or it is clear that they will not.

    If this is cancelled, or there is no answer, the call is ended, so that the phone stops ringing.

    Args:
        lk: A client that does not repeat requests.
        call: The call to place.
        on_result: Called with the result before the clean-up, which may be cancelled or fail.

    Raises:
        AlreadyDiallingError: The room has a callee, or a dial in progress.
    """
    if await _has_callee(lk, call.room):
        raise AlreadyDiallingError(f"{call.room} already has its callee")
    answered = False
    try:
        dialled = await _ring_callee(lk, call)
        on_result(dialled)
        answered = dialled.answered
    finally:
        if not answered:
            await asyncio.shield(_remove_callee(lk, call.room))
    return dialled


async def _ring_callee(lk: api.LiveKitAPI, call: OutboundCall) -> Dialled:
    """Ring the callee until there is a result, and return it; a failed request is one, too."""
    try:
        made = await lk.sip.create_sip_participant(
            _ring_request(call), timeout=call.ring_s + RESPONSE_MARGIN_S
        )
    except api.ServerError as error:
        return _dialled_as_refused(error)
    except FAILURES as error:
        return Dialled(verdict=GATEWAY_LOST, words=type(error).__name__)
    return Dialled(verdict=ANSWERED, call_ref=made.sip_call_id)


def _dialled_as_refused(error: api.ServerError) -> Dialled:
    """Return a refused dial as a result; without a SIP response, judged by the error's code."""
    if not isinstance(error, api.SipCallError):  # there is no SIP response
        verdict = judge_dial(None, code=error.code, words=error.message)
        return Dialled(verdict=verdict, words=error.message)
    verdict = judge_dial(error.sip_status_code, code=error.code, words=error.message)
    words = error.sip_status or error.message
    return Dialled(verdict=verdict, sip_code=error.sip_status_code, words=words)


def _ring_request(call: OutboundCall) -> api.CreateSIPParticipantRequest:
    """Return the request to ring a callee; the server responds once they answer, or will not."""
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id=call.trunk_id,
        sip_call_to=call.number,
        sip_number=call.our_number,
        room_name=call.room,
        participant_identity=CALLEE,
        ringing_timeout=duration(min(call.ring_s, MAX_RING_S)),
        wait_until_answered=True,
        headers=dict(call.headers),
        media=SIPMediaConfig(media_timeout=duration(call.media_timeout_s)),
    )
    if call.host:
        request.trunk.CopyFrom(SIPOutboundConfig(hostname=call.host))
    if call.max_call_s is not None:
        request.max_call_duration.CopyFrom(duration(call.max_call_s))
    return request


async def _has_callee(lk: api.LiveKitAPI, room: str) -> bool:
    """Return whether a room has its callee, who may still ring; False without a room."""
    try:
        async with asyncio.timeout(OTHER_REQUEST_S):
            listed = await lk.room.list_participants(api.ListParticipantsRequest(room=room))
    except FAILURES:
        return False  # there is no such room, or the server fails, and the dial will fail too
    return any(participant.identity == CALLEE for participant in listed.participants)


async def _remove_callee(lk: api.LiveKitAPI, room: str) -> None:
    """Stop the ringing: the gateway cancels a call if its participant is removed."""
    callee = api.RoomParticipantIdentity(room=room, identity=CALLEE)
    with suppress(*FAILURES):
        async with asyncio.timeout(CLEAN_UP_S):
            await lk.room.remove_participant(callee)


EMPTY_ROOM_KEPT_S: Final = 3600  # lifetime of an empty room: longer than any lease and most calls
MAX_REMEMBERED: Final = 1000  # remembered dials; above this the oldest finished ones are forgotten
DIAL_PREFIX: Final = "dial-"


@dataclass(slots=True)
class RingingDial:
    """A dial of this process.

    Attributes:
        task: Rings the callee, and cleans up if they do not answer.
        dialled: The result; `None` until the call is answered or has failed.
    """

    task: asyncio.Task[None] = field(init=False)
    dialled: Dialled | None = None


@dataclass(slots=True, kw_only=True)
class LivekitCarrier:
    """One LiveKit server and one of its outbound trunks, for the dials of campaigns.

    LiveKit keeps no list of past calls. So each dial has a room named after our own id, which is
    created before the call and kept for an hour: while it exists, any process can see that the dial
    was placed. The agent enters the room before the callee. If a dial is not answered, its room is
    closed, because the waiting agent occupies a seat.

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
    # Dials whose room was requested here and whose callee was not rung.
    _not_rung: set[str] = field(default_factory=set[str])

    async def dial(self, request: DialRequest) -> str:
        """Create the room and start ringing in a task; return the room's name.

        Raises:
            CarrierError: LiveKit has no such trunk, or its answer is lost.
        """
        room = self.room_of(request.dial_id)
        try:
            async with self.open_exchange() as lk:
                trunk_id = await outbound_trunk_id(lk, self.trunk)
                if not trunk_id:
                    raise CarrierError(f"LiveKit has no outbound trunk named {self.trunk}")
                await request.confirm()
                self._not_rung.add(request.dial_id)
                async with asyncio.timeout(OTHER_REQUEST_S):
                    await lk.room.create_room(
                        api.CreateRoomRequest(name=room, empty_timeout=EMPTY_ROOM_KEPT_S)
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
        ringing.task = self.tasks.create_task(
            self._ring_and_store(call, ringing), name=f"ring {room}"
        )
        self._forget_old()
        self._ringing[request.dial_id] = ringing
        self._not_rung.discard(request.dial_id)
        return room

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if there is no sign of such a dial.

        While this process rings it, its task shows the state; after that, the room does. If the
        room was created here but its callee was not rung, because the response was lost, the room
        is closed.

        Raises:
            CarrierError: LiveKit cannot be asked.
        """
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
        not_rung = dial_id in self._not_rung
        try:
            found = await self._state_of(room, rang_here=ringing is not None, not_rung=not_rung)
        except FAILURES as error:
            raise CarrierError(type(error).__name__) from error
        self._not_rung.discard(dial_id)  # if it is dialled again, another process may ring it
        return found

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop a dial that this process rings; one of another process is not stopped."""
        ringing = self._ringing.get(dial_id)
        if ringing is not None and ringing.dialled is None:
            ringing.task.cancel()

    def close(self) -> None:
        """Stop all ringing of this process; calls that were answered go on."""
        for ringing_dial in self._ringing.values():
            ringing_dial.task.cancel()

    def room_of(self, dial_id: str) -> str:
        """Return the room's name for a dial."""
        return f"{self.room_prefix}{DIAL_PREFIX}{dial_id}"

    def _forget_old(self) -> None:
        """Forget the oldest finished dials above `MAX_REMEMBERED`; one that rings is kept."""
        over = [dial_id for dial_id, ringing in self._ringing.items() if ringing.task.done()]
        for dial_id in over[: max(0, len(self._ringing) - MAX_REMEMBERED)]:
            del self._ringing[dial_id]

    async def _ring_and_store(self, call: OutboundCall, ringing: RingingDial) -> None:
        """Ring the callee and store the result in `ringing`; close the room without an answer."""

        def store(dialled: Dialled) -> None:
            ringing.dialled = dialled

        async with self.open_exchange() as lk:
            try:
                dialled = await dial(lk, call, on_result=store)
            except AlreadyDiallingError:  # dialled twice: then `find` reads the state of the room
                store(Dialled(verdict=ANSWERED))
                return
            if not dialled.answered:
                await _delete_room(lk, call.room)

    async def _state_of(self, room: str, *, rang_here: bool, not_rung: bool) -> FoundCall | None:
        """Return the state of a dial by its room and the callee in it.

        If the room or the callee is missing, the call has ended, if this process rang it
        (`rang_here`). Otherwise, a missing room means that there was no such dial (`None`), and a
        missing callee that the outcome is unknown; unless this process created the room and did not
        ring (`not_rung`): then the room is closed, and there was no such dial.
        """
        async with self.open_exchange() as lk, asyncio.timeout(OTHER_REQUEST_S):
            rooms = await lk.room.list_rooms(api.ListRoomsRequest(names=[room]))
            if not rooms.rooms:
                return _completed_call(room) if rang_here else None
            listed = await lk.room.list_participants(api.ListParticipantsRequest(room=room))
            callee = next((item for item in listed.participants if item.identity == CALLEE), None)
            if callee is None and not_rung:
                await lk.room.delete_room(api.DeleteRoomRequest(room=room))
                return None
        if callee is None:
            # The process that created the room is gone, and there may have been a conversation.
            unknown = FoundCall(provider_call_id=room, outcome=DialOutcome.UNKNOWN)
            return _completed_call(room) if rang_here else unknown
        answered = callee.attributes.get(STATUS) == ACTIVE
        return FoundCall(provider_call_id=room, answered=answered)


async def _delete_room(lk: api.LiveKitAPI, room: str) -> None:
    """Delete a room that no callee will enter, so that its agent leaves soon."""
    with suppress(*FAILURES):
        async with asyncio.timeout(CLEAN_UP_S):
            await lk.room.delete_room(api.DeleteRoomRequest(room=room))


def _completed_call(room: str) -> FoundCall:
    return FoundCall(provider_call_id=room, outcome=DialOutcome.COMPLETED, answered=True)


def dial_of(room: str, prefix: str) -> str:
    """Return the dial id in a room's name; empty if the room belongs to no dial."""
    begin = f"{prefix}{DIAL_PREFIX}"
    return room.removeprefix(begin) if room.startswith(begin) else ""
