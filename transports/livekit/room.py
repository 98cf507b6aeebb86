"""The LiveKit library's commands to a room, each in bounded time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from livekit import rtc

RATE_HZ: Final = 8_000  # docs/decisions/0021
LEAD_MS: Final = 200  # buffered in the library's own queue: a stall of 0.15 s causes no gap
ANSWER_S: Final = 2.0  # if the room is closed meanwhile, the library waits for ever
JOIN_S: Final = 10.0  # chosen: more than the library's own retries take
CONNECT_S: Final = 1.5  # for each try: a starting server accepts a connection and stays silent
TRACK: Final = "agent"
REFUSALS: Final = (
    rtc.ConnectError,
    rtc.participant.PublishTrackError,
    rtc.participant.UnpublishTrackError,
    rtc.participant.PublishDTMFError,
)

_OTHERS: Final = frozenset(
    {
        rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
        rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS,
        rtc.ParticipantKind.PARTICIPANT_KIND_INGRESS,
    }
)


class LineError(Exception):
    """We are not in the room; the text holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomPlace:
    """A room's address and our credentials."""

    url: str
    room: str
    token: Callable[[], str]


Ears: TypeAlias = Mapping[rtc.room.EventTypes, Callable[..., None]]
"""Handlers of a room's events; each gets all that the library tells."""


async def join(place: RoomPlace, source: rtc.AudioSource, ears: Ears) -> rtc.Room:
    """Return a room with our sound published; `ears` get all its events.

    Raises:
        LineError: The server refuses us or cannot be reached.
    """
    room = rtc.Room()
    for event, ear in ears.items():
        room.on(event, ear)
    options = rtc.RoomOptions(auto_subscribe=True, connect_timeout=CONNECT_S)
    try:
        async with _answering("let us in", within_s=JOIN_S):
            await room.connect(place.url, place.token(), options)
        await publish(room, source)
    except LineError:
        await leave(room)
        raise
    for participant in room.remote_participants.values():
        ears["participant_connected"](participant)
    return room


async def leave(room: rtc.Room) -> None:
    """Leave a room; a server that does not answer removes us by itself."""
    with suppress(LineError):
        async with _answering("let us go"):
            await room.disconnect()


async def publish(room: rtc.Room, source: rtc.AudioSource) -> None:
    """Publish our sound, in place of the earlier track.

    Raises:
        LineError: The server did not accept it.
    """
    mine = room.local_participant
    async with _answering("take our track"):
        for sid in tuple(mine.track_publications):
            await mine.unpublish_track(sid)
        track = rtc.LocalAudioTrack.create_audio_track(TRACK, source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await mine.publish_track(track, options)


async def press(room: rtc.Room, key: str, *, code: int) -> None:
    """Send a key to the far end.

    Raises:
        LineError: The server did not accept it.
    """
    async with _answering("take our key"):
        await room.local_participant.publish_dtmf(code=code, digit=key)


@asynccontextmanager
async def _answering(what: str, *, within_s: float = ANSWER_S) -> AsyncIterator[None]:
    """Bound the time of a library call in the block.

    Raises:
        LineError: The server refused it, or did not answer.
    """
    try:
        async with asyncio.timeout(within_s):
            yield
    except (*REFUSALS, TimeoutError) as refused:
        raise LineError(f"the media server did not {what}") from refused


def is_person(participant: rtc.Participant) -> bool:
    """Return whether a participant can be a caller: a telephone or browser, not a machine."""
    return participant.kind not in _OTHERS
