"""The way of the caller's sound: on through the list at once, past the queues of who stands in it.

In Pipecat a frame waits in a queue of each processor until that one's task has its turn; fifty
pieces a second through seven of them were half of what a call cost. Sound needs no such turn: who
stands in its way looks at it, or not, and hands it on.
"""

import heapq
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import (
    FrameCallback,
    FrameDirection,
    FrameProcessor,
    FrameProcessorQueue,
)


class SoundPath(FrameProcessor):
    """A processor that hands sound on at once, or as `hear_sound` says; all else takes its turn.

    Sound that comes before the processor was started waits in its queue like everything else, and
    so does what comes behind that, until none is left there: nothing is overtaken by its like. What
    is done about a piece must not wait for anything slow, for who brings the sound waits with it.

    A processor that reads sound in `process_frame` has to hand it to `hear_sound`, too.
    """

    _waiting = 0  # pieces in the queue
    _flows = False  # a piece came through the queue, so we were started, and was the last

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Process sound at once; queue what else comes."""
        if not isinstance(frame, InputAudioRawFrame):
            await super().queue_frame(frame, direction, callback)
        elif self._flows and not self._cancelling:
            await self.hear_sound(frame)
        else:
            self._waiting += 1
            await super().queue_frame(frame, direction, callback)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note a piece of sound that has come through the queue."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._waiting -= 1
            self._flows = self._waiting == 0

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Hand a piece on."""
        await self.hand_on(frame)

    async def hand_on(self, frame: InputAudioRawFrame) -> None:
        """Give a piece to the next in the list, unseen by observers: none of them reads sound."""
        if self._next:
            await self._next.queue_frame(frame)


WINDOW_S: Final = 0.032  # 256 samples at 8 kHz, 512 at 16 kHz. Source: Silero's model
QUIET_WINDOWS: Final = 4  # at once; must be fewer than the six in a row that make speech (0.2 s)
SAMPLE_BYTES: Final = 2
OPEN_A_TURN: Final = (
    VADUserStartedSpeakingFrame
    | VADUserStoppedSpeakingFrame
    | UserStartedSpeakingFrame
)  # fmt: skip


class SoundWindows(SoundPath):
    """Stands above the detector, which computes once for each whole window.

    A piece that completes no window changes nothing there, but costs as much on its way as one that
    does. It waits for the one that does.

    While nobody speaks, nor a turn waits for its end, four windows go on at once: the detector
    computes the second one in a quarter of the time of the first, whose model the processor has to
    fetch from memory. It is no later for that. As soon as one of them may be speech, each goes on
    alone again, and only the sixth in a row makes it so.
    """

    def __init__(
        self,
        *,
        quiet: Callable[[], bool] = lambda: False,
        hear: Callable[[InputAudioRawFrame], None] = lambda _: None,
    ) -> None:
        """Join pieces of sound into windows.

        Args:
            quiet: Whether the last window was no speech, nor was any right before it.
            hear: Is handed each piece as it comes.
        """
        super().__init__()
        self._quiet = quiet
        self._hear = hear
        self._turn_open = False
        self._held = bytearray()
        self._begun_bytes = 0  # of a window, which the detector has already

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Gather sound, and pass everything else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
            return
        if isinstance(frame, OPEN_A_TURN):
            self._turn_open = True
        elif isinstance(frame, UserStoppedSpeakingFrame):
            self._turn_open = False
        await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Hand on what completes a window, with what waited for it."""
        self._hear(frame)
        self._held += frame.audio
        window_bytes = round(WINDOW_S * frame.sample_rate) * SAMPLE_BYTES
        gathered_bytes = self._begun_bytes + len(self._held)
        idle = not self._turn_open and self._quiet()
        if gathered_bytes < window_bytes * (QUIET_WINDOWS if idle else 1):
            return
        self._begun_bytes = gathered_bytes % window_bytes
        sound, self._held = bytes(self._held), bytearray()
        await self.hand_on(
            InputAudioRawFrame(sound, frame.sample_rate, num_channels=frame.num_channels)
        )


class SoundEnd(SoundPath):
    """Hands the caller's sound to who may want it, and passes everything else on.

    Fifty pieces a second would go on through ten processors that have no use for them. Handing
    such frames on, from one to the next, was half of the loop's work (profiled, eight calls).
    """

    def __init__(self, hear: Callable[[InputAudioRawFrame], None] = lambda _: None) -> None:
        super().__init__()
        self._hear = hear

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop sound, and pass on the rest."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Hand a piece to who may record it, and nobody else."""
        self._hear(frame)


# What waits at a processor when an interruption comes is dropped with the rest.
#
# Pipecat puts system frames before all others. If a word and an interruption come to a processor
# before its task has its turn, the interruption is handled first: it empties the queue behind,
# where the word is not yet, and the word follows. The caller who spoke over us heard a last piece
# of the old answer then, and its word stood at the head of the next one in the model's context.


class InputQueue(FrameProcessorQueue):
    """Pipecat's queue of what comes to a processor, in which nothing interrupted is left."""

    async def put(self, item: tuple[Frame, FrameDirection, FrameCallback | None]) -> None:
        """Put a frame in its place."""
        frame, direction, _ = item
        if isinstance(frame, InterruptionFrame) and direction is FrameDirection.DOWNSTREAM:
            self._drop_interrupted()
        await super().put(item)

    def _drop_interrupted(self) -> None:
        """Drop what goes down to the caller; what goes up is news of the line."""
        waiting = self._queue  # type: ignore[attr-defined] - a heap, as in Pipecat's `FrameQueue`
        kept = [
            queue for queue in waiting if queue[0] != self.DEFAULT_PRIORITY or _stays(*queue[2])
        ]
        for _ in range(len(waiting) - len(kept)):
            self.task_done()
        waiting[:] = kept
        heapq.heapify(waiting)


def _stays(frame: Frame, direction: FrameDirection, _callback: FrameCallback | None) -> bool:
    return direction is FrameDirection.UPSTREAM or not frame.interruptible


def order_interruptions(listed: list[FrameProcessor]) -> list[FrameProcessor]:
    """Give processors that have not begun yet such a queue, and return them."""
    for processor in listed:
        processor._FrameProcessor__input_queue = InputQueue()  # type: ignore[attr-defined] # noqa: SLF001 - no way to hand it in
    return listed


# Chosen: 30 dB below the loudest of the last second or so. A final s keeps above it on a telephone;
# where the line's own noise does, too, nothing is ever faint, and the VAD's word is waited for.
FAINT: Final = 0.03
FADES: Final = 0.4  # of the loudest, that is left of it after a second
# Measured, in calls of a carrier and of a browser: the VAD's silence begins up to 0.08 s late.
VAD_LATE_S: Final = 0.1


class Faintness:
    """Follows one caller's sound, in pieces of a few hundredths of a second.

    A detector of speech with a model is surer, and comes up to 0.1 s later: what it hears of a word
    fades slowly. This one may be wrong, so no more than a tenth of a second may hang on it.

    Attributes:
        lasts_s: So long it has been faint; 0: it is not.
    """

    def __init__(self) -> None:
        self.lasts_s = 0.0
        self._loudest = 0.0

    def hear(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        """Follow a piece."""
        if not samples.size:
            return
        length_s = samples.size / rate_hz
        loudness = np.abs(samples.astype(np.int32))
        self._loudest = max(float(loudness.max()), self._loudest * FADES**length_s)
        loud = np.flatnonzero(loudness >= FAINT * self._loudest)
        if loud.size:
            self.lasts_s = (samples.size - 1 - int(loud[-1])) / rate_hz
        else:
            self.lasts_s += length_s

    def stopped_at(self, noticed_at: float, *, stop_s: float, now: float) -> float:
        """Return when a caller stopped of whom a VAD says so, monotonic in seconds.

        What it hears of a word fades slowly, so its silence begins late. Of what was faint before
        that, no more than `VAD_LATE_S` is believed.

        Args:
            noticed_at: When the VAD was sure.
            stop_s: After how long a silence it is.
            now: At or after that; who asks later is told the same, as long as nobody speaks on.
        """
        sure_at = noticed_at - stop_s
        return min(sure_at, max(sure_at - VAD_LATE_S, now - self.lasts_s))
