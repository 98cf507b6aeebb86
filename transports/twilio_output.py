"""Our side of a Twilio Media Stream."""

import asyncio
from typing import Final

from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketTransport,
)

from transports.twilio_line import Line
from transports.whole_output import WholeOutput

LEAD_S: Final = 0.2  # audio kept ahead of the ear, so that a busy moment of ours makes no gap
WRITE_S: Final = 3.0  # a far end that takes nothing for so long hears nothing either
PLAYED_OUT_S: Final = 2.0  # how long the last words may take from our socket to the ear


class TwilioOutput(WholeOutput, FastAPIWebsocketOutputTransport):
    """Plays to the caller, a little ahead of the ear, with marks behind the audio."""

    def __init__(self, transport: FastAPIWebsocketTransport, line: Line) -> None:
        super().__init__(transport, transport._client, transport._params)  # noqa: SLF001 - as Pipecat's own does
        self._line = line
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; behind the last audio of an utterance goes a mark."""
        if isinstance(frame, BotStoppedSpeakingFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._mark(self._line.marks.close())
        await super().push_frame(frame, direction)

    async def stop(self, frame: EndFrame) -> None:
        """Play what is queued, wait until it was heard, then close the socket."""
        await BaseOutputTransport.stop(self, frame)
        await self._mark(self._line.marks.close())
        try:
            async with asyncio.timeout(PLAYED_OUT_S):
                await self._line.quiet.wait()
        except TimeoutError:
            self._line.refused("mark_not_echoed")
        await self._client.disconnect()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark behind it.

        A piece taken from the queue a moment before an interruption emptied it comes here behind
        the `clear`, and would be a word's shred in the caller's sentence.
        """
        if frame.id < self._cut_at and frame.interruptible:
            return False
        taken = await super().write_audio_frame(frame)
        if taken:
            await self._mark(self._line.marks.sent(len(frame.audio) / 2 / self.sample_rate))
        return taken

    async def _mark(self, name: str | None) -> None:
        if name is None:
            return
        self._line.quiet.clear()
        mark = {"event": "mark", "streamSid": self._line.stream_sid, "mark": {"name": name}}
        await self._write_frame(OutputTransportMessageUrgentFrame(message=mark))

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
        await asyncio.sleep(max(0.0, self._next_send_time - LEAD_S - now))
