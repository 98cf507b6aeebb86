"""Opens the turn's deadline when the caller stops, before any stage learns of it.

And notes whether a word of the turn was written down yet: interim words end at the next processor.
"""

from collections.abc import Callable

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from calls.turn import Turn
from processors.turn.faintness import Faintness
from processors.turn.pauses import PauseSoundsFinal
from processors.turn.sound_path import SoundPath


class TurnOpener(SoundPath):
    """Stands right above the caller's side of the context, where the VAD's word comes from.

    The stop is told both ways at once. The stages above get it through here; the one below comes
    several steps later in the other direction, when the deadline stands already.
    """

    def __init__(self, turn: Turn, *, faintness: Faintness, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            turn: Is opened.
            faintness: Hears what the VAD hears.
            clock: Monotonic, in seconds.
        """
        super().__init__()
        self._turn = turn
        self._faintness = faintness
        self._now = clock

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Open the turn, and pass everything on."""
        await super().process_frame(frame, direction)
        match frame:
            case PauseSoundsFinal():
                self._turn.may_have_stopped(self._now())
            case VADUserStoppedSpeakingFrame():
                now = self._now()
                stop_s = frame.stop_secs
                self._turn.caller_stopped(self._faintness.stopped_at(now, stop_s=stop_s, now=now))
            case InterimTranscriptionFrame() | TranscriptionFrame():
                self._turn.worded = self._turn.worded or bool(frame.text.strip())
            case UserStoppedSpeakingFrame():
                self._turn.worded = False
            case _:
                pass
        await self.push_frame(frame, direction)
