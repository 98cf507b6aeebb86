"""The way of the caller's sound: on through the list at once, past the queues of who stands in it.

In Pipecat a frame waits in a queue of each processor until that one's task has its turn; fifty
pieces a second through seven of them were half of what a call cost. Sound needs no such turn: who
stands in its way looks at it, or not, and hands it on.
"""

from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameCallback, FrameDirection, FrameProcessor


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
