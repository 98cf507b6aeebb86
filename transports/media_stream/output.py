"""Our side of a media stream."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
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

LOOK_S: Final = 0.2  # how often a lost line is noted as standing still
WRITE_S: Final = 3.0  # a far end that takes nothing for so long hears nothing either
PLAYED_OUT_S: Final = 2.0  # how long the last words may take from our socket to the ear


class StreamOutput(LegOutput, FastAPIWebsocketOutputTransport):
    """Plays to the caller, a little ahead of the ear, with marks behind the audio."""

    def __init__(self, transport: FastAPIWebsocketTransport, line: StreamLine) -> None:
        super().__init__(transport, transport._client, transport._params)  # noqa: SLF001 - as Pipecat's own does
        self._line = line
        self._unheard = Unheard()
        self._in_order = asyncio.Lock()  # held while what came through the line's queue is pushed
        line.on_played = self._note_played
        self._sending = asyncio.Lock()  # a piece with its mark, or what another stream owes
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
            self._line.sent.end_word()
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

    async def _note_played(self, more_s: float) -> None:
        if more_s > 0:
            self._unheard.given_up = False
            if self.line_end is not None:
                self.line_end.line.played(more_s, self._line.clock())
        if self._unheard.last_mark is not None:
            async with self._in_order:
                await self._push_heard()

    async def _push_heard(self) -> None:
        """Push on what was heard, or is waited for no longer."""
        now = self._line.clock() if self._line.up.is_set() else 0.0  # without a line none echoes
        for frame in self._unheard.heard(self._line.marks.pending, now):
            await super().push_frame(frame)
        if self._unheard.given_up:
            self._line.refused("mark_not_echoed")

    async def stop(self, frame: EndFrame) -> None:
        """Play what is queued, wait until it was heard, then close the socket."""
        await BaseOutputTransport.stop(self, frame)
        await self._send_rest()
        await self._mark(self._line.marks.close())
        while not await self._was_heard():
            pass
        async with self._in_order:
            for waiting in self._unheard.rest(words=not self._line.over):
                await super().push_frame(waiting)
        self._line.leave()  # asked what follows the stream, we answer that we have hung up
        await self._client.disconnect()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop at once."""
        self._line.leave()
        await super().cancel(frame)

    async def _was_heard(self) -> bool:
        """Wait until all was heard, or surely will not be; False: the line was lost meanwhile."""
        await self._until_up()
        socket, now = self._line.socket, self._line.clock()
        try:
            async with asyncio.timeout(max(self._next_send_time - now, 0.0) + PLAYED_OUT_S):
                await self._line.quiet.wait()
        except TimeoutError:
            if not self._line.up.is_set() or self._line.socket is not socket:
                return False
            self._line.refused("mark_not_echoed")
        return True

    async def _until_up(self) -> None:
        """Wait until there is a line, or will be none; meanwhile nothing is played."""
        while not self._line.up.is_set():
            if self.line_end is not None:
                self.line_end.line.played(0.0, self._line.clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._line.up.wait()

    async def go_on(self, renew: Callable[[], None]) -> None:
        """Go over to another stream, and begin there with the first word that was not heard.

        Args:
            renew: Has what is sent go to the other stream.
        """
        async with self._sending:
            renew()
            sent, now = self._line.sent, self._line.clock()
            if self._unheard.given_up:  # it never says what it has played
                sent.clear()
            self._next_send_time = now + sent.length_s
            self._unheard.postpone(self._next_send_time + PLAYED_OUT_S)
            if self.line_end is not None:
                self.line_end.line.play_again(sent.again_s, now)
            for each in sent:
                await self._write_frame(OutputAudioRawFrame(bytes(each.sound), self.sample_rate, 1))
                if each.mark is not None and not each.played:
                    await self._send_marks(each.mark)
            self._restored(self._line.restore())

    def _restored(self, after_s: float) -> None:
        if self.line_end is not None and self.line_end.restored is not None:
            self.line_end.restored(after_s)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Play a piece as soon as there is a line for it; to a caller who is away, none."""
        if self._line.away_s and not self._line.up.is_set():
            await self.sleep(len(frame.audio) / 2 / self.sample_rate)
            return True
        await self._until_up()
        return await super().write_audio_frame(frame)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark behind it.

        A piece taken from the queue a moment before an interruption emptied it comes here behind
        the `clear`, and would be a word's shred in the caller's sentence.
        """
        async with self._sending:
            if frame.id < self._cut_at and frame.interruptible:
                return False
            return await self._play(frame)

    async def _play(self, frame: OutputAudioRawFrame) -> bool:
        self._line.sent.add(frame.audio)  # first: the line may be lost while it is written
        taken = await super().play_piece(frame) or self._line.may_come_back
        if taken:
            await self._mark(self._line.marks.sent(len(frame.audio) / 2 / self.sample_rate))
        return taken

    async def press(self, tones: bytes) -> bool:
        """Send the sound of keys in one piece, between two pieces of what is being said."""
        await self._until_up()
        async with self._sending:
            if self.line_end is not None:
                length_s = len(tones) / 2 / self.sample_rate
                self.line_end.line.add(length_s, self._line.clock(), must=True)
            step = self.audio_chunk_size
            pieces = [tones[at : at + step] for at in range(0, len(tones), step)]
            sent = [
                await self._play(OutputAudioRawFrame(each, self.sample_rate, 1)) for each in pieces
            ]
            await self._send_rest()
            await self._mark(self._line.marks.close())
            self._line.sent.end_word()
        return all(sent)

    async def _mark(self, name: str | None) -> None:
        if name is not None:
            self._line.quiet.clear()
            self._line.sent.mark(name)
        await self._send_marks(name)

    async def _send_marks(self, name: str | None = None) -> None:
        """Send what marks are due; what is gathered goes before them."""
        stream = self._line.stream
        if name is not None:
            stream.owed_marks.append(name)
        while stream.owed_marks and stream.gathered.empty:
            mark = stream.dialect.mark(stream.stream_id, stream.owed_marks.popleft())
            await self._write_frame(OutputTransportMessageUrgentFrame(message=mark))

    async def _send_rest(self) -> None:
        """Send what was gathered, though it is shorter than the carrier likes."""
        if (rest := await self._line.stream.rest()) is not None:
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
            self._line.socket.give_up()
            return False
        if isinstance(frame, InterruptionFrame):  # the serializer made a `clear` of it
            self._line.cleared()
        return written

    async def _write_audio_sleep(self) -> None:
        # `_next_send_time`, which an interruption resets, is here the moment at which the far end
        # would run dry. Pipecat's own pace restarts from now after a late write, so that every
        # busy moment of ours would be a gap for the caller.
        now = self._line.clock()
        chunk_s = self.audio_chunk_size / 2 / self.sample_rate
        self._next_send_time = max(self._next_send_time, now) + chunk_s
        await self.sleep(max(0.0, self._next_send_time - self._line.stream.lead_s - now))
