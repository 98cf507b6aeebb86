"""The path of the caller's audio through the pipeline, past the processors' queues.

In Pipecat a frame waits in a queue of each processor for that processor's task. Fifty pieces a
second through seven processors were half of the cost of a call. Audio needs no such queue: each
processor on its path looks at it, or not, and passes it on.
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
)
from pipecat.processors.frame_processor import (
    FrameCallback,
    FrameDirection,
    FrameProcessor,
    FrameProcessorQueue,
)

from calls.stereo import SAMPLE_BYTES
from processors.turn.floor import Floor


class SoundPath(FrameProcessor):
    """A processor that passes audio on at once, or as `hear_sound` says; other frames are queued.

    Audio that comes before the processor was started waits in the queue like everything else, and
    so does audio after that, until none is left there: pieces of audio stay in order. The handling
    of a piece must not be slow, because the sender waits for it.

    A processor that reads audio in `process_frame` must pass it to `hear_sound`, too.
    """

    _waiting = 0  # pieces in the queue
    _flows = False  # the last queued piece has passed, so the processor was started

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Process audio at once; queue other frames."""
        if not isinstance(frame, InputAudioRawFrame):
            await super().queue_frame(frame, direction, callback)
        elif self._flows and not self._cancelling:
            await self.hear_sound(frame)
        else:
            self._waiting += 1
            await super().queue_frame(frame, direction, callback)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count a piece of audio that has come through the queue."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._waiting -= 1
            self._flows = self._waiting == 0

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece on."""
        await self.hand_on(frame)

    async def hand_on(self, frame: InputAudioRawFrame) -> None:
        """Give a piece to the next processor, unseen by observers, which read no audio."""
        if self._next:
            await self._next.queue_frame(frame)


WINDOW_S: Final = 0.032  # 256 samples at 8 kHz, 512 at 16 kHz. Source: Silero's model
QUIET_WINDOWS: Final = 4  # at once; must be fewer than the six in a row that make speech (0.2 s)


class SoundWindows(SoundPath):
    """Joins audio into whole windows, above the VAD, which computes once for each window.

    A piece that completes no window changes nothing there, but costs as much on its way as one that
    does. So it waits for the rest of its window.

    While there is no speech, and no turn waits for its end, four windows go on at once: the VAD
    computes the second one in a quarter of the time of the first, whose model must be fetched from
    memory. Detection is no later for that. As soon as one of them may be speech, each goes on alone
    again, and only the sixth in a row makes it speech.
    """

    def __init__(
        self,
        floor: Floor,
        *,
        quiet: Callable[[], bool] = lambda: False,
        hear: Callable[[InputAudioRawFrame], None] = lambda _: None,
    ) -> None:
        """Join pieces of audio into windows.

        Args:
            floor: Of the call.
            quiet: Returns whether there was no speech in the last window, nor right before it.
            hear: Gets each piece as it comes.
        """
        super().__init__()
        self._floor = floor
        self._quiet = quiet
        self._hear = hear
        self._held = bytearray()
        self._begun_bytes = 0  # of a window, which the VAD has already

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect audio, and pass everything else on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass on complete windows."""
        self._hear(frame)
        self._held += frame.audio
        window_bytes = round(WINDOW_S * frame.sample_rate) * SAMPLE_BYTES
        gathered_bytes = self._begun_bytes + len(self._held)
        waits = self._floor.caller_speaking or self._floor.turn_open
        idle = not waits and self._quiet()
        if gathered_bytes < window_bytes * (QUIET_WINDOWS if idle else 1):
            return
        self._begun_bytes = gathered_bytes % window_bytes
        sound, self._held = bytes(self._held), bytearray()
        await self.hand_on(
            InputAudioRawFrame(sound, frame.sample_rate, num_channels=frame.num_channels)
        )


class SoundEnd(SoundPath):
    """Ends the path of the caller's audio, and passes everything else on.

    Otherwise fifty pieces a second would go through ten processors that do not use them. Passing
    such frames from one to the next was half of the loop's work (profiled, eight calls).
    """

    def __init__(self, hear: Callable[[InputAudioRawFrame], None] = lambda _: None) -> None:
        super().__init__()
        self._hear = hear

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop audio, and pass on the rest."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece to the recorder, if there is one."""
        self._hear(frame)


# An interruption drops what waits in a processor's queue.
#
# Pipecat puts system frames before all others. If a word and an interruption come to a processor
# before its task runs, the interruption is handled first. It empties the next queue, where the word
# is not yet, and the word follows. Then a caller who had barged in heard a last piece of the old
# answer, and its word stood at the beginning of the next one in the model's context.


class InputQueue(FrameProcessorQueue):
    """Pipecat's input queue of a processor, without frames that were interrupted."""

    async def put(self, item: tuple[Frame, FrameDirection, FrameCallback | None]) -> None:
        """Add a frame; an interruption drops the frames that it interrupts."""
        frame, direction, _ = item
        if isinstance(frame, InterruptionFrame) and direction is FrameDirection.DOWNSTREAM:
            self._drop_interrupted()
        await super().put(item)

    def _drop_interrupted(self) -> None:
        """Drop frames on their way to the caller; those going up are news of the line."""
        waiting = self._queue  # type: ignore[attr-defined] - a heap, as in Pipecat's `FrameQueue`
        kept = [
            entry for entry in waiting if entry[0] != self.DEFAULT_PRIORITY or _stays(*entry[2])
        ]
        for _ in range(len(waiting) - len(kept)):
            self.task_done()
        waiting[:] = kept
        heapq.heapify(waiting)


def _stays(frame: Frame, direction: FrameDirection, _callback: FrameCallback | None) -> bool:
    return direction is FrameDirection.UPSTREAM or not frame.interruptible


def order_interruptions(listed: list[FrameProcessor]) -> list[FrameProcessor]:
    """Give such a queue to processors that have not been started, and return them."""
    for processor in listed:
        processor._FrameProcessor__input_queue = InputQueue()  # type: ignore[attr-defined] # noqa: SLF001 - no way to hand it in
    return listed


# Chosen: 30 dB below the loudest of the last second or so. A final s stays above it on a telephone.
# If the line's own noise does, too, nothing is ever faint, and the VAD's report decides.
FAINT: Final = 0.03
FADES: Final = 0.4  # of the loudest level that is left after a second
# Measured in calls through a carrier and a browser: the VAD's silence begins up to 0.08 s late.
VAD_LATE_S: Final = 0.1


class Faintness:
    """Follows the level of one caller's audio, in pieces of a few hundredths of a second.

    A speech detector with a model is surer, but up to 0.1 s later, because its output fades slowly
    after a word. This measure may be wrong, so at most a tenth of a second may depend on it.

    Attributes:
        lasts_s: How long it has been faint; 0 if it is not.
    """

    def __init__(self) -> None:
        self.lasts_s = 0.0
        self._loudest = 0.0

    def hear(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        """Process a piece."""
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
        """Return when a caller stopped, after a VAD's report; monotonic in seconds.

        The VAD's output fades slowly after a word, so its silence begins late. Of the faint audio
        before that, at most `VAD_LATE_S` counts as silence.

        Args:
            noticed_at: When the VAD reported it.
            stop_s: The VAD's delay.
            now: At or after that; the result is the same later, as long as there is no speech.
        """
        sure_at = noticed_at - stop_s
        return min(sure_at, max(sure_at - VAD_LATE_S, now - self.lasts_s))
