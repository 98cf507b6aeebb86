"""Hears on a line whether somebody speaks, and a mailbox's beep, before there is a talk."""

from typing import Protocol

from pipecat.audio.vad.vad_analyzer import VADParams, VADState

from processors.answerer.beep import BeepDetector


class SpeechDetector(Protocol):
    """Tells speech from what is none, such as a call's own Silero."""

    @property
    def params(self) -> VADParams:
        """How late it is sure."""
        ...

    def set_sample_rate(self, sample_rate: int) -> None:
        """Prepare for a line's rate."""
        ...

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Return the state after some sound."""
        ...


class AnswererEar:
    """Hears on a line's sound when somebody speaks, and a mailbox's beep.

    Attributes:
        speaking: Whether somebody is.
    """

    def __init__(self, speech: SpeechDetector) -> None:
        self.speaking = False
        self._speech = speech
        self._beeps: BeepDetector | None = None

    def prepare(self, rate_hz: int) -> None:
        """Be ready for sound of this rate."""
        self._speech.set_sample_rate(rate_hz)
        self._beeps = BeepDetector(rate_hz)

    async def hear(self, pcm: bytes) -> bool:
        """Hear a piece; return whether it shows that somebody began to speak, or ceased."""
        state = await self._speech.analyze_audio(pcm)
        turned = state is (VADState.QUIET if self.speaking else VADState.SPEAKING)
        if turned:
            self.speaking = not self.speaking
        return turned

    def hear_beep(self, pcm: bytes) -> bool:
        """Hear the same piece for tones; return whether a beep ended in it."""
        return self._beeps is not None and self._beeps.hear(pcm)

    @property
    def late_s(self) -> float:
        """How long somebody had been speaking, or silent, before it was sure of that."""
        params = self._speech.params
        return params.start_secs if self.speaking else params.stop_secs
