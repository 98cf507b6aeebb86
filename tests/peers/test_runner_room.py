"""`bot.py -t livekit`: Pipecat's own runner gives our call a room of a real LiveKit."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
from livekit import rtc

from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.process import LabOptions, lab_process
from tests.bot.test_root_bot import GREETING, hosted
from tests.e2e.hearing import Heard
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import RATE_HZ, Pcm
from tests.peers.test_sip_calls import HOURS, PATIENT_S, Records, loud_s, utterance

PIECE = RATE_HZ // 50
QUIET_S = 1.0  # after the agent's last word


class Guest:
    """A person in a room, with a microphone and no telephone: hears all, and speaks as told."""

    def __init__(self) -> None:
        self._heard: list[Pcm] = []
        self._mouth = rtc.AudioSource(RATE_HZ, 1)

    @property
    def heard(self) -> Pcm:
        return np.concatenate([np.zeros(0, np.int16), *self._heard])

    async def enter(self, room: rtc.Room, *, url: str, token: str) -> asyncio.Task[None]:
        """Join the room; return the recorder of the agent until it is cancelled."""
        offered: asyncio.Future[rtc.Track] = asyncio.get_running_loop().create_future()
        room.on("track_subscribed", lambda track, *_: offered.set_result(track))
        await room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._mouth)
        await room.local_participant.publish_track(track)
        return asyncio.create_task(self._hear(offered))

    async def say(self, sound: Pcm) -> None:
        """Say something, and stay silent after it as long as an answer may take to begin."""
        silence = np.zeros(2 * RATE_HZ, np.int16)
        said = np.concatenate([sound, silence])
        for at in range(0, said.size - PIECE + 1, PIECE):
            piece = said[at : at + PIECE].tobytes()
            await self._mouth.capture_frame(rtc.AudioFrame(piece, RATE_HZ, 1, PIECE))

    async def until_quiet(self) -> Pcm:
        """Return what was heard, once the agent has finished."""
        async with asyncio.timeout(PATIENT_S):
            while True:
                sound, tail = self.heard, round(QUIET_S * RATE_HZ)
                if loud_s(sound) > 0.5 and loud_s(sound[-tail:]) == 0.0:
                    return sound
                await asyncio.sleep(0.1)

    async def _hear(self, offered: asyncio.Future[rtc.Track]) -> None:
        async for item in rtc.AudioStream(await offered, sample_rate=RATE_HZ):
            self._heard.append(np.frombuffer(item.frame.data, np.int16))


@asynccontextmanager
async def guest(runner_url: str) -> AsyncIterator[Guest]:
    """Ask the runner for a room as its users' pages do, and join it while the block runs."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{runner_url}/start", json={"transport": "livekit"}) as answer,
    ):
        given = await answer.json()
    room, person = rtc.Room(), Guest()
    hearing = await person.enter(room, url=given["url"], token=given["token"])
    try:
        yield person
    finally:
        hearing.cancel()
        await room.disconnect()


async def test_a_person_in_a_room_of_pipecats_runner_is_greeted_heard_and_answered(
    media_server: MediaServer, tmp_path: Path
) -> None:
    keys = {
        "LIVEKIT_URL": media_server.websocket_url,
        "LIVEKIT_API_KEY": media_server.key,
        "LIVEKIT_API_SECRET": media_server.secret,
    }
    records = Records(tmp_path / "logs")
    async with (
        lab_process(options=LabOptions(keep_audio=True)) as lab,
        hosted(lab, tmp_path, "-t", "livekit", environment=keys) as url,
    ):
        async with guest(url) as person:
            greeting = await person.until_quiet()
            async with LabControl(lab) as control:
                sent = await sent_between(control, 0.0, time.monotonic() - lab.started_at_s)
            await person.say(utterance("01_hours"))
            await records.until("AnswerHeard")
            answer = (await person.until_quiet())[greeting.size :]
        ended = await records.until("CallEnded")

    assert Heard(text=GREETING, recording=greeting, sent=tuple(sent)).judged().whole
    assert [entry["text"] for entry in records.entries("TranscriptFinal")] == [HOURS]
    assert loud_s(answer) > 3.0
    assert ended["reason"] in ("caller_hung_up", "line_lost")
