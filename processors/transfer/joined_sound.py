"""Takes the caller's sound out of the conversation while the caller talks with a person."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection

from processors.turn.sound_path import SoundPath

TakeSound: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Gets 16-bit mono at the rate of the line that it came from."""


class JoinedSound(SoundPath):
    """Stands right behind the line. What is said to a person, no recogniser gets to hear.

    The recognisers get silence of the same length meanwhile: one that gets nothing closes its
    connection after ten seconds, and would be blamed for it.

    Attributes:
        take: Gets the caller's sound; None: it goes to the agent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.take: TakeSound | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on but the sound that is a person's to hear."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Hand a piece on, or to the person."""
        if self.take is None:
            await self.hand_on(frame)
            return
        pcm = frame.audio
        await self.hand_on(
            InputAudioRawFrame(bytes(len(pcm)), frame.sample_rate, frame.num_channels)
        )
        await self.take(pcm)
