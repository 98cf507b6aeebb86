"""Speech of ours that holds the line: put onto it below everything that can hang."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import numpy as np
from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStoppedFrame

from processors.line_queue import LineQueue

SAMPLE_BYTES: Final = 2
TONE_HZ: Final = 1000  # chosen: well inside a telephone's band, and no dialling tone
TONE_S: Final = 0.3
TONE_LEVEL: Final = 8000  # of 32768


class ClipAudioRawFrame(TTSAudioRawFrame):
    """Sound of ours. To the line it is speech; to whoever waits for an answer it is none.

    Pipecat's output cuts sound into pieces of the same class, so the mark stays on it.
    """


class Voice(Protocol):
    """Has texts as sound, at the rate of the caller's line."""

    async def say(self, text: str, language: str) -> bytes:
        """Return a clip in the voice that speaks now; without one, the local voice."""
        ...

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return the local voice."""
        ...


class Speaker:
    """Puts clips onto the caller's line and knows when it runs dry."""

    def __init__(
        self, *, push: Callable[[Frame], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        self.line = LineQueue()
        self.rate_hz = 0
        self._push = push
        self._clock = clock
        self._cut = 0

    def cut(self) -> None:
        """Note that the caller interrupted: what was on the line is not, and nothing follows."""
        self._cut += 1
        self.line.flush(self._clock())

    async def speak(
        self, sound: Awaitable[bytes], *, must: bool = False, answer: bool = False
    ) -> float | None:
        """Speak as soon as the sound is there.

        Args:
            sound: 16-bit mono at `rate_hz`.
            must: The caller may not cut it short.
            answer: It is the answer that the caller waits for, in another voice.

        Returns:
            When it will have been heard; None when the caller spoke first.
        """
        cut = self._cut
        pcm = await sound
        if self._cut != cut and not must:
            return None
        kind = TTSAudioRawFrame if answer else ClipAudioRawFrame
        for frame in (kind(pcm, self.rate_hz, 1), TTSStoppedFrame()):
            frame.interruptible = not must
            await self._push(frame)
        self.line.add(len(pcm) / SAMPLE_BYTES / self.rate_hz, now=self._clock())
        return self.line.dry_at


def tone(rate_hz: int) -> bytes:
    """Return the tone after which a caller speaks: 16-bit mono."""
    moments = np.arange(round(TONE_S * rate_hz)) / rate_hz
    return (TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * moments)).astype("<i2").tobytes()
