"""The caller's side of a LiveKit room."""

import asyncio
from typing import Final

from livekit import rtc
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    InputAudioRawFrame,
    InputDTMFFrame,
    StartFrame,
)
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from calls.entry import Tell
from calls.events import InputRefused
from transports.flood_limit import KEYS_CAP, KEYS_PER_S, FloodLimit
from transports.livekit.line import LivekitLine
from transports.livekit.room import RATE_HZ

FRAME_MS: Final = 20
HELD_FRAMES: Final = 50  # a second of the caller; a call that is further behind loses the oldest
KEYS: Final = frozenset(each.value for each in KeypadEntry)


class LivekitInput(BaseInputTransport):
    """Listens to whatever sound the caller offers now: a restart of the server makes it another."""

    def __init__(self, params: TransportParams, line: LivekitLine, tell: Tell) -> None:
        super().__init__(params)
        self._line = line
        self.tell = tell
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._listening: asyncio.Task[None] | None = None
        self._pressing: set[asyncio.Task[None]] = set()

    async def start(self, frame: StartFrame) -> None:
        """Begin to listen."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._line.on_sound, self._line.on_key = self._hear, self._press
        if self._line.sound is not None:
            self._hear(self._line.sound)

    async def stop(self, frame: EndFrame) -> None:
        """Stop listening."""
        await self._hush()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop listening at once."""
        await self._hush()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Leave no task behind."""
        await self._hush()
        await super().cleanup()

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Push sound on at once: Pipecat's queue before it is for filters, and we have none."""
        if not self._paused:
            await self.push_frame(frame)

    async def _hush(self) -> None:
        self._line.on_sound = lambda _: None
        self._line.on_key = lambda _: None
        tasks = [*self._pressing, *([self._listening] if self._listening else [])]
        self._listening = None
        for each in tasks:
            if each is not asyncio.current_task():
                await self.cancel_task(each)

    def _hear(self, sound: rtc.Track) -> None:
        before, self._listening = self._listening, None
        self._listening = self.create_task(self._listen(sound, before), "hear the caller")

    async def _listen(self, sound: rtc.Track, before: asyncio.Task[None] | None) -> None:
        if before:
            await self.cancel_task(before)
        stream = rtc.AudioStream(
            sound,
            capacity=HELD_FRAMES,
            sample_rate=RATE_HZ,
            num_channels=1,
            frame_size_ms=FRAME_MS,
        )
        try:
            async for each in stream:
                if not self._line.answered.is_set():
                    continue  # early media: a carrier's announcement, or what rings
                await self.push_audio_frame(
                    InputAudioRawFrame(
                        audio=bytes(each.frame.data), sample_rate=RATE_HZ, num_channels=1
                    )
                )
        finally:
            await stream.aclose()

    def _press(self, key: str) -> None:
        task = self.create_task(self._push_key(key), "a key")
        self._pressing.add(task)
        task.add_done_callback(self._pressing.discard)

    async def _push_key(self, key: str) -> None:
        if not self._line.answered.is_set():
            return
        if key not in KEYS:
            self.tell(InputRefused(transport="livekit", reason="unknown_key"))
        elif not await self._keys.take(1):
            self.tell(InputRefused(transport="livekit", reason="keys_faster_than_fingers"))
        else:
            await self.push_frame(InputDTMFFrame(button=KeypadEntry(key)))
