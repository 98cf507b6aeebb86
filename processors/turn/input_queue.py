"""What waits at a processor when an interruption comes is dropped with the rest.

Pipecat puts system frames before all others. If a word and an interruption come to a processor
before its task has its turn, the interruption is handled first: it empties the queue behind, where
the word is not yet, and the word follows. The caller who spoke over us heard a last piece of the
old answer then, and its word stood at the head of the next one in the model's context.
"""

import heapq

from pipecat.frames.frames import Frame, InterruptionFrame
from pipecat.processors.frame_processor import (
    FrameCallback,
    FrameDirection,
    FrameProcessor,
    FrameProcessorQueue,
)


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
        kept = [each for each in waiting if each[0] != self.DEFAULT_PRIORITY or _stays(*each[2])]
        for _ in range(len(waiting) - len(kept)):
            self.task_done()
        waiting[:] = kept
        heapq.heapify(waiting)


def _stays(frame: Frame, direction: FrameDirection, _callback: FrameCallback | None) -> bool:
    return direction is FrameDirection.UPSTREAM or not frame.interruptible


def order_interruptions(listed: list[FrameProcessor]) -> list[FrameProcessor]:
    """Give processors that have not begun yet such a queue, and return them."""
    for each in listed:
        each._FrameProcessor__input_queue = InputQueue()  # type: ignore[attr-defined] # noqa: SLF001 - no way to hand it in
    return listed
