"""Our side of a LiveKit room: kept a little ahead of what the library sends."""

import asyncio
from contextlib import suppress
from typing import Final

from livekit import rtc
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_transport import TransportParams

from transports.livekit.line import LivekitLine
from transports.livekit.room import RATE_HZ
from transports.owed_sound import LOST_S, OwedSound, RepeatingOutput

LAST_WORDS_S: Final = 1.0  # for what waits in the library's queue to be sent
PATH_S: Final = 0.3  # from there to the caller's ear: server, gateway, both jitter buffers


class LivekitOutput(RepeatingOutput):
    """Writes into the library's queue, which sends in real time whatever our loop is busy with.

    While the server is lost nothing is written. When it is back, what is being said goes on with
    the first word that had not been sent to its end.
    """

    def __init__(self, params: TransportParams, line: LivekitLine) -> None:
        super().__init__(params)
        self._line = line
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted
        self._written_s = self._told_s = 0.0
        self.owed = OwedSound(
            rate_hz=RATE_HZ,
            write=self._write,
            back=line.usable.wait,
            note_heard=lambda: self.owed.sent.heard_but(self._unsent_s),
        )
        self._dry_at = 0.0  # when all that was written has left the queue
        self._kept_until_s = 0.0  # of what was written: no barge-in drops what lies before

    async def start(self, frame: StartFrame) -> None:
        """Begin to play."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Play what was said to its end, all the way to the caller."""
        await super().stop(frame)
        await self.owed.repeat()
        if self._written_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._line.source.wait_for_playout()
            await asyncio.sleep(PATH_S)

    async def cancel(self, frame: CancelFrame) -> None:
        """Fall silent at once."""
        self._line.hush()
        await super().cancel(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop, on a barge-in, what has not been sent yet, unless some of it must be heard."""
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
            if self._kept_until_s <= self._sent_s:
                self.owed.drop()
                self._hush()
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Queue a piece of audio, unless a barge-in overtook it."""
        await self._line.usable.wait()
        await self.owed.repeat()
        if frame.id < self._cut_at and frame.interruptible:
            return False
        await self.owed.write(frame.audio)
        if not frame.interruptible:
            self._kept_until_s = self._written_s
        self._tell_played()
        return True

    def note_lost(self) -> None:
        """Keep what the lost server did not get; it is not sent into the void."""
        self.owed.sent.heard_but(self._unsent_s)
        self.owed.note_lost()
        self._hush()
        if self.line_end is not None:
            self.line_end.line.play_again(self.owed.sent.again_s, self._line.clock())

    async def _write(self, sound: bytes, _: str) -> None:
        samples = len(sound) // 2
        await self._line.source.capture_frame(rtc.AudioFrame(sound, RATE_HZ, 1, samples))
        if not self.owed.lost:
            self._written_s += samples / RATE_HZ
            self._dry_at = self._line.clock() + self._line.source.queued_duration
            self.owed.note_heard()

    def _hush(self) -> None:
        self._written_s = self._sent_s
        self._line.hush()

    @property
    def _unsent_s(self) -> float:
        """The seconds of our sound that a server which is lost now does not get."""
        return max(0.0, self._dry_at + LOST_S - self._line.clock())

    @property
    def _sent_s(self) -> float:
        """The seconds of our sound that have left the library's queue."""
        return max(0.0, self._written_s - self._line.source.queued_duration)

    def _tell_played(self) -> None:
        """Correct the line's reckoning: what waited for a lost server was not played meanwhile."""
        more_s = self._sent_s - self._told_s
        if self.line_end is not None and more_s > 0:
            self.line_end.line.played(more_s, self._line.clock())
            self._told_s += more_s
