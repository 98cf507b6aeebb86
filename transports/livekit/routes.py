"""LiveKit's routes: its webhook, a poll for missed rooms, and the calls in the rooms."""

import asyncio
import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

import jwt
from fastapi import Request, Response
from google.protobuf.json_format import Parse, ParseError
from livekit import api
from loguru import logger
from pydantic import SecretStr

from calls.entry import Emit
from calls.events import CallFailed, CallRefused, InputRefused, ProviderFailed
from calls.resume import ResumeState
from runtime import clock
from transports.announcements import WaitingAnswers, WaitingCall
from transports.livekit.dialling import dial_of
from transports.livekit.leg import LivekitLeg
from transports.livekit.line import LivekitLine
from transports.livekit.room import LineError, RoomPlace
from transports.livekit.rooms import LivekitRooms, OpenRoom, RoomsError
from transports.livekit.words import mask_number
from transports.parked import Parked
from transports.pool import (
    DRAINING,
    ELSEWHERE,
    HELD_S,
    CallPool,
    HeldSeat,
    KeepOutcome,
    SwitchboardFullError,
    seat_for,
    take_seat,
)

MAX_EVENT_BYTES: Final = 64 * 1024  # an event has about 2 kB
MAX_AGE_S: Final = 60.0  # LiveKit repeats an event for some seconds; older ones are ignored
KEPT_IDS: Final = 2_000  # a call makes about ten events


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRefusal:
    """Why a webhook is not accepted, and the status of the response."""

    reason: str
    status: HTTPStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomNews:
    """An event in a room."""

    event: str  # room_started, participant_joined, ...
    room: str
    sid: str
    by_phone: bool = False  # about a telephone in the room


_TOO_BIG: Final = WebhookRefusal(
    reason="webhook_too_big", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE
)
_UNSIGNED: Final = WebhookRefusal(reason="wrong_signature", status=HTTPStatus.UNAUTHORIZED)
_ALTERED: Final = WebhookRefusal(reason="wrong_body_hash", status=HTTPStatus.UNAUTHORIZED)
_UNREADABLE: Final = WebhookRefusal(reason="webhook_is_no_event", status=HTTPStatus.BAD_REQUEST)
_REPEATED: Final = WebhookRefusal(reason="webhook_again", status=HTTPStatus.OK)
_OLD: Final = WebhookRefusal(reason="webhook_too_old", status=HTTPStatus.OK)


class WebhookReader:
    """Reads events that are signed with our key, each once.

    An event comes with a token that is signed with the API secret. The token's claim `sha256` is
    the hash of the body in base64.

    Source: docs.livekit.io, "Webhooks and events".
    """

    def __init__(self, *, api_key: SecretStr, api_secret: SecretStr) -> None:
        self._verifier = api.TokenVerifier(
            api_key.get_secret_value(), api_secret.get_secret_value()
        )
        self._seen: OrderedDict[str, None] = OrderedDict()

    def read(self, body: bytes, authorization: str, *, now_s: float) -> RoomNews | WebhookRefusal:
        """Return the event in a webhook, or why the webhook is not accepted.

        Args:
            body: The request's body.
            authorization: The request's header `Authorization`.
            now_s: The time, in seconds since 1970.
        """
        refusal = self._check_token(body, authorization.removeprefix("Bearer "))
        return refusal or self._read_event(body, now_s)

    def _read_event(self, body: bytes, now_s: float) -> RoomNews | WebhookRefusal:
        """Return the event in an authentic body, unless it is repeated, too old or malformed."""
        try:
            event = Parse(body, api.WebhookEvent(), ignore_unknown_fields=True)
        except (ParseError, UnicodeDecodeError):
            return _UNREADABLE
        if not event.event or not event.id:
            return _UNREADABLE
        if event.id in self._seen:
            return _REPEATED
        self._remember_event(event.id)
        if now_s - event.created_at > MAX_AGE_S:
            return _OLD
        by_phone = event.participant.kind == api.ParticipantInfo.SIP
        return RoomNews(
            event=event.event, room=event.room.name, sid=event.room.sid, by_phone=by_phone
        )

    def _check_token(self, body: bytes, token: str) -> WebhookRefusal | None:
        """Return why the token does not prove that LiveKit sent the body; `None` if it does."""
        if len(body) > MAX_EVENT_BYTES:
            return _TOO_BIG
        try:
            claimed = base64.b64decode(self._verifier.verify(token).sha256 or "", validate=True)
        except (jwt.PyJWTError, ValueError, TypeError):
            return _UNSIGNED
        is_unaltered = hmac.compare_digest(claimed, hashlib.sha256(body).digest())
        return None if is_unaltered else _ALTERED

    def _remember_event(self, event_id: str) -> None:
        """Remember an event's id; above `KEPT_IDS`, forget the oldest."""
        self._seen[event_id] = None
        while len(self._seen) > KEPT_IDS:
            self._seen.popitem(last=False)


def begins_call(news: RoomNews, prefix: str) -> bool:
    """Return whether an event may be the beginning of a call in a room of our dispatch rule.

    A call begins with its room. If that event was lost, the one about the telephone that joins the
    room shows the call too.
    """
    if not news.room.startswith(prefix):
        return False
    return news.event == "room_started" or (news.event == "participant_joined" and news.by_phone)


WEBHOOK_PATH: Final = "/livekit/webhook"
POLL_EVERY_S: Final = 0.5  # between polls; a caller whose webhook or worker was lost waits for one
JOIN_TRIES: Final = 3  # to join a room, while the caller hears ringing
JOIN_PAUSE_S: Final = 0.2  # between two tries
PHONE_JOINS_S: Final = 2.0  # for a telephone to join its room, so that it can hear busy
JOINED_CHECK_S: Final = 0.1  # whether the telephone has joined


Converse: TypeAlias = Callable[[LivekitLeg], Awaitable[None]]
"""Runs a call to its end; raises `SwitchboardFullError`."""


@dataclass(slots=True, kw_only=True)
class RoomAnswerer:
    """Answers the callers in rooms that a webhook reports or a poll finds.

    Attributes:
        rooms: The server's rooms.
        reader: Reads webhooks.
        tasks: Owns the calls.
        pool: The worker pool.
        emit: Publishes events.
        has_brief: Returns whether an agent has instructions for a dial, or for an inbound call.
        converse: Runs a call on a leg.
        prefix: The prefix of the rooms that our dispatch rule makes.
        parked: The calls of workers that have died.
        waiting: Stores callbacks for callers whose call finds no seat again; `None` for none.
        unreachable: Whether the last poll failed; only the first failure in a row is published.
        lines: The lines of calls that have not ended.
    """

    rooms: LivekitRooms
    reader: WebhookReader
    tasks: asyncio.TaskGroup
    pool: CallPool
    emit: Emit
    has_brief: Callable[[str], Awaitable[bool]]
    converse: Converse
    prefix: str
    parked: Parked
    waiting: WaitingAnswers | None = None
    unreachable: bool = False
    lines: set[LivekitLine] = field(default_factory=set[LivekitLine])

    def give_up(self) -> None:
        """Stop waiting for callers who are not in their rooms yet."""
        for line in self.lines:
            line.give_up()

    async def poll(self) -> None:
        """Poll for rooms until cancelled, in the process that leads the pool."""
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            if self.pool.leads:
                await self._poll_rooms()

    async def webhook(self, request: Request) -> Response:
        """Accept a signed event, or refuse it; a call runs in a task of its own."""
        body, authorization = await request.body(), request.headers.get("authorization", "")
        news = self.reader.read(body, authorization, now_s=clock.utc_now().timestamp())
        if isinstance(news, WebhookRefusal):
            if news.status is not HTTPStatus.OK:  # repeated or late events are normal
                self.emit(InputRefused(transport="livekit", reason=news.reason))
            return Response(news.status.phrase, status_code=news.status, media_type="text/plain")
        if begins_call(news, self.prefix):
            self._begin_answering(OpenRoom(sid=news.sid, name=news.room))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _poll_rooms(self) -> None:
        """Begin the calls whose webhook was lost, and those whose worker is gone.

        All occupied rooms are tried: a room in progress is claimed, so its try has no effect.
        """
        try:
            found = await self.rooms.occupied(self.prefix)
        except RoomsError as error:
            if not self.unreachable:
                self._emit_failure(error)
            self.unreachable = True
            return
        self.unreachable = False
        for open_room in found:
            self._begin_answering(open_room)

    def _begin_answering(self, room: OpenRoom) -> None:
        self.tasks.create_task(self._claim_and_answer(room), name=f"room {mask_number(room.name)}")

    async def _claim_and_answer(self, room: OpenRoom) -> None:
        """Answer a room that no process has claimed, or refuse it; an error ends only this call.

        The claim on an answered room is kept, so that no poll answers it again. It is given back
        where another try may succeed.
        """
        try:
            if not await self.pool.peers.claim(_claim_on(room)):
                return
            async with _claim_while(room, self.pool, self.rooms) as ours:
                if not ours:  # it is checked again later, because the other process may die
                    self.pool.peers.give_back(_claim_on(room))
                    return
                lost = await self.parked.look(room.name)
                within_s = HELD_S if lost else 0.0
                admitted = await seat_for(room.name, self.pool, clock.monotonic, within_s=within_s)
                if isinstance(admitted, HeldSeat):
                    with take_seat(self.pool, admitted.seat):
                        await self._join_and_talk(room)
                    return
                if lost and admitted.reason not in (ELSEWHERE, DRAINING):
                    await _call_back(self, room, lost)
            await self._reject_call(room, admitted.reason)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - top of a call: only this call ends
            self.emit(CallFailed(where="livekit_door", error=type(error).__name__))
            logger.opt(exception=error).error("a telephone call ended with an internal error")

    async def _join_and_talk(self, room: OpenRoom) -> None:
        """Join a room, wait for the caller, and talk until the call has ended.

        The caller hears ringing until our sound is published. After an error the room is closed,
        because its caller would hear silence.
        """
        self.rooms.cancel_deletion(room.name)
        line = LivekitLine(_place_of_room(self.rooms, room.name), clock=clock.monotonic)
        self.lines.add(line)
        try:
            if await self._join_room(line) and await line.wait_for_caller():
                await self._run_call(room, line)
            else:  # so that the poll can find a telephone that joins later
                self.pool.peers.give_back(_claim_on(room))
        except Exception:
            await self._close_room(room)
            raise
        finally:
            self.lines.discard(line)
            await line.close()

    async def _join_room(self, line: LivekitLine) -> bool:
        """Join the room, in up to `JOIN_TRIES` tries; return False and publish it if all fail."""
        for _ in range(JOIN_TRIES):
            try:
                await line.open()
            except LineError as error:
                logger.info("{}: {}", mask_number(line.place.room), error)
                await asyncio.sleep(JOIN_PAUSE_S)
            else:
                return True
        self._emit_failure(LineError(f"no room after {JOIN_TRIES} tries"))
        return False

    async def _run_call(self, room: OpenRoom, line: LivekitLine) -> None:
        """Run the call on a joined line, unless there is no agent for its dial."""
        dial_id = dial_of(room.name, self.prefix)
        if not await self.has_brief(dial_id):
            self.emit(CallRefused(transport="livekit", reason="no_brief"))
            await self._close_room(room)  # rather than play another campaign's greeting
            return
        leg = LivekitLeg(line, emit=self.emit, rooms=self.rooms, dial_id=dial_id)
        leg.parked = await self.parked.take(room.name)
        try:
            await self.converse(leg)
        except SwitchboardFullError:
            await leg.hang_up("busy")

    async def _reject_call(self, room: OpenRoom, reason: str) -> None:
        """Reject a call by closing its room; before an answer, LiveKit then sends 486 (busy).

        The telephone has up to `PHONE_JOINS_S` to join the room, so that it can hear busy. If
        another server may answer the call, because this one drains or is one of several machines,
        it always has that long; a room that is not free any more is left. So is a room for which
        another server has a seat: its poll will find it.
        """
        if reason == ELSEWHERE:
            self.pool.peers.give_back(_claim_on(room))
            return
        others = reason == "draining" or self.pool.claims_everywhere
        with suppress(RoomsError):  # `_close_room` reports it
            for _ in range(round(PHONE_JOINS_S / JOINED_CHECK_S)):
                if not others and await self.rooms.has_caller(room.name):
                    break
                await asyncio.sleep(JOINED_CHECK_S)
        async with _claim_while(room, self.pool, self.rooms) as ours:
            if ours:
                self.emit(CallRefused(transport="livekit", reason=reason))
                await self._close_room(room)

    async def _close_room(self, room: OpenRoom) -> None:
        """Close a room; if that fails, give up the claim on it, so that the poll retries it."""
        try:
            await self.rooms.delete(room.name)
        except RoomsError as error:
            self._emit_failure(error)
            self.pool.peers.give_back(_claim_on(room))

    def _emit_failure(self, error: Exception) -> None:
        self.emit(ProviderFailed(stage="transport", provider="livekit", error=str(error)))


async def _call_back(answerer: RoomAnswerer, room: OpenRoom, lost: ResumeState) -> None:
    """Store a callback for a caller whose call found no seat; LiveKit says no sentence."""
    if answerer.waiting is None:
        return
    with suppress(RoomsError):  # the poll reports it
        number = await answerer.rooms.caller_number(room.name)
        call = WaitingCall(call_id=lost.call_id, number=number, language=lost.language)
        await answerer.waiting.call_back(call)


def _claim_on(room: OpenRoom) -> str:
    return f"room {room.sid or room.name}"


@asynccontextmanager
async def _claim_while(room: OpenRoom, pool: CallPool, rooms: LivekitRooms) -> AsyncIterator[bool]:
    """Claim a room's name while the block runs; yield whether we may answer it.

    The name is claimed because a restarted LiveKit server recreates the room of a running call with
    another id, and a second agent in it would end the first one's conversation. If another machine
    may have the claim as well, a room with the agent of another server is left alone.
    """
    name, ours = f"call in {room.name}", False
    outcome = await pool.peers.claim(name, everywhere=True)
    if not outcome:
        yield False
        return
    try:
        with suppress(RoomsError):  # the poll reports it
            ours = await rooms.is_free(room.name, claimed=outcome is KeepOutcome.KEPT)
        yield ours
    finally:
        pool.peers.give_back(name)


def _place_of_room(rooms: LivekitRooms, room: str) -> RoomPlace:
    return RoomPlace(url=rooms.url, room=room, token=lambda: rooms.token(room))
