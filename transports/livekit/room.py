"""The LiveKit library's commands to a room, each with a time limit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiHandle
from livekit.rtc._proto.ffi_pb2 import FfiEvent
from loguru import logger

from transports.arrival_rules import IntakeAllowance

RATE_HZ: Final = 8_000  # docs/decisions/0021
LEAD_MS: Final = 200  # buffered in the library's own queue, so that a stall of 0.15 s makes no gap
COMMAND_S: Final = 2.0  # for a command: if the room is closed meanwhile, the library waits for ever
JOIN_S: Final = 10.0  # chosen: more than the library's own retries take
CONNECT_S: Final = 1.5  # for each try: a starting server accepts a connection without a response
TRACK: Final = "agent"
REFUSALS: Final = (
    rtc.ConnectError,
    rtc.participant.PublishTrackError,
    rtc.participant.UnpublishTrackError,
    rtc.participant.PublishDTMFError,
)

_PROGRAMS: Final = frozenset(  # kinds of participants that are never a caller
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


Handlers: TypeAlias = Mapping[rtc.room.EventTypes, Callable[..., None]]
"""Handlers of a room's events; each gets the library's arguments."""


EVENTS_PER_S: Final = 100.0  # a call has about ten at its beginning, and one for each key
EVENTS_CAP: Final = 1000.0
_ENDS: Final = frozenset({"eos", "disconnected"})  # read even after too many events
_UNREAD: Final = frozenset(
    {
        "active_speakers_changed",
        "byte_stream_opened",
        "chat_message",
        "connection_quality_changed",
        "data_track_published",
        "data_track_unpublished",
        "stream_chunk_received",
        "stream_header_received",
        "stream_trailer_received",
        "text_stream_opened",
        "transcription_received",
    }
)
# Events that own an object of the library; how to get the object's handle.
_OWNERS: Final[Mapping[str, Callable[[Any], int]]] = {
    "byte_stream_opened": attrgetter("byte_stream_opened.reader.handle.id"),
    "data_packet_received": attrgetter("data_packet_received.user.data.handle.id"),
    "data_track_published": attrgetter("data_track_published.track.handle.id"),
    "participant_connected": attrgetter("participant_connected.info.handle.id"),
    "text_stream_opened": attrgetter("text_stream_opened.reader.handle.id"),
    "track_published": attrgetter("track_published.publication.handle.id"),
    "track_subscribed": attrgetter("track_subscribed.track.handle.id"),
}


class RoomIntake:
    """Decides which of the library's events a room's queue gets.

    Events are counted in the library's own thread, before they reach a queue. The library's queues
    have no limit, and the queue of each room gets the events of all rooms of the process.
    """

    def __init__(
        self,
        room: int,
        *,
        clock: Callable[[], float],
        on_flood: Callable[[], object],
        library_wants: Callable[[FfiEvent], bool],
    ) -> None:
        """Count from now on.

        Args:
            room: The library's handle of the room.
            clock: The time in seconds; monotonic.
            on_flood: Called once, in the library's thread, when there are too many events.
            library_wants: The library's own filter.
        """
        self._room = room
        self._clock = clock
        self._on_flood = on_flood
        self._library_wants = library_wants
        self._over = False
        self._allowance = IntakeAllowance(per_s=EVENTS_PER_S, cap=EVENTS_CAP, now=clock())

    def takes(self, event: FfiEvent) -> bool:
        """Return whether the room reads an event; if not, free the object that the event owns.

        Called in the library's thread. Events of other rooms are left to those.
        """
        which = event.WhichOneof("message")
        if which == "rpc_method_invocation":  # any participant may send it; we have no methods
            return False
        if which != "room_event":
            return self._library_wants(event)
        room_event = event.room_event
        if room_event.room_handle != self._room:
            return False
        kind = room_event.WhichOneof("message") or ""
        taken = self._count_event(kind) and not _is_data(room_event)
        if not taken and kind in _OWNERS:
            FfiHandle(_OWNERS[kind](room_event)).dispose()
        return taken

    def _count_event(self, kind: str) -> bool:
        """Count an event; return whether the room reads its kind, and is not flooded.

        The first excess calls `on_flood`; from then on, only events about the end are read.
        """
        now = self._clock()
        self._allowance.spend(1, now)
        if self._allowance.wait_s(now) > 0 and not self._over:
            self._over = True
            self._on_flood()
        return kind in _ENDS or not (self._over or kind in _UNREAD)


def _is_data(event: Any) -> bool:
    """Return whether an event is data of a participant, which we do not read, and not a key."""
    return event.HasField("data_packet_received") and not event.data_packet_received.HasField(
        "sip_dtmf"
    )


def _limit_events(room: rtc.Room, on_flood: Callable[[], None]) -> None:
    """Limit the events of a room from now on; if the library has changed, only log a warning."""
    events, loop = FfiClient.instance.queue, asyncio.get_running_loop()
    with events._lock:  # noqa: SLF001 - the library has no public way to filter
        for place, (queue, owner, wanted) in enumerate(events._subscribers):  # noqa: SLF001
            if queue is room._ffi_queue and wanted and room._ffi_handle:  # noqa: SLF001
                intake = RoomIntake(
                    room._ffi_handle.handle,  # noqa: SLF001
                    clock=loop.time,
                    on_flood=partial(loop.call_soon_threadsafe, on_flood),
                    library_wants=wanted,
                )
                events._subscribers[place] = (queue, owner, intake.takes)  # noqa: SLF001
                return
    logger.warning("the events of a room are not bounded: the library has changed")


async def join(
    place: RoomPlace, source: rtc.AudioSource, handlers: Handlers, on_flood: Callable[[], None]
) -> rtc.Room:
    """Join a room and publish our sound there.

    Args:
        place: The room.
        source: Our sound.
        handlers: Called with the room's events.
        on_flood: Called once, when the room has more events than any call; later ones are dropped.

    Raises:
        LineError: The server refuses us or cannot be reached.
    """
    room = rtc.Room()
    for event, handler in handlers.items():
        room.on(event, handler)
    options = rtc.RoomOptions(auto_subscribe=True, connect_timeout=CONNECT_S)
    try:
        async with _within_time("let us in", within_s=JOIN_S):
            await room.connect(place.url, place.token(), options)
        _limit_events(room, on_flood)
        await publish(room, source)
    except LineError:
        await leave(room)
        raise
    # The library has no event about a participant who was in the room before us.
    for participant in room.remote_participants.values():
        handlers["participant_connected"](participant)
    return room


async def leave(room: rtc.Room) -> None:
    """Leave a room; never fails: a server that does not respond removes us later by itself."""
    with suppress(LineError):
        async with _within_time("let us go"):
            await room.disconnect()


async def publish(room: rtc.Room, source: rtc.AudioSource) -> None:
    """Publish our sound, in place of the earlier track.

    Raises:
        LineError: The server did not accept it.
    """
    mine = room.local_participant
    async with _within_time("take our track"):
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
    async with _within_time("take our key"):
        await room.local_participant.publish_dtmf(code=code, digit=key)


@asynccontextmanager
async def _within_time(what: str, *, within_s: float = COMMAND_S) -> AsyncIterator[None]:
    """Limit the time of a library call in the block.

    Args:
        what: What the server should do, for the text of the error.
        within_s: The limit.

    Raises:
        LineError: The server refused the command, or did not respond in time.
    """
    try:
        async with asyncio.timeout(within_s):
            yield
    except (*REFUSALS, TimeoutError) as error:
        raise LineError(f"the media server did not {what}") from error


def may_be_caller(participant: rtc.Participant) -> bool:
    """Return whether a participant is of a kind that can be a caller: a telephone or a browser."""
    return participant.kind not in _PROGRAMS
