"""Counts the words that an output passes on, which the call takes for heard."""

from pipecat.frames.frames import Frame, TTSTextFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


class PassedWords(FrameProcessor):
    """A processor after an output."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.count += isinstance(frame, TTSTextFrame)
        await self.push_frame(frame, direction)
