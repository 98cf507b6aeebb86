"""LiveKit's server API: tokens, rooms, hanging up and transfers."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from livekit import api
from loguru import logger
from pydantic import SecretStr

from calls.handover import Destination, Handover
from transports.livekit.words import CALLER, handover_of, mask_number

AGENT: Final = "holdline"  # our identity in every room: the later agent replaces the earlier one
ROOM_REQUEST_S: Final = 3.0  # the time limit of a request, except for a transfer
# How long an idle connection is kept. The poll for rooms asks every 0.5 s, and each time uses the
# connection that has been idle longest. With 1 s or more, all connections that a flood of rooms
# opened would be kept for ever.
IDLE_S: Final = 0.75
RESPONSE_MARGIN_S: Final = 5.0  # after the ringing time, for the response to a transfer
SERVER: Final = "holdline.server"  # an attribute of our agents: the id of their server
DELETE_AGAIN_S: Final = 2.0  # between two tries; short, because the caller hears silence
DELETE_FOR_S: Final = 600.0  # chosen: a gateway without a server ends its calls much sooner
TOKEN_S: Final = 24 * 3600.0  # longer than a LiveKit call, because a reconnect needs the token
NOT_LIVEKIT: Final = (DecodeError, AttributeError)
"""The library's exceptions if another server responds in LiveKit's place. A proxy does so during a
restart: with a page and status 200, or with JSON that is not an object."""
FAILURES: Final = (api.ServerError, aiohttp.ClientError, TimeoutError, *NOT_LIVEKIT)
"""All exceptions that a request of the library raises."""
RANG_TOO_LONG: Final = (api.ServerErrorCode.CANCELED, api.ServerErrorCode.DEADLINE_EXCEEDED)
"""The codes when the ringing time is over: of livekit-sip v1.8.0, and of the server before it."""

_STATUS: Final = api.SIPTransferStatus
_T = TypeVar("_T")


class RoomsError(Exception):
    """The server did not carry out a request; the text holds no secret."""


class NoRoomError(RoomsError):
    """There is no such room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoom:
    """A room with participants."""

    sid: str
    name: str


class LivekitRooms:
    """The rooms of one server.

    It must be created within a running loop. `close` releases its connections.
    """

    def __init__(
        self, *, url: str, api_key: SecretStr, api_secret: SecretStr, server_id: str
    ) -> None:
        """Open an HTTP session, which `close` ends; no request is sent yet."""
        self.url = url
        self._server_id = server_id
        self._key, self._secret = api_key.get_secret_value(), api_secret.get_secret_value()
        # The library ignores a session's time limit (livekit-api 1.2.2); our requests have one.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=IDLE_S)
        )
        # `failover` would repeat failed requests to LiveKit Cloud, and a person could ring twice.
        self._api = api.LiveKitAPI(
            url, self._key, self._secret, session=self._session, failover=False
        )
        self._deleting: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Stop all `delete_later`, and release the connections; rooms that are open stay open."""
        tasks = tuple(self._deleting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def token(self, room: str) -> str:
        """Return our agent's token for a room."""
        grants = api.VideoGrants(room_join=True, room=room, agent=True)
        token = api.AccessToken(self._key, self._secret).with_identity(AGENT).with_kind("agent")
        token.with_grants(grants).with_attributes({SERVER: self._server_id})
        return token.with_ttl(timedelta(seconds=TOKEN_S)).to_jwt()

    async def occupied(self, prefix: str) -> Sequence[OpenRoom]:
        """Return the rooms with this prefix that have participants.

        Raises:
            RoomsError: The server refuses or does not respond.
        """
        listed = await _response_within_time(self._api.room.list_rooms(api.ListRoomsRequest()))
        return [
            OpenRoom(sid=room.sid, name=room.name)
            for room in listed.rooms
            if room.name.startswith(prefix) and room.num_participants
        ]

    async def has_caller(self, room: str) -> bool:
        """Return whether a telephone is in a room.

        Raises:
            RoomsError: The server refuses or does not respond.
        """
        participants = await _list_participants(self._api, room)
        return any(participant.kind == api.ParticipantInfo.SIP for participant in participants)

    async def caller_number(self, room: str) -> str:
        """Return the number of the telephone in a room; empty if there is none or it is withheld.

        Raises:
            RoomsError: The server refuses or does not respond.
        """
        there = await _list_participants(self._api, room)
        numbers = (item.attributes.get(CALLER) for item in there)
        return next((number for number in numbers if number), "")

    async def is_free(self, room: str, *, claimed: bool) -> bool:
        """Return whether an agent of this server may enter a room.

        Args:
            room: The room.
            claimed: Whether we have claimed the room on all machines; then no agent in it lives.
                Otherwise an agent of another server may live: LiveKit lists a dead one for about
                20 s. One of this server is dead, because a live one's worker has the claim.

        Raises:
            RoomsError: There is no such room any more, or LiveKit refuses or does not respond.
        """
        there = await _list_participants(self._api, room)
        agents = [agent for agent in there if agent.identity == AGENT]
        return claimed or all(agent.attributes.get(SERVER) == self._server_id for agent in agents)

    async def delete(self, room: str) -> None:
        """Close a room, which ends the call of every participant; no effect if it is closed.

        Raises:
            RoomsError: The server did not close it.
        """
        with suppress(NoRoomError):
            await _response_within_time(
                self._api.room.delete_room(api.DeleteRoomRequest(room=room))
            )

    def delete_later(self, room: str) -> None:
        """Keep trying, in a task, to close a room whose caller has no agent, for `DELETE_FOR_S`.

        A room with an agent is left until that agent is gone.
        """
        self.cancel_deletion(room)  # of an earlier call of this method
        self._deleting[room] = asyncio.get_running_loop().create_task(
            self._retry_deletion(room), name=f"close {mask_number(room)}"
        )

    def cancel_deletion(self, room: str) -> None:
        """Stop trying to close a room, because its caller has an agent again, if we still try."""
        if task := self._deleting.pop(room, None):
            task.cancel()

    async def _retry_deletion(self, room: str) -> None:
        """Close a room once the server can and no agent is in it; log if `DELETE_FOR_S` pass."""
        try:
            async with asyncio.timeout(DELETE_FOR_S):
                while True:
                    await asyncio.sleep(DELETE_AGAIN_S)
                    with suppress(RoomsError):  # the first failure was logged
                        there: Sequence[api.ParticipantInfo] = ()
                        with suppress(NoRoomError):
                            there = await _list_participants(self._api, room)
                        if all(participant.identity != AGENT for participant in there):
                            await self.delete(room)
                            break
        except TimeoutError:
            logger.warning(
                "{} was not closed within {:g} s, and is left", mask_number(room), DELETE_FOR_S
            )
        self._deleting.pop(room, None)

    async def transfer(
        self, identity: str, *, room: str, to: Destination, ring_s: float
    ) -> Handover:
        """Ask the carrier to connect the caller elsewhere (SIP REFER); return the result.

        Never raises.

        Args:
            identity: The caller's identity in the room.
            room: The room.
            to: The destination.
            ring_s: How long it may ring there.
        """
        request = api.TransferSIPParticipantRequest(
            participant_identity=identity,
            room_name=room,
            transfer_to=uri_of(to.number),
            play_dialtone=False,
            ringing_timeout=Duration(seconds=round(ring_s)),
        )
        try:
            async with asyncio.timeout(ring_s + RESPONSE_MARGIN_S):
                # Without this limit, the library's own would be the ringing time and 2 s.
                response = await self._api.sip.transfer_sip_participant(
                    request, timeout=ring_s + RESPONSE_MARGIN_S
                )
        except TimeoutError:
            return "no_answer"
        except FAILURES as error:
            code = error.sip_status_code if isinstance(error, api.SipCallError) else None
            rang_too_long = isinstance(error, api.ServerError) and error.code in RANG_TOO_LONG
            if code is None and not rang_too_long:
                logger.warning("LiveKit did not transfer a caller: {!r}", error)
            return handover_of(code, timed_out=rang_too_long)
        return _result_of(response)


async def _list_participants(lk: api.LiveKitAPI, room: str) -> Sequence[api.ParticipantInfo]:
    request = api.ListParticipantsRequest(room=room)
    return (await _response_within_time(lk.room.list_participants(request))).participants


def uri_of(number: str) -> str:
    """Return a REFER target: a SIP address unchanged, a number as `tel:`."""
    return number if number.startswith(("sip:", "sips:", "tel:")) else f"tel:{number}"


def _result_of(response: api.TransferSIPParticipantResponse) -> Handover:
    """Return the result of a transfer whose response is not an error.

    After a successful transfer, a server up to v1.13.5 responds with an empty message: it has no
    id, and its status reads as 0, ongoing. A response with an id and this status does not show
    whether the transfer succeeded, so it counts as failed.

    Source: livekit-api 1.2.2, `SipService.transfer_sip_participant`.
    """
    is_empty = not response.transfer_id and response.status == _STATUS.STS_TRANSFER_ONGOING
    if is_empty or response.status == _STATUS.STS_TRANSFER_SUCCESSFUL:
        return "connected"
    rang_too_long = response.reason == api.SIPTransferReason.STR_RINGING_TIMEOUT
    return handover_of(response.sip_status.code or None, timed_out=rang_too_long)


def refusal_of(refused: api.ServerError) -> str:
    """Return a refusal in words; for a wrong key or secret the server gives no code."""
    if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"rejects LIVEKIT_API_KEY or LIVEKIT_API_SECRET ({refused.status})"
    return f"answered {refused.message or refused.code}"


async def _response_within_time(request: Awaitable[_T]) -> _T:
    """Return the response to a request within `ROOM_REQUEST_S`.

    Raises:
        RoomsError: The request failed in any way; `NoRoomError` if there is no such room.
    """
    try:
        async with asyncio.timeout(ROOM_REQUEST_S):
            return await request
    except api.ServerError as error:
        if error.code == api.ServerErrorCode.NOT_FOUND:
            raise NoRoomError("there is no such room") from error
        raise RoomsError(f"the media server {refusal_of(error)}") from error
    except TimeoutError as error:
        raise RoomsError(f"the media server did not answer within {ROOM_REQUEST_S:g} s") from error
    except aiohttp.ClientError as error:
        raise RoomsError(f"the media server: {type(error).__name__}") from error
    except NOT_LIVEKIT as error:
        raise RoomsError("another server answered in the media server's place") from error
