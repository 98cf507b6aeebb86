"""Cleans and bounds what the recogniser says the caller said, before the conversation reads it."""

from typing import Protocol

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from calls.entry import Tell
from calls.events import InputRefused
from calls.words import LIMIT, clean
from processors.turn.sound_path import SoundPath


class CallerListener(Protocol):
    """Hears the caller's words, and when there is silence."""

    def hear(self, frame: Frame) -> None:
        """Read a frame; wait for nothing."""
        ...


class CallerWords(SoundPath):
    """Stands between the recogniser and the caller's side of the context, and delays nothing.

    One turn may bring several final transcripts; together they never exceed `limit` characters.
    What is too much is dropped and told once a turn.
    """

    def __init__(
        self, *, tell: Tell, limit: int = LIMIT, listener: CallerListener | None = None
    ) -> None:
        """Prepare.

        Args:
            tell: Takes the facts.
            limit: Characters of a turn.
            listener: Hears what the conversation will read.
        """
        super().__init__()
        self._listener = listener
        self._tell = tell
        self._limit = limit
        self._left = limit

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Clean transcripts in place and pass everything on."""
        await super().process_frame(frame, direction)
        match frame:
            case TranscriptionFrame():
                self._bound(frame)
            case InterimTranscriptionFrame():
                frame.text = clean(frame.text, self._limit)
            case UserStoppedSpeakingFrame():
                self._left = self._limit
            case _:
                pass
        if self._listener:
            self._listener.hear(frame)
        await self.push_frame(frame, direction)

    def _bound(self, frame: TranscriptionFrame) -> None:
        had_room = self._left > 0
        too_long = len(frame.text.strip()) > self._left
        frame.text = clean(frame.text, self._left)
        self._left -= len(frame.text)
        if too_long and had_room:
            self._left = 0
            self._tell(InputRefused(transport="stt", reason="transcript_too_long"))
