"""The far ends themselves, without anything of ours: a call between them carries sound and keys."""

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
    """Be in a room, with a tone as voice."""
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
        while not (rooms := (await lk.room.list_rooms(api.ListRoomsRequest())).rooms):
            await asyncio.sleep(0.02)
    return rooms[0].name


async def test_a_phone_hears_the_agents_track_and_is_heard(
    media_server: MediaServer, new_phone: NewPhone
) -> None:
    await media_server.add_number()
    phone = await new_phone()
    keys: list[str] = []
    heard: list[Pcm] = []
    async with media_server.api() as lk:
        await phone.dial(media_server.uri())
        name = await first_room(lk)
        assert not phone.told("CALL_ESTABLISHED")  # it rings until there is somebody to hear
        async with participant(media_server, name) as room, asyncio.TaskGroup() as tasks:
            room.on("sip_dtmf_received", lambda event: keys.append(event.digit))
            await phone.until("CALL_ESTABLISHED")
            await phone.until_heard(lambda sound: loud_s(sound, TONE_HZ) > 1.0)
            (caller,) = room.remote_participants.values()
            (publication,) = caller.track_publications.values()
            assert publication.track is not None

            async def listen() -> None:
                async for event in rtc.AudioStream(publication.track, sample_rate=RATE_HZ):
                    heard.append(np.frombuffer(event.frame.data, np.int16))

            listening = tasks.create_task(listen())
            await phone.say(tone(2.0, RATE_HZ, 700.0))
            await phone.press("5#")
            async with asyncio.timeout(20):
                while len(keys) < 2 or loud_s(np.concatenate(heard), 700.0) < 1.0:
                    await asyncio.sleep(0.05)
            listening.cancel()
            await phone.hang_up()
            await phone.until("CALL_CLOSED")
    await media_server.remove_all()

    assert keys == ["5", "#"]
    assert caller.attributes["sip.phoneNumber"]


async def test_a_phone_that_never_answers_and_one_that_is_busy(
    media_server: MediaServer, new_phone: NewPhone
) -> None:
    busy = await new_phone("busy", answer="busy")
    caller = await new_phone("caller")

    await caller.dial(busy.uri)
    closed = await caller.until("CALL_CLOSED")

    assert "486" in closed["param"]


async def test_a_number_that_nobody_has_is_refused(
    media_server: MediaServer, new_phone: NewPhone
) -> None:
    await media_server.add_number()
    phone = await new_phone()

    await phone.dial(media_server.uri("+15550199"))
    closed = await phone.until("CALL_CLOSED")
    await media_server.remove_all()

    assert "404" in closed["param"]
