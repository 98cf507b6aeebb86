"""Has the agent speak the language that the caller speaks, where it is detected turn by turn."""

from collections.abc import Callable, Sequence

from pipecat.frames.frames import (
    Frame,
    StartFrame,
    TranscriptionFrame,
    TTSUpdateSettingsFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings

from processors.hearing.language_rules import TurnLanguage
from processors.turn.sound_path import SoundPath


class CallerLanguage(SoundPath):
    """Stands behind the recogniser, so that the voices are told before the model can answer.

    What it tells them travels in the pipeline, ahead of the words that it is about: with these the
    model may begin to answer, and what comes behind them waits until it has. It survives an
    interruption.
    """

    def __init__(
        self,
        *,
        first: str,
        now: str = "",
        voices: Sequence[FrameProcessor],
        follow: Callable[[str], None],
    ) -> None:
        """Speak `first` until another language is heard.

        Args:
            first: The language before anything was heard.
            now: The language that was spoken before in this call; empty: it begins.
            voices: The services that are to speak the caller's language.
            follow: Takes each new language, for what else is said.
        """
        super().__init__()
        self._language = TurnLanguage(now or first)
        self._is_first = self._language.current == first
        self._voices = tuple(voices)
        self._follow = follow

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, the news of another language right before its words."""
        await super().process_frame(frame, direction)
        match frame:
            case StartFrame() if not self._is_first:
                await self.push_frame(frame, direction)
                await self._tell(self._language.current)
                return
            case TranscriptionFrame():
                language = str(frame.language) if frame.language else None
                if self._language.heard(frame.text, language):
                    await self._tell(self._language.current)
            case UserStartedSpeakingFrame() | UserStoppedSpeakingFrame():
                self._language.turn_over()
            case _:
                pass
        await self.push_frame(frame, direction)

    async def _tell(self, language: str) -> None:
        self._follow(language)
        for voice in self._voices:
            told = TTSUpdateSettingsFrame(delta=TTSSettings(language=language), service=voice)
            told.interruptible = False
            await self.push_frame(told)
