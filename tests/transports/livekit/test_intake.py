"""Events that reach a room's queue, and tracks that a line keeps."""

from collections.abc import Iterator
from functools import reduce
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.rtc._proto.ffi_pb2 import FfiEvent
from livekit.rtc._proto.room_pb2 import RoomEvent

from tests.transports.livekit.test_line import CALLER, SlowServer, watched_line
from transports.livekit import room as livekit_room
from transports.livekit.room import EVENTS_CAP, EVENTS_PER_S, RoomIntake

OURS, THEIRS = 7, 8


class Library:
    """A room's intake, and what happened to the library's handles."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.freed: list[int] = []
        self.floods = 0
        self.now = 0.0
        handle = SimpleNamespace
        monkeypatch.setattr(
            livekit_room, "FfiHandle", lambda number: handle(dispose=lambda: self._free(number))
        )
        self.intake = RoomIntake(
            OURS, clock=lambda: self.now, on_flood=self._flood, library_wants=lambda _: True
        )

    def _flood(self) -> None:
        self.floods += 1

    def _free(self, number: int) -> None:
        self.freed.append(number)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def event(kind: str, *, room: int = OURS) -> FfiEvent:
    found = FfiEvent()
    found.room_event.room_handle = room
    getattr(found.room_event, kind).SetInParent()
    return found


def key() -> FfiEvent:
    found = event("data_packet_received")
    found.room_event.data_packet_received.sip_dtmf.digit = "5"
    return found


def data(number: int = 3) -> FfiEvent:
    found = event("data_packet_received")
    found.room_event.data_packet_received.user.data.handle.id = number
    return found


def call() -> FfiEvent:
    found = FfiEvent()
    found.rpc_method_invocation.SetInParent()
    return found


def published() -> FfiEvent:
    found = FfiEvent()
    found.publish_track.SetInParent()
    return found


TAKEN = {
    "a participant": (event("participant_connected"), True),
    "a track": (event("track_subscribed"), True),
    "a key": (key(), True),
    "the end": (event("eos"), True),
    "the answer to our request": (published(), True),
    "another room's participant": (event("participant_connected", room=THEIRS), False),
    "data": (data(), False),
    "a chat message": (event("chat_message"), False),
    "a transcription": (event("transcription_received"), False),
    "a part of a stream": (event("stream_chunk_received"), False),
    "a text stream": (event("text_stream_opened"), False),
    "a byte stream": (event("byte_stream_opened"), False),
    "a request for a procedure": (call(), False),
}


@pytest.mark.parametrize(("told", "taken"), TAKEN.values(), ids=TAKEN.keys())
def test_only_what_a_call_reads_is_queued(
    told: FfiEvent,
    taken: bool,  # noqa: FBT001 - a parameter of the table
    library: Library,
) -> None:
    assert library.intake.takes(told) == taken


def owners(kind: Any = RoomEvent.DESCRIPTOR, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield where the events of a room hold an object of the library, in this version of it."""
    for field in kind.fields:
        if field.message_type and field.message_type.name == "FfiOwnedHandle":
            yield (*path, field.name, "id")
        elif field.message_type:
            yield from owners(field.message_type, (*path, field.name))


@pytest.mark.parametrize("path", [*owners()], ids=".".join)
def test_an_event_is_queued_or_its_object_is_freed_also_after_a_flood(
    path: tuple[str, ...], library: Library
) -> None:
    def owning(number: int) -> FfiEvent:
        told = event(path[0])
        owner: Any = reduce(getattr, path[:-1], told.room_event)
        owner.id = number
        return told

    taken = [number for number in range(1, 2_001) if library.intake.takes(owning(number))]

    assert sorted(taken + library.freed) == list(range(1, 2_001))
    assert library.floods == 1


@pytest.mark.parametrize("kind", ["participant_attributes_changed", "data_packet_received"])
def test_a_flood_is_reported_once_and_nothing_but_the_end_is_queued_after_it(
    kind: str, library: Library
) -> None:
    for _ in range(3_000):
        library.intake.takes(event(kind))
    library.now = 1_000.0

    assert library.floods == 1
    assert not library.intake.takes(event("participant_connected"))
    assert library.intake.takes(event("disconnected"))


def test_an_hour_of_ordinary_events_is_no_flood(library: Library) -> None:
    for _ in range(int(EVENTS_CAP)):
        assert library.intake.takes(event("participant_attributes_changed"))
    for _ in range(3_600):
        library.now += 1.0
        assert all(library.intake.takes(key()) for _ in range(int(EVENTS_PER_S) // 2))

    assert library.floods == 0


@pytest.mark.virtual_time
async def test_a_flooded_room_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    server, refused = SlowServer(refuses=0, takes_up=True), list[str]()
    async with watched_line(server, monkeypatch) as line:
        line.on_refused = refused.append
        await line.usable.wait()
        server.flooded()

        assert line.stay.over == "line_ended"
    assert refused == ["room_events_too_fast"]


class Publication:
    """A participant's track in a room."""

    def __init__(
        self, person: Any, kind: int = rtc.TrackKind.KIND_AUDIO, sid: str = "TR_1"
    ) -> None:
        self.sid = sid
        self.person = person
        self.track: Any = SimpleNamespace(kind=kind, sid=sid)
        self.subscribed = True

    def set_subscribed(self, subscribed: bool) -> None:  # noqa: FBT001 - as LiveKit's
        self.subscribed = subscribed


STRANGER = SimpleNamespace(identity="someone", attributes={}, kind=CALLER.kind)
PICTURE = rtc.TrackKind.KIND_VIDEO


@pytest.mark.virtual_time
async def test_tracks_that_nothing_reads_are_unsubscribed_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller = SimpleNamespace(**vars(CALLER), track_publications={})
    server, refused = SlowServer(refuses=0, takes_up=True), list[str]()
    async with watched_line(server, monkeypatch) as line:
        line.on_refused = refused.append
        first, picture = Publication(caller), Publication(caller, PICTURE, "TR_2")
        other, second = Publication(STRANGER, sid="TR_3"), Publication(caller, sid="TR_4")
        for publication in (first, picture, other, second):
            caller.track_publications[publication.sid] = publication
            server.ears["track_subscribed"](publication.track, publication, publication.person)

        assert line.sound is second.track
        assert [item.subscribed for item in (first, picture, other, second)] == [
            *(False, False, False, True)
        ]
    assert refused == ["unwanted_track", "second_track"]


@pytest.mark.virtual_time
async def test_the_callers_track_after_a_restart_replaces_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller = SimpleNamespace(**vars(CALLER), track_publications={})
    server, refused = SlowServer(refuses=0, takes_up=True), list[str]()
    async with watched_line(server, monkeypatch) as line:
        line.on_refused = refused.append
        for sid in ("TR_1", "TR_2"):
            publication = Publication(caller, sid=sid)
            server.ears["track_subscribed"](publication.track, publication, caller)

        assert line.sound is publication.track
    assert refused == []
