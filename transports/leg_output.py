"""The base class of all legs' outputs: loses no queued audio, and reports what is played."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import numpy as np
from pipecat.frames.frames import (
    Frame,
    OutputAudioRawFrame,
    OutputTransportReadyFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.utils.frame_queue import FrameQueue

from calls.entry import Emit
from calls.line import CallerLine
from runtime.pcm import AUDIBLE

STALL_S = 0.1  # a shorter delay is compensated by the next pieces (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnd:
    """The functions of a call that its output calls.

    Attributes:
        line: The caller's line; an output whose far end reports playing times corrects it.
        heard: Called with the time (monotonic, s) of each audible piece of an answer, before it is
            written, because a write may block for the length of the piece.
        clock: Monotonic, in seconds.
        not_answers: Frame types that do not count as an answer.
        sound: Called with every piece before it is written.
        late: Called with the seconds by which available audio was sent too late.
        emit: Publishes events of the line during a call.
        restored: Called with the seconds of an outage when the line is back.
    """

    line: CallerLine
    heard: Callable[[float], None]
    clock: Callable[[], float]
    not_answers: tuple[type[OutputAudioRawFrame], ...] = ()
    sound: Callable[[bytes], None] | None = None
    late: Callable[[float], None] | None = None
    emit: Emit | None = None
    restored: Callable[[float], None] | None = None


class LegOutput(BaseOutputTransport):
    """Base class of outputs, which implement `play_piece`; reports every piece before that."""

    line_end: LineEnd | None = None

    @property
    def unsure_words(self) -> int:
        """The number of words that were reported as heard, but may not be heard yet."""
        return 0

    async def set_transport_ready(self, frame: StartFrame) -> None:
        """Start sending, with a `WholeSender` in place of Pipecat's, and report that upstream."""
        sender = WholeSender(
            self,
            destination=None,
            sample_rate=self.sample_rate,
            audio_chunk_size=self.audio_chunk_size,
            params=self._params,
        )
        self._media_senders[None] = sender
        await sender.start(frame)
        await self.push_frame(OutputTransportReadyFrame(), FrameDirection.UPSTREAM)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Report a piece of audio, and play it; return whether it was accepted.

        It is reported even if it is not accepted then. Pipecat calls this for each piece.
        """
        end = self.line_end
        if end is not None and not isinstance(frame, end.not_answers) and audible(frame.audio):
            end.heard(end.clock())
        if end is not None and end.sound:
            end.sound(frame.audio)
        return await self.play_piece(frame)

    async def sleep(self, for_s: float) -> None:
        """Wait between two pieces, and report by how much the wait was too long.

        If our process has stalled, nothing was sent meanwhile, so the audio left on the line is
        heard later by as much.
        """
        end = self.line_end
        if end is None:
            await asyncio.sleep(for_s)
            return
        due_at = end.clock() + for_s
        await asyncio.sleep(for_s)
        late_s = end.clock() - due_at
        if late_s >= STALL_S:
            end.line.stand_still(late_s, end.clock())
        if end.late:
            end.late(late_s)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Write a piece to the line; return whether it was accepted."""
        return await super().write_audio_frame(frame)


class OutgoingFrames(FrameQueue):
    """A queue in which an interruption also drops a frame that was taken just before.

    Two iterations of the event loop pass between `get` and the task that awaits it. If Pipecat's
    sender empties the queue in between and reports that the agent stopped speaking, it would then
    report that the agent speaks, because of a piece that is never heard, and the beginning of the
    next answer would not be reported.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: Frame | None = None
        self._interrupted: Frame | None = None

    def reset(self) -> None:
        """Empty the queue after an interruption, including a frame that was just taken."""
        taken = self._taken
        super().reset()
        self._taken = taken
        if taken is not None and taken.interruptible:
            self._interrupted = taken

    def confirm(self, frame: Frame) -> bool:
        """Confirm that a taken frame has arrived; return False if it was interrupted meanwhile."""
        self._taken = None
        return frame is not self._interrupted

    def _get(self) -> Frame:
        self._taken = frame = super()._get()
        return frame


class WholeSender(BaseOutputTransport.MediaSender):
    """Pipecat's sender, but it keeps an incomplete piece when the speech before it ends.

    Pipecat drops it (`_bot_stopped_speaking`, base_output.py:853), so up to 40 ms were missing in
    the middle of a word when an answer was queued after a filler. After an interruption, there is
    no such piece, because the sender has emptied its buffer.
    """

    @property
    def must_be_heard(self) -> bool:
        """Whether audio that cannot be interrupted is left after an interruption."""
        return bool(self._audio_runs) or self._audio_queue.has_frame(OutputAudioRawFrame)

    def _clear_audio_buffer(self) -> None:
        """Drop nothing: the rest of a piece is completed by the speech that follows."""

    def _create_audio_task(self) -> None:
        if not self._audio_task:
            super()._create_audio_task()
            self._audio_queue = OutgoingFrames()  # before the task reads from the queue

    def _next_frame(self) -> AsyncGenerator[Frame, None]:
        return self._drop_interrupted(super()._next_frame())

    async def _drop_interrupted(
        self, frames: AsyncGenerator[Frame, None]
    ) -> AsyncGenerator[Frame, None]:
        """Yield the frames that no interruption has dropped on their way from the queue."""
        async for frame in frames:
            if not isinstance(self._audio_queue, OutgoingFrames) or self._audio_queue.confirm(
                frame
            ):
                yield frame


def audible(pcm: bytes) -> bool:
    """Return whether 16-bit little-endian PCM contains an audible sample."""
    return peak(pcm) > AUDIBLE


def peak(pcm: bytes) -> int:
    """Return the largest magnitude in 16-bit little-endian PCM, 0 to 32768."""
    samples = np.frombuffer(pcm, dtype="<i2")
    return int(np.abs(samples.astype(np.int32)).max()) if samples.size else 0
