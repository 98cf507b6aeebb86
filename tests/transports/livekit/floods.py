"""Rooms of LiveKit's library without its native part, and floods of hostile participants.

Each room reads the library's own queue, as in a call; only the server is missing.
"""

import asyncio
import ctypes
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import pytest
from livekit import api, rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto.ffi_pb2 import FfiEvent
from livekit.rtc._proto.participant_pb2 import OwnedParticipant
from livekit.rtc.participant import LocalParticipant

from tests.transports.livekit.test_routes import KEY, SECRET
from transports.livekit import line as livekit_line
from transports.livekit import room as livekit_room
from transports.livekit.room import LEAD_MS

PHONE: Final = "sip_1"
ACTIVE: Final = {"sip.callID": "SCL_1", "sip.callStatus": "active"}
FRAME_S: Final = 0.02
SILENCE: Final = bytes(320)
EVENTS: Final = 3_000  # of one flood, three times what a call may have at once


class PacedSource:
    """Accepts sound in real time."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._dry_at = 0.0

    @property
    def queued_duration(self) -> float:
        return max(0.0, self._dry_at - time.monotonic())

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        self._dry_at = max(self._dry_at, time.monotonic()) + frame.duration
        await asyncio.sleep(max(0.0, self.queued_duration - LEAD_MS / 1000))

    async def wait_for_playout(self) -> None:
        await asyncio.sleep(self.queued_duration)

    def clear_queue(self) -> None:
        self._dry_at = 0.0

    async def aclose(self) -> None:
        """Nothing is open."""


class Library:
    """Replaces the native part of the library, and counts its objects.

    Attributes:
        rooms: The rooms that we are in, by name.
        held: The objects that events own and that were not freed.
        streams: The number of tracks that are being listened to.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, FarRoom] = {}
        self.held: set[int] = set()
        self.streams = 0
        self._numbers = count(1 << 40)  # the library's own begin at 1
        self._events = FfiClient.instance.queue
        self._native = FfiClient.instance._ffi_lib.livekit_ffi_drop_handle

    @property
    def readers(self) -> int:
        """The number of readers of the library's events."""
        return len(self._events._subscribers)

    def next_handle(self) -> int:
        self.held.add(number := next(self._numbers))
        return number

    def drop_handle(self, number: ctypes.c_uint64) -> bool:
        if number.value in self.held:
            self.held.discard(number.value)
            return True
        return bool(self._native(number))

    def tell(self, event: FfiEvent) -> None:
        """Send an event to every reader, as the library's thread does."""
        self._events.put(event)

    def room(self) -> "FarRoom":
        return FarRoom(self)

    async def listen(self) -> AsyncIterator[Any]:
        """Yield the sound of a caller who says nothing."""
        self.streams += 1
        try:
            while True:
                await asyncio.sleep(FRAME_S)
                yield SimpleNamespace(frame=SimpleNamespace(data=SILENCE))
        finally:
            self.streams -= 1


class FarRoom(rtc.Room):
    """A room with a telephone in it; without one if its name ends in `empty`."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.library = library
        self.called = ""

    async def connect(self, url: str, token: str, options: Any = None) -> None:
        del url, options
        claims = api.TokenVerifier(KEY, SECRET).verify(token)
        assert claims.video
        self.called = claims.video.room
        self._ffi_handle = rtc.room.FfiHandle(self.library.next_handle())
        self._ffi_queue = FfiClient.instance.queue.subscribe(self._loop, lambda _: True)
        self._connection_state = rtc.ConnectionState.CONN_CONNECTED
        self._local_participant = LocalParticipant(self._room_queue, OwnedParticipant())
        if not self.called.endswith("empty"):
            phone = self._create_remote_participant(participant(self, PHONE))
            phone._info.attributes.update(ACTIVE)
        self.library.rooms[self.called] = self
        self._task = self._loop.create_task(self._listen_task(), name=f"far {self.called}")

    async def disconnect(self, **_: Any) -> None:
        if self.library.rooms.pop(self.called, None):
            self.library.tell(event(self, "eos"))
            await self._task
            FfiClient.instance.queue.unsubscribe(self._ffi_queue)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Run rooms without a server in this process."""

    async def publish(room: rtc.Room, _: Any) -> None:
        room.emit("local_track_subscribed", None)

    it = Library()
    monkeypatch.setattr(FfiClient.instance._ffi_lib, "livekit_ffi_drop_handle", it.drop_handle)
    monkeypatch.setattr(rtc, "Room", it.room)
    monkeypatch.setattr(rtc, "AudioSource", PacedSource)
    monkeypatch.setattr(rtc, "AudioStream", lambda *_, **__: it.listen())
    monkeypatch.setattr(rtc.RemoteTrackPublication, "set_subscribed", lambda *_: None)
    for module in (livekit_room, livekit_line):
        monkeypatch.setattr(module, "publish", publish)
    yield it
    it.rooms.clear()


def event(room: FarRoom, kind: str) -> FfiEvent:
    told = FfiEvent()
    assert room._ffi_handle
    told.room_event.room_handle = room._ffi_handle.handle
    getattr(told.room_event, kind).SetInParent()
    return told


def participant(room: FarRoom, identity: str) -> OwnedParticipant:
    found = OwnedParticipant()
    found.handle.id = room.library.next_handle()
    found.info.identity = identity
    found.info.kind = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    return found


def plain(kind: str) -> "Flood":
    """Send events that own nothing."""
    return lambda room, _: [event(room, kind)]


def owning(kind: str, part: str) -> "Flood":
    """Send events whose part owns an object of the library."""

    def flood(room: FarRoom, _: int) -> list[FfiEvent]:
        told = event(room, kind)
        getattr(getattr(told.room_event, kind), part).handle.id = room.library.next_handle()
        return [told]

    return flood


def data(room: FarRoom, _: int) -> list[FfiEvent]:
    told = event(room, "data_packet_received")
    told.room_event.data_packet_received.user.data.handle.id = room.library.next_handle()
    return [told]


def keys(room: FarRoom, _: int) -> list[FfiEvent]:
    told = event(room, "data_packet_received")
    told.room_event.data_packet_received.participant_identity = PHONE
    told.room_event.data_packet_received.sip_dtmf.digit = "5"
    return [told]


def attributes(room: FarRoom, _: int) -> list[FfiEvent]:
    told = event(room, "participant_attributes_changed")
    changed = told.room_event.participant_attributes_changed
    changed.participant_identity = PHONE
    for key, value in {**ACTIVE, "mood": "x" * 20_000}.items():
        changed.attributes.add(key=key, value=value)
    return [told]


def people(room: FarRoom, number: int) -> list[FfiEvent]:
    told = event(room, "participant_connected")
    told.room_event.participant_connected.info.CopyFrom(participant(room, f"guest_{number}"))
    return [told]


def tracks(room: FarRoom, number: int) -> list[FfiEvent]:
    published, subscribed = event(room, "track_published"), event(room, "track_subscribed")
    first, second = published.room_event.track_published, subscribed.room_event.track_subscribed
    first.participant_identity = second.participant_identity = PHONE
    for info in (first.publication.info, second.track.info):
        info.sid, info.kind = f"TR_{number}", rtc.TrackKind.KIND_AUDIO
    first.publication.handle.id = room.library.next_handle()
    second.track.handle.id = room.library.next_handle()
    return [published, subscribed]


Flood: TypeAlias = Callable[[FarRoom, int], list[FfiEvent]]
FLOODS: Final[dict[str, Flood]] = {
    "data": data,
    "keys": keys,
    "chat messages": plain("chat_message"),
    "transcriptions": plain("transcription_received"),
    "parts of a stream": plain("stream_chunk_received"),
    "text streams": owning("text_stream_opened", "reader"),
    "byte streams": owning("byte_stream_opened", "reader"),
    "data tracks": owning("data_track_published", "track"),
    "participants": people,
    "tracks": tracks,
    "attributes": attributes,
}


def send(room: FarRoom, flood: Flood) -> None:
    """Send a flood into a room before anyone can react."""
    for number in range(EVENTS):
        for told in flood(room, number):
            room.library.tell(told)
