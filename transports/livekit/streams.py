"""The caller's audio from a LiveKit room, and ours to it."""

import asyncio
from contextlib import suppress
from typing import Final

from livekit import rtc
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from calls.entry import Emit
from calls.events import InputRefused
from transports.far_end import KEYS_CAP, KEYS_PER_S, FloodLimit
from transports.livekit.line import LivekitLine
from transports.livekit.room import RATE_HZ
from transports.owed_sound import LOST_S, OwedSound, RepeatingOutput

FRAME_MS: Final = 20
HELD_FRAMES: Final = 50  # one second of the caller's audio; above this the oldest is dropped
KEYS: Final = frozenset(item.value for item in KeypadEntry)


class LivekitInput(BaseInputTransport):
    """Reads the caller's current track; after a restart of the server there is a new one."""

    def __init__(self, params: TransportParams, line: LivekitLine, emit: Emit) -> None:
        super().__init__(params)
        self._line = line
        self.emit = emit
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._listening: asyncio.Task[None] | None = None
        self._pressing: set[asyncio.Task[None]] = set()

    async def start(self, frame: StartFrame) -> None:
        """Start reading."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._line.on_sound, self._line.on_key = self._hear_track, self._press
        if self._line.sound is not None:
            self._hear_track(self._line.sound)

    async def stop(self, frame: EndFrame) -> None:
        """Stop reading."""
        await self._stop_reading()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop reading at once."""
        await self._stop_reading()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Stop reading."""
        await self._stop_reading()
        await super().cleanup()

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Push sound at once, without Pipecat's queue, which is for filters that we do not use."""
        if not self._paused:
            await self.push_frame(frame)

    async def _stop_reading(self) -> None:
        """Ignore new tracks and keys, and cancel the tasks that read; harmless if repeated."""
        self._line.on_sound = lambda _: None
        self._line.on_key = lambda _: None
        tasks = [*self._pressing, *([self._listening] if self._listening else [])]
        self._listening = None
        for task in tasks:
            if task is not asyncio.current_task():
                await self.cancel_task(task)

    def _hear_track(self, sound: rtc.Track) -> None:
        """Read a new track in a task, which ends the task of the former track first."""
        previous = self._listening
        self._listening = self.create_task(self._push_track(sound, previous), "hear the caller")

    async def _push_track(self, sound: rtc.Track, previous: asyncio.Task[None] | None) -> None:
        """Stop the previous task, and push the sound of a track once the call is answered."""
        if previous:
            await self.cancel_task(previous)
        stream = rtc.AudioStream(
            sound,
            capacity=HELD_FRAMES,
            sample_rate=RATE_HZ,
            num_channels=1,
            frame_size_ms=FRAME_MS,
        )
        try:
            async for item in stream:
                if not self._line.answered.is_set():
                    continue  # before the answer: an announcement of the carrier, or ringing
                await self.push_audio_frame(
                    InputAudioRawFrame(
                        audio=bytes(item.frame.data), sample_rate=RATE_HZ, num_channels=1
                    )
                )
        finally:
            await stream.aclose()

    def _press(self, key: str) -> None:
        task = self.create_task(self._push_key(key), "a key")
        self._pressing.add(task)
        task.add_done_callback(self._pressing.discard)

    async def _push_key(self, key: str) -> None:
        """Push a key of the caller; drop it before the answer, or if there are too many."""
        if not self._line.answered.is_set():
            return
        if key not in KEYS:
            self.emit(InputRefused(transport="livekit", reason="unknown_key"))
        elif not await self._keys.take(1):
            self.emit(InputRefused(transport="livekit", reason="keys_faster_than_fingers"))
        else:
            await self.push_frame(InputDTMFFrame(button=KeypadEntry(key)))


LAST_WORDS_S: Final = 1.0  # how long the library may take to send its queue at the end
PATH_S: Final = 0.3  # from there to the caller's ear: server, gateway, both jitter buffers


class LivekitOutput(RepeatingOutput):
    """Writes into the library's queue, which sends in real time even if our loop is busy.

    While the server is lost, nothing is written. After that, speech continues with the first word
    that was not sent completely.
    """

    def __init__(self, params: TransportParams, line: LivekitLine) -> None:
        super().__init__(params)
        self._line = line
        self._cut_at = 0  # the id of the last barge-in: frames with a lower id were interrupted
        self._written_s = self._reported_s = 0.0
        self.owed = OwedSound(
            rate_hz=RATE_HZ,
            write=self._write,
            back=line.usable.wait,
            note_heard=lambda: self.owed.sent.heard_all_but(self._unsent_s),
        )
        self._empty_at = 0.0  # when the library will have sent its whole queue
        self._kept_until_s = 0.0  # a barge-in does not drop written sound before this

    async def start(self, frame: StartFrame) -> None:
        """Start playing."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Repeat lost sound, and wait a limited time until the caller has heard everything."""
        await super().stop(frame)
        await self.owed.repeat()
        if self._written_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._line.source.wait_for_playout()
            await asyncio.sleep(PATH_S)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop playing at once."""
        self._line.hush()
        await super().cancel(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """On a barge-in, drop unsent sound, unless some of it is uninterruptible."""
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
            if self._kept_until_s <= self._sent_s:
                self.owed.drop()
                self._drop_unsent()
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Queue a piece of audio when the line is usable, unless a later barge-in interrupted it.

        Returns False if it did. This waits while the line is lost, or the library's queue is full.
        """
        await self._line.usable.wait()
        await self.owed.repeat()
        if frame.id < self._cut_at and frame.interruptible:
            return False
        await self.owed.write(frame.audio)
        if not frame.interruptible:
            self._kept_until_s = self._written_s
        self._emit_played()
        return True

    def note_lost(self) -> None:
        """Keep the sound that the lost server did not get, and stop sending.

        The caller's line is corrected; `repeat_owed` or the next piece plays the rest.
        """
        self.owed.sent.heard_all_but(self._unsent_s)
        self.owed.note_lost()
        self._drop_unsent()
        if self.line_end is not None:
            self.line_end.line.play_again(self.owed.sent.again_s, self._line.clock())

    async def _write(self, sound: bytes, _: str) -> None:
        """Queue a piece, when the library has room; count it unless the line was lost meanwhile."""
        samples = len(sound) // 2  # 2 bytes a sample
        await self._line.source.capture_frame(rtc.AudioFrame(sound, RATE_HZ, 1, samples))
        if not self.owed.lost:
            self._written_s += samples / RATE_HZ
            self._empty_at = self._line.clock() + self._line.source.queued_duration
            self.owed.note_heard()

    def _drop_unsent(self) -> None:
        """Empty the library's queue; what was in it does not count as written."""
        self._written_s = self._sent_s
        self._line.hush()

    @property
    def _unsent_s(self) -> float:
        """The seconds of our sound that would be lost if the server were lost now."""
        return max(0.0, self._empty_at + LOST_S - self._line.clock())

    @property
    def _sent_s(self) -> float:
        """The seconds of our sound that have left the library's queue."""
        return max(0.0, self._written_s - self._line.source.queued_duration)

    def _emit_played(self) -> None:
        """Report sound as played when it is sent, because it may have waited for a lost server."""
        more_s = self._sent_s - self._reported_s
        if self.line_end is not None and more_s > 0:
            self.line_end.line.played(more_s, self._line.clock())
            self._reported_s += more_s
