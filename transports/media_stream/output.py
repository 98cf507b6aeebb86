"""Our side of a media stream."""

import asyncio
from typing import Final

from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    SystemFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketTransport,
)

from transports.leg_output import LegOutput
from transports.media_stream.line import StreamLine
from transports.unheard import Unheard

WRITE_S: Final = 3.0  # a far end that takes nothing for so long hears nothing either
PLAYED_OUT_S: Final = 2.0  # how long the last words may take from our socket to the ear


class StreamOutput(LegOutput, FastAPIWebsocketOutputTransport):
    """Plays to the caller, a little ahead of the ear, with marks behind the audio."""

    def __init__(self, transport: FastAPIWebsocketTransport, line: StreamLine) -> None:
        super().__init__(transport, transport._client, transport._params)  # noqa: SLF001 - as Pipecat's own does
        self._line = line
        self._unheard = Unheard()
        self._in_order = asyncio.Lock()  # whoever pushes what came through the line's queue
        line.on_played = self._played
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; words go on, and what follows them, when their sound was heard."""
        if direction is not FrameDirection.DOWNSTREAM:
            await super().push_frame(frame, direction)
            return
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            if isinstance(frame, BotStoppedSpeakingFrame):
                await self._send_rest()
            await self._mark(self._line.marks.close())  # behind the last audio of it
        async with self._in_order:
            if isinstance(frame, InterruptionFrame):
                await self._push_heard()
                self._unheard.drop()
            mark = self._mark_before(frame)
            if mark is not None:
                dry_at = max(self._next_send_time, self._line.clock())
                self._unheard.keep(frame, mark, dry_at + PLAYED_OUT_S)
            else:
                await super().push_frame(frame, direction)

    def _mark_before(self, frame: Frame) -> str | None:
        """Return the mark that a frame waits for; None: it goes on at once."""
        if isinstance(frame, SystemFrame | OutputAudioRawFrame | EndFrame | StartFrame):
            return None
        if isinstance(frame, TTSTextFrame) and not self._unheard.given_up:
            return self._line.marks.last_pending or self._unheard.last_mark
        return self._unheard.last_mark

    async def _played(self, more_s: float) -> None:
        if more_s > 0:
            self._unheard.given_up = False
            if self.line_end is not None:
                self.line_end.line.played(more_s, self._line.clock())
        if self._unheard.last_mark is not None:
            async with self._in_order:
                await self._push_heard()

    async def _push_heard(self) -> None:
        """Push on what was heard, or is waited for no longer."""
        for frame in self._unheard.heard(self._line.marks.pending, self._line.clock()):
            await super().push_frame(frame)
        if self._unheard.given_up:
            self._line.refused("mark_not_echoed")

    async def stop(self, frame: EndFrame) -> None:
        """Play what is queued, wait until it was heard, then close the socket."""
        await BaseOutputTransport.stop(self, frame)
        await self._send_rest()
        await self._mark(self._line.marks.close())
        try:
            async with asyncio.timeout(PLAYED_OUT_S):
                await self._line.quiet.wait()
        except TimeoutError:
            self._line.refused("mark_not_echoed")
        async with self._in_order:
            for waiting in self._unheard.rest(words=not self._line.over):
                await super().push_frame(waiting)
        await self._client.disconnect()

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark behind it.

        A piece taken from the queue a moment before an interruption emptied it comes here behind
        the `clear`, and would be a word's shred in the caller's sentence.
        """
        if frame.id < self._cut_at and frame.interruptible:
            return False
        taken = await super().play_piece(frame)
        if taken:
            await self._mark(self._line.marks.sent(len(frame.audio) / 2 / self.sample_rate))
        return taken

    async def _mark(self, name: str | None) -> None:
        stream = self._line.stream
        if name is not None:
            self._line.quiet.clear()
            stream.owed_marks.append(name)
        while stream.owed_marks and stream.gathered.empty:  # else behind what is gathered
            mark = stream.dialect.mark(stream.stream_id, stream.owed_marks.popleft())
            await self._write_frame(OutputTransportMessageUrgentFrame(message=mark))

    async def _send_rest(self) -> None:
        """Send what was gathered, though it is shorter than the carrier likes."""
        if (rest := self._line.stream.rest()) is not None:
            await self._write_frame(OutputTransportMessageUrgentFrame(message=rest))

    def _must_be_heard(self) -> bool:
        """Return whether, after an interruption, audio is left that no caller may cut short."""
        sender = self._media_senders.get(None)
        if sender is None:
            return False
        return bool(sender._audio_runs) or sender._audio_queue.has_frame(OutputAudioRawFrame)  # noqa: SLF001 - Pipecat shows this nowhere

    async def _write_frame(self, frame: Frame) -> bool:
        if isinstance(frame, InterruptionFrame) and self._must_be_heard():
            return True  # a `clear` would tear a word out of it
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
        try:
            async with asyncio.timeout(WRITE_S):
                written = await super()._write_frame(frame)
        except TimeoutError:
            await self._line.gone("stalled")
            return False
        if isinstance(frame, InterruptionFrame):  # the serializer made a `clear` of it
            self._line.marks.cleared()
            self._line.quiet.set()
        return written

    async def _write_audio_sleep(self) -> None:
        # `_next_send_time`, which an interruption resets, is here the moment at which the far end
        # would run dry. Pipecat's own pace restarts from now after a late write, so that every
        # busy moment of ours would be a gap for the caller.
        now = self._line.clock()
        chunk_s = self.audio_chunk_size / 2 / self.sample_rate
        self._next_send_time = max(self._next_send_time, now) + chunk_s
        await self.sleep(max(0.0, self._next_send_time - self._line.stream.lead_s - now))
