"""The path of the caller's audio through the pipeline, bypassing the processors' queues.

In Pipecat, each processor has a queue in which frames wait for its task. Fifty pieces of audio a
second through seven such queues were half of the cost of a call. Audio does not need them: each
processor on the path reads a piece if it wants to, and passes it directly to the next.
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

from processors.turn.floor import Floor
from runtime.pcm import SAMPLE_BYTES


class SoundPath(FrameProcessor):
    """A processor that handles audio at once, in `hear_sound`, and queues other frames.

    Audio that arrives before the processor has started is queued like other frames. Later audio is
    queued, too, until the queue holds no more audio, so the order is kept. `hear_sound` must be
    fast, because the sender waits for it.

    A processor that handles audio in `process_frame` must pass it to `hear_sound`.
    """

    _waiting = 0  # pieces of audio in the queue
    _flows = False  # the queue holds no more audio, and the processor has started

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Process audio at once, in `hear_sound`; queue other frames.

        Audio is queued, too, until the processor has started and all audio before it was processed.
        """
        if not isinstance(frame, InputAudioRawFrame):
            await super().queue_frame(frame, direction, callback)
        elif self._flows and not self._cancelling:
            await self.hear_sound(frame)
        else:
            self._waiting += 1
            await super().queue_frame(frame, direction, callback)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count a piece of audio that has left the queue.

        When none is left in it, later audio bypasses the queue.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._waiting -= 1
            self._flows = self._waiting == 0

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece of audio on."""
        await self.hand_on(frame)

    async def hand_on(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece to the next processor, without reporting it to observers."""
        if self._next:
            await self._next.queue_frame(frame)


class SoundFilter(SoundPath):
    """A processor that changes or drops audio in `hear_sound`, and passes other frames on."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, and audio through `hear_sound`."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)


WINDOW_S: Final = 0.032  # 256 samples at 8 kHz, 512 at 16 kHz. Source: Silero's model
QUIET_WINDOWS: Final = 4  # passed on together; must be fewer than the six that begin speech (0.2 s)


class SoundWindows(SoundFilter):
    """Joins audio into whole windows before it reaches the VAD, which computes once per window.

    A piece that does not complete a window changes nothing in the VAD, but costs as much on its way
    as one that does. So it waits here for the rest of its window.

    While there is no speech and no open turn, four windows are passed on together. The first one
    loads the VAD's model into the CPU cache; each of the others then takes a quarter of the time.
    This does not delay detection: when one of them may be speech, the next windows are passed on
    one by one again, and speech begins only with the sixth in a row.
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
            floor: The call's floor.
            quiet: Returns whether there was no speech in the last window, nor right before it.
            hear: Called with each piece as it arrives.
        """
        super().__init__()
        self._floor = floor
        self._quiet = quiet
        self._hear = hear
        self._held = bytearray()
        self._begun_bytes = 0  # bytes of an incomplete window that were already passed on

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Keep audio until a window is complete, and pass the complete windows on.

        While nobody speaks, `QUIET_WINDOWS` are passed on at once.
        """
        self._hear(frame)
        self._held += frame.audio
        window_bytes = round(WINDOW_S * frame.sample_rate) * SAMPLE_BYTES
        gathered_bytes = self._begun_bytes + len(self._held)
        in_turn = self._floor.caller_speaking or self._floor.turn_open
        idle = not in_turn and self._quiet()
        if gathered_bytes < window_bytes * (QUIET_WINDOWS if idle else 1):
            return
        self._begun_bytes = gathered_bytes % window_bytes
        sound, self._held = bytes(self._held), bytearray()
        await self.hand_on(
            InputAudioRawFrame(sound, frame.sample_rate, num_channels=frame.num_channels)
        )


class SoundEnd(SoundFilter):
    """Ends the path of the caller's audio, and passes everything else on.

    Otherwise fifty pieces a second would pass through ten processors that do not use them, which
    was half of the event loop's work (profiled with eight calls).
    """

    def __init__(self, hear: Callable[[InputAudioRawFrame], None] = lambda _: None) -> None:
        super().__init__()
        self._hear = hear

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Call `hear` with a piece of audio; pass nothing on."""
        self._hear(frame)


class InputQueue(FrameProcessorQueue):
    """Pipecat's input queue of a processor, in which an interruption drops waiting frames.

    Pipecat's queue sorts system frames first. If a word and an interruption arrive before the
    processor's task runs, the interruption is handled first: it empties the next queue, and the
    word follows afterwards. A caller who had barged in then heard a last piece of the old answer,
    and in the model's context the next answer began with that word.
    """

    async def put(self, item: tuple[Frame, FrameDirection, FrameCallback | None]) -> None:
        """Add a frame; an interruption first drops the frames that it interrupts."""
        frame, direction, _ = item
        if isinstance(frame, InterruptionFrame) and direction is FrameDirection.DOWNSTREAM:
            self._drop_interrupted()
        await super().put(item)

    def _drop_interrupted(self) -> None:
        """Drop interruptible frames that are on their way to the caller."""
        waiting = self._queue  # type: ignore[attr-defined] - a heap, as in Pipecat's `FrameQueue`
        kept = [
            entry for entry in waiting if entry[0] != self.DEFAULT_PRIORITY or _is_kept(*entry[2])
        ]
        for _ in range(len(waiting) - len(kept)):
            self.task_done()
        waiting[:] = kept
        heapq.heapify(waiting)


def _is_kept(frame: Frame, direction: FrameDirection, _callback: FrameCallback | None) -> bool:
    return direction is FrameDirection.UPSTREAM or not frame.interruptible


def order_interruptions(processors: list[FrameProcessor]) -> list[FrameProcessor]:
    """Install an `InputQueue` in processors that have not been started, and return them."""
    for processor in processors:
        processor._FrameProcessor__input_queue = InputQueue()  # type: ignore[attr-defined] # noqa: SLF001 - no parameter for it
    return processors


# Chosen: 30 dB below the loudest sample of about the last second. On a telephone, a final "s" is
# louder than that. If the line's noise is, too, no audio counts as faint: the VAD decides alone.
FAINT: Final = 0.03
FADES: Final = 0.4  # the share of the loudest level that remains after a second
# Measured in calls through a carrier and a browser: the VAD's silence begins up to 0.08 s late.
VAD_LATE_S: Final = 0.1


class Faintness:
    """Measures how long one caller's audio has been faint.

    The pieces of audio are a few hundredths of a second long.

    A speech detector with a model is more reliable, but up to 0.1 s later, because its output
    decays slowly after a word. This measure may be wrong, so it shifts the caller's stop by at most
    that much.

    Attributes:
        lasts_s: How long the audio has been faint, in seconds; 0 if it is not.
    """

    def __init__(self) -> None:
        self.lasts_s = 0.0
        self._loudest = 0.0

    def hear(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        """Measure how long the audio has been faint; an empty piece changes nothing."""
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
        """Return when a caller stopped, given the VAD's report; monotonic, in seconds.

        The VAD's output decays slowly after a word, so its silence begins late. At most
        `VAD_LATE_S` of faint audio before that counts as silence, too.

        Args:
            noticed_at: When the VAD reported the stop.
            stop_s: The silence that the VAD waits for before it reports.
            now: `noticed_at` or later; the result stays the same as long as there is no speech.
        """
        sure_at = noticed_at - stop_s
        return min(sure_at, max(sure_at - VAD_LATE_S, now - self.lasts_s))
