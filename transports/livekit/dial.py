"""Calls a person through LiveKit's SIP service and returns the result.

    async with open_exchange(url, key, secret) as lk:
        trunk = await outbound_trunk_id(lk, "holdline")
        call = OutboundCall(room=room_of("order-17"), trunk_id=trunk, number="+15550142")
        dialled = await dial(lk, call)          # has rung; the person who spoke is in the room

The agent should be in the room with its voice before the callee is, or the callee's hello gets no
answer: enter the room first, or while it rings.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.duration_pb2 import Duration
from livekit import api
from livekit.protocol.sip import SIPMediaConfig, SIPOutboundConfig
from pydantic import SecretStr

from calls.dialled import ANSWERED, GATEWAY_LOST, DialVerdict, judge_dial
from transports.livekit.rooms import FAILURES

CALLEE: Final = "callee"
LONGEST_RING_S: Final = (
    70.0  # the server answers within 80 s (livekit-server v1.13.5) in every case
)
MORE_S: Final = 5.0  # after the ringing, for the answer to arrive
TIDY_S: Final = 5.0
ASK_S: Final = 10.0
MEDIA_TIMEOUT_S: Final = 120.0  # as for an inbound call: bot.config.settings.SipSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCall:
    """An outbound call.

    Attributes:
        room: Where both meet. One for each call, named after its purpose (`room_of`), so that a
            second request finds the call instead of ringing twice.
        trunk_id: The trunk; empty if `host` is set.
        number: The callee, in the carrier's format.
        our_number: The number shown to the callee; empty for the trunk's own.
        ring_s: How long it may ring; at most 70 s.
        max_call_s: The gateway hangs up after this time; `None` for the gateway's own limit.
        media_timeout_s: The gateway hangs up after this time without a packet from the callee.
        headers: For the carrier, such as a campaign's number.
        host: For a callee with a SIP address and no carrier in between.
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
        verdict: The meaning; its outcome is `completed` if the call was answered.
        call_ref: The gateway's id of the call; empty if it was not answered.
        sip_code: The code from the far end or the carrier; `None` for 200 or no code.
        words: The text with the code.
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
    """Return a client without retries: a retry after a lost answer would ring two phones.

    Each request sets its own timeout: the library ignores the session's (livekit-api 1.2.2).
    """
    return api.LiveKitAPI(url, key, secret.get_secret_value(), failover=False)


async def dial(
    lk: api.LiveKitAPI, call: OutboundCall, *, learn: Callable[[Dialled], None] = lambda _: None
) -> Dialled:
    """Call a person and wait until they answer or it is clear that they will not.

    Cancelling it hangs up. So does every end but an answer: no phone keeps ringing.

    Args:
        lk: A client without retries.
        call: The call to place.
        learn: Gets the result before the clean-up, which may be cancelled.

    Raises:
        AlreadyDiallingError: The room has a callee, or a dial in progress.
    """
    if await _is_there(lk, call.room):
        raise AlreadyDiallingError(f"{call.room} already has its callee")
    answered = False
    try:
        dialled = await _rung(lk, call)
        learn(dialled)
        answered = dialled.answered
    finally:
        if not answered:
            await asyncio.shield(_drop(lk, call.room))
    return dialled


async def _rung(lk: api.LiveKitAPI, call: OutboundCall) -> Dialled:
    try:
        made = await lk.sip.create_sip_participant(_request(call), timeout=call.ring_s + MORE_S)
    except api.ServerError as error:
        return _refused(error)
    except FAILURES as error:
        return Dialled(verdict=GATEWAY_LOST, words=type(error).__name__)
    return Dialled(verdict=ANSWERED, call_ref=made.sip_call_id)


def _refused(error: api.ServerError) -> Dialled:
    if not isinstance(error, api.SipCallError):  # no answer at all, or not a SIP one
        verdict = judge_dial(None, code=error.code, words=error.message)
        return Dialled(verdict=verdict, words=error.message)
    verdict = judge_dial(error.sip_status_code, code=error.code, words=error.message)
    words = error.sip_status or error.message
    return Dialled(verdict=verdict, sip_code=error.sip_status_code, words=words)


def _request(call: OutboundCall) -> api.CreateSIPParticipantRequest:
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id=call.trunk_id,
        sip_call_to=call.number,
        sip_number=call.our_number,
        room_name=call.room,
        participant_identity=CALLEE,
        ringing_timeout=_duration(min(call.ring_s, LONGEST_RING_S)),
        wait_until_answered=True,
        headers=dict(call.headers),
        media=SIPMediaConfig(media_timeout=_duration(call.media_timeout_s)),
    )
    if call.host:
        request.trunk.CopyFrom(SIPOutboundConfig(hostname=call.host))
    if call.max_call_s is not None:
        request.max_call_duration.CopyFrom(_duration(call.max_call_s))
    return request


def _duration(length_s: float) -> Duration:
    return Duration(seconds=int(length_s), nanos=round(length_s % 1 * 1e9))


async def _is_there(lk: api.LiveKitAPI, room: str) -> bool:
    try:
        async with asyncio.timeout(ASK_S):
            listed = await lk.room.list_participants(api.ListParticipantsRequest(room=room))
    except FAILURES:
        return False  # no such room, or a server that will not dial either
    return any(participant.identity == CALLEE for participant in listed.participants)


async def _drop(lk: api.LiveKitAPI, room: str) -> None:
    """Stop the ringing: the gateway cancels a call whose participant is removed."""
    callee = api.RoomParticipantIdentity(room=room, identity=CALLEE)
    with suppress(*FAILURES):
        async with asyncio.timeout(TIDY_S):
            await lk.room.remove_participant(callee)
