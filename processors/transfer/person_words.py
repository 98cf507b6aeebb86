"""Hears on this machine whether a person who was called takes the call: a yes or a no.

Only what is said behind our own question counts. Before it, the line may give the agent's voice
back, or a mailbox may still be greeting.
"""

from collections.abc import Callable
from typing import Final

from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.processors.frame_processor import FrameProcessor

from processors.answerer.ear import SpeechDetector
from processors.holding.menu_word_rules import Consent, Meaning
from processors.holding.on_device_words import OnDeviceWords, WordEar

RATES_HZ: Final = (8000, 16000)  # of lines that the detector of speech can hear. Source: Silero


class PersonWords:
    """One for each person's leg, until the two are put together."""

    def __init__(self, ear: WordEar, speech: SpeechDetector, *, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            ear: Understands a short utterance.
            speech: A detector of speech of its own.
            clock: Monotonic, in seconds.
        """
        self._words = OnDeviceWords(ear, clock=clock)
        self._speech = speech
        self._rate_hz = 0
        self._listens = self._speaking = False

    @property
    def usable(self) -> bool:
        """Whether words can be heard here."""
        return self._words.usable

    def start(self, owner: FrameProcessor, answered: Callable[[Consent], None]) -> None:
        """Be ready to understand, until `stop`.

        Args:
            owner: Whose task it is.
            answered: Called with each yes and no.
        """

        def note(meaning: Meaning | None) -> None:
            if isinstance(meaning, Consent) and self._listens:
                answered(meaning)

        self._words.start(owner, note)

    async def stop(self) -> None:
        """Hear nothing more."""
        self._listens = False
        await self._words.stop()

    def listen(self, *, on: bool) -> None:
        """Have what begins to be said from now on count, or not."""
        self._listens = on

    async def hear(self, pcm: bytes, rate_hz: int) -> None:
        """Hear a piece of the person's sound, 16-bit mono.

        The detector hears all of it: it needs half a second of a line before it finds a short word.
        """
        if rate_hz != self._rate_hz:
            self._rate_hz = rate_hz
            self._speech.set_sample_rate(rate_hz)
        self._words.sound(pcm, rate_hz)
        state = await self._speech.analyze_audio(pcm)
        if not self._speaking and state is VADState.SPEAKING:
            self._speaking = True
            self._words.began(listens=self._listens)
        elif self._speaking and state is VADState.QUIET:
            self._speaking = False
            self._words.stopped()
