"""Measures the line's own delay with an echo in the agent's place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np
from livekit import api, rtc

from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import RATE_HZ, Pcm, sip_phone

RTC_RATE_HZ: Final = 48_000
QUEUE_MS: Final = 20  # as short as may be: what is measured is the line
TONE_S: Final = 0.2
REST_S: Final = 0.8
TONES: Final = 8
LOUD: Final = 2_000
QUIET: Final = RATE_HZ // 5
SETTLED_S: Final = 2.0  # jitter buffers are longer at first


@asynccontextmanager
async def mirror(media_server: MediaServer, room_name: str) -> AsyncIterator[rtc.Room]:
    """Join a room, and return every sound at once."""
    room = rtc.Room()
    await room.connect(media_server.websocket_url, media_server.token(room_name))
    source = rtc.AudioSource(RTC_RATE_HZ, 1, queue_size_ms=QUEUE_MS)
    voice = rtc.LocalAudioTrack.create_audio_track("voice", source)
    heard: asyncio.Queue[rtc.Track] = asyncio.Queue(maxsize=1)
    room.on("track_subscribed", lambda track, *_: heard.put_nowait(track))
    await room.local_participant.publish_track(voice)

    async def give_back() -> None:
        silence = rtc.AudioFrame.create(RTC_RATE_HZ, 1, RTC_RATE_HZ // 100)
        await source.capture_frame(silence)
        stream = rtc.AudioStream(await heard.get(), sample_rate=RTC_RATE_HZ)
        async for event in stream:
            await source.capture_frame(event.frame)

    async with asyncio.TaskGroup() as tasks:
        mirroring = tasks.create_task(give_back())
        try:
            yield room
        finally:
            mirroring.cancel()
    await room.disconnect()


async def room_name(media_server: MediaServer) -> str:
    """Return the room of the one call that comes in."""
    async with media_server.api() as lk, asyncio.timeout(30):
        while not (rooms := (await lk.room.list_rooms(api.ListRoomsRequest())).rooms):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)
    return rooms[0].name


async def measure_line(media_server: MediaServer, folder: Path) -> list[float]:
    """Return the round-trip delays of several tones from the phone to the echo and back."""
    wave = 12_000 * np.sin(2 * np.pi * 600 * np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ)
    tone = wave.astype(np.int16)
    rest = np.zeros(round(REST_S * RATE_HZ), np.int16)
    async with sip_phone(folder) as phone:
        await phone.dial(media_server.uri())
        async with mirror(media_server, await room_name(media_server)):
            await phone.until("CALL_ESTABLISHED")
            await asyncio.sleep(SETTLED_S)
            await phone.say(np.concatenate([tone, rest] * TONES))
            await phone.until_heard(lambda sound: len(onsets(sound)) >= TONES)
            spoken, heard = onsets(phone.spoken()), onsets(phone.heard())
            await phone.hang_up()
    return [
        phone.heard_at(back) - phone.spoken_at(said)
        for said, back in zip(spoken, heard, strict=True)
    ]


def onsets(sound: Pcm) -> list[int]:
    """Return the start of each tone."""
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > LOUD)
    if not loud.size:
        return []
    later = loud[1:][np.diff(loud) > QUIET]
    return [int(loud[0]), *map(int, later)]
