"""Our side of a media stream."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Final, Generic, TypeVar

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

from transports.leg_output import LegOutput, WholeSender
from transports.media_stream.line import StreamLine
from transports.owed_sound import Unheard

Piece = TypeVar("Piece")

# Pieces of 20 ms that may overtake a missing one: 0.1 s, as in a jitter buffer.
MAX_OVERTAKING: Final = 5
MAX_GAP: Final = 500  # pieces, which are 10 s: after a larger gap, the numbers have started again


class InOrder(Generic[Piece]):
    """Puts numbered pieces in order.

    A missing piece is given up when more than `MAX_OVERTAKING` later ones have arrived. A piece
    that arrives after that, or twice, is dropped.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._early: dict[int, Piece] = {}

    def add(self, piece: Piece, place: int) -> list[Piece]:
        """Add a piece with its number; return the pieces that can be used now, in order.

        There are none while an earlier piece is missing. A piece that arrives too late is dropped.
        """
        if self._next is None or abs(place - self._next) > MAX_GAP:
            self._early.clear()
            self._next = place
        if place < self._next:
            return []
        self._early[place] = piece
        if self._next not in self._early and len(self._early) > MAX_OVERTAKING:
            self._next = min(self._early)
        return self._take_from(self._next)

    def _take_from(self, place: int) -> list[Piece]:
        """Return the pieces that are ready from a place on; the next place comes after them."""
        ready: list[Piece] = []
        while place in self._early:
            ready.append(self._early.pop(place))
            place += 1
        self._next = place
        return ready


PLAYED_OUT_S: Final = 2.0  # the longest time from our socket to the caller's ear


class HeardOrder:
    """Pushes frames on in order: words, and the frames after them, when their audio was heard.

    Attributes:
        unheard: The waiting frames.
    """

    def __init__(
        self,
        line: StreamLine,
        *,
        push: Callable[[Frame], Awaitable[None]],
        dry_at: Callable[[], float],
        played: Callable[[float], None],
    ) -> None:
        """Start with no waiting frames.

        Args:
            line: Tracks the audio that the far end has played.
            push: Pushes a frame on.
            dry_at: Returns when the far end will have played everything.
            played: Called with the additional seconds that it has played.
        """
        self.unheard = Unheard()
        self._line = line
        self._push = push
        self._dry_at = dry_at
        self._played = played
        self._in_order = asyncio.Lock()  # held while frames are pushed

    async def push(self, frame: Frame) -> None:
        """Push a frame on, or keep it until the audio before it was heard.

        An interruption first releases what was heard, and drops other interruptible frames. Audio
        and system frames never wait.
        """
        async with self._in_order:
            if isinstance(frame, InterruptionFrame):
                await self._push_heard()
                self.unheard.drop()
            mark = self._mark_before(frame)
            if mark is not None:
                self.unheard.keep(frame, mark, self._dry_at() + PLAYED_OUT_S)
            else:
                await self._push(frame)

    async def note_played(self, more_s: float) -> None:
        """Record how much more the far end has played, and push frames that need not wait now."""
        if more_s > 0:
            self.unheard.given_up = False
            self._played(more_s)
        if self.unheard.last_mark is not None:
            async with self._in_order:
                await self._push_heard()

    async def push_rest(self) -> None:
        """Push all waiting frames, without the words if the line has ended."""
        async with self._in_order:
            for waiting in self.unheard.rest(words=not self._line.over):
                await self._push(waiting)

    def _mark_before(self, frame: Frame) -> str | None:
        """Return the mark that a frame must wait for; `None` if it may pass."""
        if isinstance(frame, SystemFrame | OutputAudioRawFrame | EndFrame | StartFrame):
            return None
        if isinstance(frame, TTSTextFrame) and not self.unheard.given_up:
            return self._line.marks.last_pending or self.unheard.last_mark
        return self.unheard.last_mark

    async def _push_heard(self) -> None:
        """Push the frames whose audio was heard, or that have waited too long.

        The caller holds `_in_order`.
        """
        # While there is no stream, there are no echoes, and no frame has waited too long.
        now = self._line.clock() if self._line.up.is_set() else 0.0
        for frame in self.unheard.heard(self._line.marks.pending, now):
            await self._push(frame)
        if self.unheard.given_up:
            self._line.refused("mark_not_echoed")


CORRECTION_EVERY_S: Final = 0.2  # between two corrections of the playing times of a lost line
WRITE_S: Final = 3.0  # a stream that accepts no data for this long counts as lost


class MarkedSound:
    """Sends audio, after gathered audio, and the marks after it."""

    def __init__(
        self,
        line: StreamLine,
        *,
        play: Callable[[OutputAudioRawFrame], Awaitable[bool]],
        write: Callable[[Frame], Awaitable[bool]],
    ) -> None:
        """Start with nothing sent.

        Args:
            line: Tracks the sent audio and the marks.
            play: Sends a piece at the pace of playing; returns whether it was accepted.
            write: Sends a frame at once.
        """
        self._line = line
        self._rate_hz = line.stream.rate_hz
        self._play = play
        self._write = write

    async def play(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark; the piece is kept for `repeat`.

        Returns:
            Whether the piece was accepted, or may be repeated on another stream.
        """
        self._line.sent.add(frame.audio)  # before the write, during which the line may be lost
        accepted = await self._play(frame) or self._line.may_come_back
        if accepted:
            mark = self._line.marks.sent(len(frame.audio) / 2 / self._rate_hz)
            await self._send_marks(self._record_mark(mark))
        return accepted

    async def close(self, *, rest: bool) -> None:
        """Send a mark for the audio since the last mark, if there was any.

        Args:
            rest: Whether to send the gathered audio first, even if it is short.
        """
        if rest and (gathered := await self._line.stream.rest()) is not None:
            await self._write(OutputTransportMessageUrgentFrame(message=gathered))
        await self._send_marks(self._record_mark(self._line.marks.close()))

    async def repeat(self) -> None:
        """Send the audio that may not have been heard at once, on another stream, with its marks.

        Only marks that were not echoed are sent again. The audio stays in `sent`.
        """
        for item in self._line.sent:
            await self._write(OutputAudioRawFrame(bytes(item.sound), self._rate_hz, 1))
            if item.mark is not None and not item.played:
                await self._send_marks(item.mark)

    def _record_mark(self, mark: str | None) -> str | None:
        """Record a mark, if there is one, after the audio so far; return it."""
        if mark is not None:
            self._line.quiet.clear()
            self._line.sent.mark(mark)
        return mark

    async def _send_marks(self, name: str | None) -> None:
        """Queue a mark, if there is one, and send all marks whose audio was sent."""
        stream = self._line.stream
        if name is not None:
            stream.owe_mark(name)
        while (due := stream.due_mark()) is not None:
            mark = stream.dialect.mark(stream.stream_id, due)
            await self._write(OutputTransportMessageUrgentFrame(message=mark))


class StreamOutput(LegOutput, FastAPIWebsocketOutputTransport):
    """Sends audio to the caller, slightly ahead of playing, with marks after it."""

    def __init__(self, transport: FastAPIWebsocketTransport, line: StreamLine) -> None:
        super().__init__(transport, transport._client, transport._params)  # noqa: SLF001 - as Pipecat's own does
        self._line = line
        self._marked = MarkedSound(line, play=super().play_piece, write=self._write_frame)
        self._order = HeardOrder(
            line, push=super().push_frame, dry_at=self._dry_at, played=self._correct_line
        )
        line.on_played = self._order.note_played
        self._sending = asyncio.Lock()  # held while a piece and its mark, or a replay, are sent
        self._cut_at = 0  # the id of the last interruption; older frames have smaller ids
        self._tones_until = 0.0  # when the far end will have played all key tones

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame on; words, and the frames after them, wait until their audio was heard."""
        if direction is not FrameDirection.DOWNSTREAM:
            await super().push_frame(frame, direction)
            return
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            stopped = isinstance(frame, BotStoppedSpeakingFrame)
            await self._marked.close(rest=stopped)
            self._line.sent.end_word()
        await self._order.push(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Wait until all audio was played and heard, then close the socket.

        If the stream is lost meanwhile, wait for the next one, which plays the rest.
        """
        await BaseOutputTransport.stop(self, frame)
        await self._marked.close(rest=True)
        heard = False
        while not heard:
            await _until_up(self._line, self._correct_line)
            heard = await _was_heard(self._line, self._next_send_time)
        await self._order.push_rest()
        self._line.leave()  # if the carrier then asks for instructions, the call is over
        await self._client.disconnect()

    async def cancel(self, frame: CancelFrame) -> None:
        """Leave the line, so that its end is not reported to `on_gone`, and stop at once."""
        self._line.leave()
        await super().cancel(frame)

    async def resume(self, renew: Callable[[], None]) -> None:
        """Switch to another stream, and first play there the audio that was not heard.

        Corrects the caller's line, lets writers go on, and reports the length of the outage.

        Args:
            renew: Makes the output send to the other stream.
        """
        async with self._sending:  # writers wait until what is repeated is in order
            renew()
            sent, now = self._line.sent, self._line.clock()
            if self._order.unheard.given_up:  # the far end does not report what it has played
                sent.clear()
            self._next_send_time = now + sent.length_s
            self._order.unheard.postpone(self._next_send_time + PLAYED_OUT_S)
            if self.line_end is not None:
                self.line_end.line.play_again(sent.again_s, now)
            await self._marked.repeat()
            after_s = self._line.restore()
            if self.line_end is not None and self.line_end.restored is not None:
                self.line_end.restored(after_s)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Play a piece, after a wait for a stream if there is none.

        While the caller is being transferred, drop it instead, at the pace of playing.
        """
        if not self._line.up.is_set():
            if self._line.absence.away_s:
                await self.sleep(len(frame.audio) / 2 / self.sample_rate)
                return True
            await _until_up(self._line, self._correct_line)
        return await super().write_audio_frame(frame)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark after it.

        A piece that was taken from the queue just before an interruption arrives here after the
        `clear`, and is dropped: it would play a fragment of a word while the caller speaks.
        """
        async with self._sending:
            if frame.id < self._cut_at and frame.interruptible:
                return False
            return await self._marked.play(frame)

    async def press(self, tones: bytes) -> bool:
        """Send tones between two pieces of speech; return whether all were accepted.

        They cannot be interrupted: until they are played, an interruption clears nothing.
        """
        await _until_up(self._line, self._correct_line)
        async with self._sending:
            self._tones_until = inf
            try:
                if self.line_end is not None:
                    length_s = len(tones) / 2 / self.sample_rate
                    self.line_end.line.add(length_s, self._line.clock(), protected=True)
                step = self.audio_chunk_size
                pieces = [tones[at : at + step] for at in range(0, len(tones), step)]
                sent = [
                    await self._marked.play(OutputAudioRawFrame(piece, self.sample_rate, 1))
                    for piece in pieces
                ]
                await self._marked.close(rest=True)
                self._line.sent.end_word()
            finally:
                # An interruption meanwhile has reset the pace, by up to the lead.
                self._tones_until = self._dry_at() + self._line.stream.lead_s
        return all(sent)

    def _correct_line(self, more_s: float) -> None:
        """Correct the caller's line: the far end has played another `more_s`."""
        if self.line_end is not None:
            self.line_end.line.played(more_s, self._line.clock())

    def _dry_at(self) -> float:
        """Return when the far end will have played everything."""
        return max(self._next_send_time, self._line.clock())

    async def _write_frame(self, frame: Frame) -> bool:
        """Send a frame; a stream that does not accept it within `WRITE_S` counts as lost.

        An interruption makes the far end drop its audio, unless some of it must be heard, or key
        tones are among it.
        """
        if isinstance(frame, InterruptionFrame):
            sender = self._media_senders.get(None)
            if isinstance(sender, WholeSender) and sender.must_be_heard:
                return True  # a `clear` would drop audio that cannot be interrupted
            self._cut_at = frame.id
            if self._line.clock() < self._tones_until:
                return True  # it would drop key tones
        try:
            async with asyncio.timeout(WRITE_S):
                written = await super()._write_frame(frame)
        except TimeoutError:
            self._line.socket.stop_reading()
            return False
        if isinstance(frame, InterruptionFrame):  # serialized as a `clear`
            self._line.cleared()
        return written

    async def _write_audio_sleep(self) -> None:
        """Wait so that at most `lead_s` of audio is ahead of the far end's playback."""
        # In this class, `_next_send_time` is the time when the far end will have played
        # everything; an interruption resets it. Pipecat's own pacing starts from now after a late
        # write, so each of our stalls would cause a gap for the caller.
        now = self._line.clock()
        chunk_s = self.audio_chunk_size / 2 / self.sample_rate
        self._next_send_time = max(self._next_send_time, now) + chunk_s
        await self.sleep(max(0.0, self._next_send_time - self._line.stream.lead_s - now))


async def _until_up(line: StreamLine, played: Callable[[float], None]) -> None:
    """Wait until there is a stream, or there will be none again.

    Every `CORRECTION_EVERY_S`, `played` is told that nothing is played, to correct the line.
    """
    while not line.up.is_set():
        played(0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(CORRECTION_EVERY_S):
                await line.up.wait()


async def _was_heard(line: StreamLine, dry_at: float) -> bool:
    """Wait until all audio was heard or is given up; return False if the stream was lost.

    It is given up, and that is reported, `PLAYED_OUT_S` after `dry_at`: the monotonic time when the
    far end will have played everything.
    """
    socket = line.socket
    try:
        async with asyncio.timeout(max(dry_at - line.clock(), 0.0) + PLAYED_OUT_S):
            await line.quiet.wait()
    except TimeoutError:
        if not line.up.is_set() or line.socket is not socket:
            return False
        line.refused("mark_not_echoed")
    return True
