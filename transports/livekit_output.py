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

from transports.leg_output import LegOutput
from transports.livekit_line import LivekitLine

LAST_WORDS_S: Final = 1.0  # for what waits in the library's queue to be sent
PATH_S: Final = 0.3  # from there to the caller's ear: server, gateway, both jitter buffers


class LivekitOutput(LegOutput):
    """Writes into the library's queue, which sends in real time whatever our loop is busy with.

    While the server is lost nothing is written: what is being said goes on when it is back.
    """

    def __init__(self, params: TransportParams, line: LivekitLine) -> None:
        super().__init__(params)
        self._line = line
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted
        self._written_s = self._told_s = 0.0
        self._kept_until_s = 0.0  # of what was written: no barge-in drops what lies before

    async def start(self, frame: StartFrame) -> None:
        """Begin to play."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Play what was said to its end, all the way to the caller."""
        await super().stop(frame)
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
                self._written_s = self._sent_s
                self._line.hush()
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Queue a piece of audio, unless a barge-in overtook it."""
        await self._line.usable.wait()
        if frame.id < self._cut_at and frame.interruptible:
            return False
        samples = len(frame.audio) // 2
        await self._line.source.capture_frame(
            rtc.AudioFrame(frame.audio, frame.sample_rate, 1, samples)
        )
        self._written_s += samples / frame.sample_rate
        if not frame.interruptible:
            self._kept_until_s = self._written_s
        self._tell_played()
        return True

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
