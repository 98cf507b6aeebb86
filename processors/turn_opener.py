"""Opens the turn's deadline when the caller stops, before any stage learns of it."""

from collections.abc import Callable

from pipecat.frames.frames import Frame, VADUserStoppedSpeakingFrame
from pipecat.processors.frame_processor import FrameDirection

from calls.turn import Turn
from processors.sound_path import SoundPath


class TurnOpener(SoundPath):
    """Stands right above the caller's side of the context, where the VAD's word comes from.

    The stop is told both ways at once. The stages above get it through here; the one below comes
    several steps later in the other direction, when the deadline stands already.
    """

    def __init__(self, turn: Turn, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._turn = turn
        self._now = clock

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Open the turn, and pass everything on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            self._turn.caller_stopped(self._now() - frame.stop_secs)
        await self.push_frame(frame, direction)
