"""Gathers the caller's sound into pieces that the detector of speech can use."""

from collections.abc import Callable
from typing import Final

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from processors.turn.sound_path import SoundPath

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
