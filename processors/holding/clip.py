"""Speech of ours that holds the line: put onto it below everything that can hang."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import numpy as np
from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStoppedFrame

from calls.line import CallerLine

SAMPLE_BYTES: Final = 2
TONE_HZ: Final = 1000  # chosen: well inside a telephone's band, and no dialling tone
TONE_S: Final = 0.3
TONE_LEVEL: Final = 8000  # of 32768


class ClipAudioRawFrame(TTSAudioRawFrame):
    """Sound of ours. To the line it is speech; to those who wait for an answer it is none.

    Pipecat's output cuts sound into pieces of the same class, so the mark stays on it.
    """


class ClipVoice(Protocol):
    """Has texts as sound, at the rate of the caller's line."""

    async def say(self, text: str, language: str) -> bytes:
        """Return a clip in the voice that speaks now; without one, the local voice."""
        ...

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return the local voice."""
        ...


class Speaker:
    """Puts clips onto the caller's line."""

    def __init__(
        self,
        line: CallerLine,
        *,
        push: Callable[[Frame], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.rate_hz = 0
        self._line = line
        self._push = push
        self._now = clock
        self._cuts = 0
        self._making = 0  # of what may be cut short
        self._until = 0.0  # the end of what may be, on the line

    @property
    def speaks(self) -> bool:
        """Whether something that may be cut short sounds, or is being made."""
        return self._making > 0 or min(self._until, self._line.dry_at) > self._now()

    def cut(self) -> None:
        """Have nothing follow that is being made: the caller interrupted."""
        self._cuts += 1

    async def speak(
        self, sound: Awaitable[bytes], *, must: bool = False, answer: bool = False
    ) -> float | None:
        """Speak as soon as the sound is there.

        Args:
            sound: 16-bit mono at `rate_hz`.
            must: The caller may not cut it short.
            answer: It is the answer that the caller waits for, in another voice.

        Returns:
            How long it sounds, in seconds; None when the caller spoke first.
        """
        cuts = self._cuts
        self._making += not must
        try:
            pcm = await sound
        finally:
            self._making -= not must
        if self._cuts != cuts and not must:
            return None
        kind = TTSAudioRawFrame if answer else ClipAudioRawFrame
        for frame in (kind(pcm, self.rate_hz, 1), TTSStoppedFrame()):
            frame.interruptible = not must
            await self._push(frame)
        length_s = len(pcm) / SAMPLE_BYTES / self.rate_hz
        self._line.add(length_s, self._now(), must=must)
        if not must:
            self._until = self._line.dry_at
        return length_s


def tone(rate_hz: int) -> bytes:
    """Return the tone after which a caller speaks: 16-bit mono."""
    moments = np.arange(round(TONE_S * rate_hz)) / rate_hz
    return (TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * moments)).astype("<i2").tobytes()
