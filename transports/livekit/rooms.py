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
from livekit.api.twirp_client import TwirpClient
from loguru import logger
from pydantic import SecretStr

from calls.handover import Destination, Handover
from transports.livekit.words import handover_of, shown

AGENT: Final = "holdline"  # our identity in every room: the later agent replaces the earlier one
ASK_S: Final = 3.0
# For an idle connection. The poll for rooms asks every 0.5 s and takes the connection that has been
# idle longest: with 1 s and more it would keep all that a flood of rooms opened, for ever.
IDLE_S: Final = 0.75
MORE_S: Final = 5.0  # after the ringing, for a transfer's answer to arrive
SERVER: Final = "holdline.server"  # an attribute of our agents: the id of their server
ANSWER_S: Final = 1.2  # a live agent answers within hundredths of a second
ASKED: Final = 2  # times: a request is lost while an agent reconnects
DELETE_AGAIN_S: Final = 2.0  # the caller hears nothing meanwhile
DELETE_FOR_S: Final = 600.0  # chosen: a gateway without a server ends its calls much sooner
TOKEN_S: Final = 24 * 3600.0  # a LiveKit call is shorter; reconnecting shows the token again
NOT_LIVEKIT: Final = (DecodeError, AttributeError)
"""The library's exceptions when another server answers in LiveKit's place, as a proxy does during a
restart: with a page and status 200, or with JSON that is no object."""
FAILURES: Final = (api.ServerError, aiohttp.ClientError, TimeoutError, *NOT_LIVEKIT)
"""All exceptions that a request of the library raises."""

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
    """One server's rooms. Create it within a running loop; `close` releases its connections."""

    def __init__(
        self, *, url: str, api_key: SecretStr, api_secret: SecretStr, server_id: str
    ) -> None:
        self.url = url
        self._server_id = server_id
        self._key, self._secret = api_key.get_secret_value(), api_secret.get_secret_value()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=IDLE_S),
            timeout=aiohttp.ClientTimeout(total=ASK_S),
        )
        self._api = api.LiveKitAPI(url, self._key, self._secret, session=self._session)
        self._twirp = TwirpClient(self._session, url, "livekit")
        self._deleting: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Release the connections; rooms that are still open stay open."""
        deleting = tuple(self._deleting.values())
        for item in deleting:
            item.cancel()
        await asyncio.gather(*deleting, return_exceptions=True)
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
            RoomsError: The server does not answer.
        """
        listed = await _request(self._api.room.list_rooms(api.ListRoomsRequest()))
        return [
            OpenRoom(sid=room.sid, name=room.name)
            for room in listed.rooms
            if room.name.startswith(prefix) and room.num_participants
        ]

    async def has_caller(self, room: str) -> bool:
        """Return whether a telephone is in a room.

        Raises:
            RoomsError: The server does not answer.
        """
        return any(
            item.kind == api.ParticipantInfo.SIP for item in await _participants(self._api, room)
        )

    async def is_free(self, room: str) -> bool:
        """Return whether a room has no agent, this server's agent, or a dead one.

        LiveKit lists a dead agent for about 20 s, so another server's agent is asked. This server's
        own is not: its worker has ended, or it would hold the claim on the room.

        Raises:
            RoomsError: LiveKit does not answer.
        """
        for agent in await _participants(self._api, room):
            if agent.identity == AGENT and agent.attributes.get(SERVER) != self._server_id:
                return not await self._answers(room)
        return True

    async def _answers(self, room: str) -> bool:
        """Return whether an agent is alive, by calling a method that no agent has.

        LiveKit's library refuses it at once, in an agent of any version. Only silence means death:
        if LiveKit cannot ask, as a server without `PerformRpc`, the agent counts as alive until
        LiveKit drops it.
        """
        grants = api.VideoGrants(room_admin=True, room=room)
        shown = api.AccessToken(self._key, self._secret).with_grants(grants).to_jwt()
        asked = api.PerformRpcRequest(room=room, destination_identity=AGENT, method="alive")
        for _ in range(ASKED):
            asking = self._twirp.request(
                "RoomService",
                "PerformRpc",
                asked,
                {"authorization": f"Bearer {shown}"},
                api.PerformRpcResponse,
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    with suppress(RoomsError):
                        await _request(asking)
                    return True
        return False

    async def delete(self, room: str) -> None:
        """Close a room, which hangs up on every participant; harmless if it is closed already.

        Raises:
            RoomsError: The server did not close it.
        """
        with suppress(NoRoomError):
            await _request(self._api.room.delete_room(api.DeleteRoomRequest(room=room)))

    def delete_later(self, room: str) -> None:
        """Keep trying to close a room until the server does: its caller has no agent."""
        self.keep(room)
        self._deleting[room] = asyncio.get_running_loop().create_task(
            self._delete_at_last(room), name=f"close {shown(room)}"
        )

    def keep(self, room: str) -> None:
        """Do not close a room later: its caller has an agent again."""
        if task := self._deleting.pop(room, None):
            task.cancel()

    async def _delete_at_last(self, room: str) -> None:
        """Close a room once the server can, but not while a live agent is in it; we have left."""
        try:
            async with asyncio.timeout(DELETE_FOR_S):
                while True:
                    await asyncio.sleep(DELETE_AGAIN_S)
                    with suppress(RoomsError):  # the first failure was logged
                        there: Sequence[api.ParticipantInfo] = ()
                        with suppress(NoRoomError):
                            there = await _participants(self._api, room)
                        agent = any(item.identity == AGENT for item in there)
                        if not (agent and await self._answers(room)):
                            await self.delete(room)
                            break
        except TimeoutError:
            logger.warning(
                "{} was not closed within {:g} s, and is left", shown(room), DELETE_FOR_S
            )
        self._deleting.pop(room, None)

    async def transfer(
        self, identity: str, *, room: str, to: Destination, ring_s: float
    ) -> Handover:
        """Ask the caller's carrier to connect the caller elsewhere (SIP REFER)."""
        request = api.TransferSIPParticipantRequest(
            participant_identity=identity,
            room_name=room,
            transfer_to=uri_of(to.number),
            play_dialtone=False,
            ringing_timeout=Duration(seconds=round(ring_s)),
        )
        try:
            async with asyncio.timeout(ring_s + MORE_S):
                answer = await self._api.sip.transfer_sip_participant(request)
        except api.SipCallError as refused:
            ran_out = refused.code == api.ServerErrorCode.CANCELED
            return handover_of(refused.sip_status_code, timed_out=ran_out)
        except TimeoutError:
            return "no_answer"
        except (api.ServerError, aiohttp.ClientError, *NOT_LIVEKIT) as error:
            logger.warning("LiveKit did not transfer a caller: {!r}", error)
            return "failed"
        return _result_of(answer)


async def _participants(lk: api.LiveKitAPI, room: str) -> Sequence[api.ParticipantInfo]:
    asked = api.ListParticipantsRequest(room=room)
    return (await _request(lk.room.list_participants(asked))).participants


def uri_of(number: str) -> str:
    """Return a REFER target: a SIP address unchanged, a number as `tel:`."""
    return number if number.startswith(("sip:", "sips:", "tel:")) else f"tel:{number}"


def _result_of(answer: api.TransferSIPParticipantResponse) -> Handover:
    """Return the result of a transfer that was answered without an error.

    A server up to v1.13.5 answers a successful transfer with an empty message: no id, and a status
    that reads as 0, ongoing. An answer with an id and this status leaves success unknown, so the
    caller is kept.

    Source: livekit-api 1.2.2, `SipService.transfer_sip_participant`.
    """
    says_nothing = not answer.transfer_id and answer.status == _STATUS.STS_TRANSFER_ONGOING
    if says_nothing or answer.status == _STATUS.STS_TRANSFER_SUCCESSFUL:
        return "connected"
    ran_out = answer.reason == api.SIPTransferReason.STR_RINGING_TIMEOUT
    return handover_of(answer.sip_status.code or None, timed_out=ran_out)


def refusal_of(refused: api.ServerError) -> str:
    """Return a refusal in words; a wrong key or secret is answered with text, not with a code."""
    if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"rejects LIVEKIT_API_KEY or LIVEKIT_API_SECRET ({refused.status})"
    return f"answered {refused.message or refused.code}"


async def _request(asking: Awaitable[_T]) -> _T:
    """Return the server's answer, within `ASK_S`."""
    try:
        async with asyncio.timeout(ASK_S):
            return await asking
    except api.ServerError as refused:
        if refused.code == api.ServerErrorCode.NOT_FOUND:
            raise NoRoomError("there is no such room") from refused
        raise RoomsError(f"the media server {refusal_of(refused)}") from refused
    except TimeoutError as late:
        raise RoomsError(f"the media server did not answer within {ASK_S:g} s") from late
    except aiohttp.ClientError as lost:
        raise RoomsError(f"the media server: {type(lost).__name__}") from lost
    except NOT_LIVEKIT as strange:
        raise RoomsError("another server answered in the media server's place") from strange
