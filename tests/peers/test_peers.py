"""The far ends alone, without our code: a call between them carries sound and keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from livekit import api, rtc

from tests.peers.conftest import NewPhone
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import RATE_HZ, Pcm

TONE_HZ = 440.0
RTC_RATE_HZ = 48_000


def tone(length_s: float, rate_hz: int, hz: float = TONE_HZ) -> Pcm:
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    return (8_000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def loud_s(sound: Pcm, hz: float, rate_hz: int = RATE_HZ) -> float:
    """Return for how long a tone can be heard in a sound."""
    block = rate_hz // 50
    blocks = sound[: sound.size // block * block].reshape(-1, block).astype(float)
    wave = np.exp(-2j * np.pi * hz * np.arange(block) / rate_hz)
    return float(np.sum(np.abs(blocks @ wave) / block > 1_000)) / 50


@asynccontextmanager
async def participant(media_server: MediaServer, room_name: str) -> AsyncIterator[rtc.Room]:
    """Join a room, with a tone as voice."""
    room = rtc.Room()
    await room.connect(media_server.websocket_url, media_server.token(room_name))
    source = rtc.AudioSource(RTC_RATE_HZ, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await room.local_participant.publish_track(track)

    async def hum() -> None:
        length = RTC_RATE_HZ // 50
        sound = tone(1.0, RTC_RATE_HZ).reshape(50, length)
        at = 0
        while True:
            frame = rtc.AudioFrame(sound[at % 50].tobytes(), RTC_RATE_HZ, 1, length)
            await source.capture_frame(frame)
            at += 1

    async with asyncio.TaskGroup() as tasks:
        humming = tasks.create_task(hum())
        try:
            yield room
        finally:
            humming.cancel()
    await room.disconnect()


async def first_room(lk: api.LiveKitAPI) -> str:
    async with asyncio.timeout(20):
        while not (rooms := (await lk.room.list_rooms(api.ListRoomsRequest())).rooms):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)
    return rooms[0].name


async def until_heard(stream: rtc.AudioStream, hz: float) -> None:
    """Return when a second of a tone was heard."""
    sound = np.zeros(0, np.int16)
    async with asyncio.timeout(20):
        async for event in stream:
            sound = np.concatenate([sound, np.frombuffer(event.frame.data, np.int16)])
            if loud_s(sound, hz) > 1.0:
                return


async def test_a_phone_hears_the_agents_track_and_is_heard(
    media_server: MediaServer, new_phone: NewPhone
) -> None:
    await media_server.add_number()
    phone = await new_phone()
    keys: asyncio.Queue[str] = asyncio.Queue()
    async with media_server.api() as lk:
        await phone.dial(media_server.uri())
        name = await first_room(lk)
        assert not phone.told("CALL_ESTABLISHED")  # it rings until there is a track to hear
    async with participant(media_server, name) as room:
        room.on("sip_dtmf_received", lambda event: keys.put_nowait(event.digit))
        await phone.until("CALL_ESTABLISHED")
        await phone.until_heard(lambda sound: loud_s(sound, TONE_HZ) > 1.0)
        (caller,) = room.remote_participants.values()
        (publication,) = caller.track_publications.values()
        assert publication.track
        stream = rtc.AudioStream(publication.track, sample_rate=RATE_HZ)
        await phone.say(tone(2.0, RATE_HZ, 700.0))
        await until_heard(stream, 700.0)
        await phone.press("5#")
        async with asyncio.timeout(20):
            assert [await keys.get(), await keys.get()] == ["5", "#"]
        await phone.hang_up()
        await phone.until("CALL_CLOSED")
    await media_server.remove_all()

    assert caller.attributes["sip.phoneNumber"]
