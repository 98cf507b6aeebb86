"""Our leg with a real telephone: keys, transfer, leaving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit import api, rtc
from pydantic import SecretStr

from calls.events import Event
from calls.handover import Destination
from runtime import clock
from tests.peers.conftest import NewPhone
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import SipPhone
from tests.peers.test_peers import first_room
from transports.livekit.leg import LivekitLeg
from transports.livekit.line import LivekitLine
from transports.livekit.room import RoomPlace
from transports.livekit.rooms import LivekitRooms

GUARD_S = 30.0


@pytest.fixture
async def rooms(media_server: MediaServer) -> AsyncIterator[LivekitRooms]:
    """Set up a number, and our access to its server."""
    await media_server.add_number()
    found = LivekitRooms(
        url=media_server.websocket_url,
        api_key=SecretStr(media_server.key),
        api_secret=SecretStr(media_server.secret),
        server_id="ours",
    )
    yield found
    await found.close()
    await media_server.remove_all()


@asynccontextmanager
async def answered(
    media_server: MediaServer, rooms: LivekitRooms, phone: SipPhone, told: list[Event]
) -> AsyncIterator[LivekitLeg]:
    """Have a phone call and our leg answer it, without a pipeline."""
    await phone.dial(media_server.uri())
    async with media_server.api() as lk:
        name = await first_room(lk)
    place = RoomPlace(url=rooms.url, room=name, token=lambda: rooms.token(name))
    line = LivekitLine(place, clock=clock.monotonic)
    await line.open()
    assert await line.wait_for_caller()
    leg = LivekitLeg(line, emit=told.append, rooms=rooms)
    await leg.answered()
    await phone.until("CALL_ESTABLISHED")
    try:
        yield leg
    finally:
        await leg.hang_up("agent_hung_up")


def events(told: list[Event], kind: str) -> list[Any]:
    return [event for event in told if type(event).__name__ == kind]


async def test_a_callers_data_and_a_legs_events_are_known(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone, told = await new_phone(), list[Event]()
    async with answered(media_server, rooms, phone, told) as leg:
        facts = leg.facts
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(leg.watch())
            await phone.hang_up()
            async with asyncio.timeout(GUARD_S):
                await watch

    assert (facts.transport, facts.caller, facts.called) == ("livekit", "phone", "+15550100")
    assert facts.call_ref.startswith("SCL_")
    assert facts.transfers
    assert [event.call_ref for event in events(told, "LegAnswered")] == [facts.call_ref]
    (ended,) = events(told, "LegEnded")
    assert (ended.outcome, ended.reason) == ("completed", "caller_hung_up")


@pytest.mark.parametrize("what", ["the room", "the caller"])
async def test_a_call_that_someone_else_ends_was_not_ended_by_the_caller(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone, what: str
) -> None:
    phone, told = await new_phone(), list[Event]()
    async with answered(media_server, rooms, phone, told) as leg:
        room, party = leg.line.place.room, leg.line.party
        assert party
        watch = asyncio.create_task(leg.watch())
        async with media_server.api() as lk:
            if what == "the room":
                await lk.room.delete_room(api.DeleteRoomRequest(room=room))
            else:
                caller = api.RoomParticipantIdentity(room=room, identity=party.identity)
                await lk.room.remove_participant(caller)
        await phone.until("CALL_CLOSED")
        async with asyncio.timeout(GUARD_S):
            await watch

    (ended,) = events(told, "LegEnded")
    assert (ended.outcome, ended.reason) == ("completed", "line_ended")


@asynccontextmanager
async def stranger(media_server: MediaServer, name: str) -> AsyncIterator[rtc.LocalParticipant]:
    """Join the room as another participant, which may publish and send data."""
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken(media_server.key, media_server.secret).with_identity("someone")
    room = rtc.Room()
    await room.connect(media_server.websocket_url, token.with_grants(grants).to_jwt())
    try:
        yield room.local_participant
    finally:
        await room.disconnect()


async def test_data_and_tracks_of_others_in_a_room_reach_no_queue_and_a_flood_ends_the_call(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone, told, keys = await new_phone(), list[Event](), list[str]()
    async with answered(media_server, rooms, phone, told) as leg:
        leg.line.on_key = keys.append
        sound, room = leg.line.sound, leg.line._room
        assert room
        watching = asyncio.create_task(leg.watch())
        async with stranger(media_server, leg.line.place.room) as other:
            source = rtc.AudioSource(8_000, 1)
            for number in range(3):
                track = rtc.LocalAudioTrack.create_audio_track(f"extra-{number}", source)
                await other.publish_track(track)
            for _ in range(500):
                await other.publish_data(b"x" * 1_000, topic="chat")
            await phone.press("5")
            async with asyncio.timeout(GUARD_S):
                while not keys:  # noqa: ASYNC110 - the library tells it
                    await asyncio.sleep(0.05)
            assert leg.line.sound is sound
            assert not leg.line.stay.over
            for _ in range(3_000):
                await other.publish_data(b"x" * 1_000, topic="chat")
            async with asyncio.timeout(GUARD_S):
                await watching
            assert room._ffi_queue.qsize() < 10

    assert keys == ["5"]
    refused = [event.reason for event in events(told, "InputRefused")]
    assert refused == ["unwanted_track", "room_events_too_fast"]
    assert events(told, "LegEnded")[-1].reason == "line_ended"


async def test_each_key_that_we_press_arrives(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone = await new_phone()
    async with answered(media_server, rooms, phone, []) as leg:
        pressed = await leg.press("12#")
        refused = await leg.press("1x")
        await phone.until("CALL_DTMF_END", count=3)

    assert pressed
    assert not refused
    assert [item["param"] for item in phone.told("CALL_DTMF_START")] == ["1", "2", "#"]


async def test_a_caller_is_transferred_to_a_phone_that_answers(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone, desk = await new_phone("caller", lines=2), await new_phone("desk")
    async with answered(media_server, rooms, phone, []) as leg:
        outcome = await leg.transfer(Destination(name="desk", number=desk.uri), ring_s=20.0)
        await desk.until("CALL_ESTABLISHED")

    assert outcome == "connected"


async def test_a_busy_transfer_destination_leaves_the_caller_with_us(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone, desk = await new_phone("caller", lines=2), await new_phone("desk", answer="busy")
    async with answered(media_server, rooms, phone, []) as leg:
        outcome = await leg.transfer(Destination(name="desk", number=desk.uri), ring_s=20.0)
        closed_by_then = [item for item in phone.told("CALL_CLOSED") if "busy" not in str(item)]

    assert outcome == "busy"
    assert not [item for item in closed_by_then if "486" not in item["param"]]


async def test_a_line_without_our_rooms_transfers_no_caller(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone = await new_phone()
    async with answered(media_server, rooms, phone, []) as leg:
        alone = LivekitLeg(leg.line, emit=lambda _: None)
        outcome = await alone.transfer(Destination(name="desk", number="+15550123"), ring_s=1.0)

    assert not alone.facts.transfers
    assert outcome == "not_offered"


async def test_a_room_that_we_leave_hangs_up(
    media_server: MediaServer, rooms: LivekitRooms, new_phone: NewPhone
) -> None:
    phone, told = await new_phone(), list[Event]()
    async with answered(media_server, rooms, phone, told) as leg:
        await leg.hang_up("agent_hung_up")
        await leg.hang_up("agent_hung_up")
        await phone.until("CALL_CLOSED")
        async with media_server.api() as lk:
            left = (await lk.room.list_rooms(api.ListRoomsRequest())).rooms

    assert not left
    (ended,) = events(told, "LegEnded")
    assert (ended.outcome, ended.reason) == ("completed", "agent_hung_up")
