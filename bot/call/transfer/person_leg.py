"""The processors on a person's leg: for keys, for the person's audio, and for speech to them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.frames.frames import (
    CancelFrame,
    ControlFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    StartFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from bot.call.transfer.waiting_line import TakeSound
from calls.line import CallerLine
from processors.answerer.watch import SpeechDetector
from processors.holding.line_executor import OtherSound, until_heard
from processors.holding.menu_rules import Consent, Meaning
from processors.holding.on_device_words import OnDeviceWords, WordEar
from processors.turn.sound_path import SoundPath
from runtime.pcm import SAMPLE_BYTES

RATES_HZ: Final = (8000, 16000)  # sample rates that the speech detector supports. Source: Silero


class PersonWords:
    """Recognises yes and no on a person's leg, until the caller and the person are joined.

    A called person accepts or declines the call with these words, which are recognised on this
    machine. Only words after our question count: before it, the line may return an echo of the
    agent's voice, or a mailbox may still play its greeting.
    """

    def __init__(self, ear: WordEar, speech: SpeechDetector, *, clock: Callable[[], float]) -> None:
        """Create it for one leg.

        Args:
            ear: Recognises a short utterance.
            speech: A speech detector of its own.
            clock: Monotonic, in seconds.
        """
        self._words = OnDeviceWords(ear, clock=clock)
        self._speech = speech
        self._rate_hz = 0
        self._listens = self._speaking = False

    @property
    def usable(self) -> bool:
        """Whether words can be recognised here."""
        return self._words.usable

    def start(self, owner: FrameProcessor, answered: Callable[[Consent], None]) -> None:
        """Recognise words until `stop`.

        Args:
            owner: Owns the task.
            answered: Called with each yes and no while `listen` is on; it is off at first.
        """

        def note(meaning: Meaning | None) -> None:
            if isinstance(meaning, Consent) and self._listens:
                answered(meaning)

        self._words.start(owner, note)

    async def stop(self) -> None:
        """Stop recognising."""
        self._listens = False
        await self._words.stop()

    def listen(self, *, on: bool) -> None:
        """Count words from now on, or ignore them."""
        self._listens = on

    async def hear(self, pcm: bytes, rate_hz: int) -> None:
        """Process a piece of the person's audio, 16-bit mono.

        The detector always gets it: only after half a second of audio can it detect a short word.
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


SayLocally = Callable[[str], Awaitable[bytes]]
"""Returns a text in the local voice: 16-bit mono at the line's rate."""


@dataclass
class SaidFrame(ControlFrame):
    """Marks the end of the speech to a person; an interruption does not drop it."""

    interruptible: bool = field(default=False, init=False)


class PersonEar(SoundPath):
    """Receives the person's audio and keys, directly after the input; passes no audio on.

    Attributes:
        take: Called with the person's audio; `None` before the caller and the person are joined.
        words: Recognises yes and no; `None` if that is not used.
        on_key: Called with each key.
        on_word: Called with each yes and no, if `listen` was turned on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words: PersonWords | None = None
        self.take: TakeSound | None = None
        self.on_key: Callable[[str], None] = lambda _: None
        self.on_word: Callable[[Consent], None] = lambda _: None

    @property
    def hears_words(self) -> bool:
        """Whether yes and no can be recognised."""
        return self.words is not None and self.words.usable

    def listen(self, *, on: bool) -> None:
        """Count a yes or no from now on, or ignore it."""
        if self.words is not None:
            self.words.listen(on=on)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, except audio; report keys."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                await self.hear_sound(frame)
                return
            case InputDTMFFrame():
                self.on_key(frame.button.value)
            case StartFrame() if self.words is not None:
                self.words.start(self, self.on_word)
            case EndFrame() | CancelFrame():
                await self._stop_words()
            case _:
                pass
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop listening."""
        await super().cleanup()
        await self._stop_words()

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Give a piece of audio to the caller, or else to the recogniser of words."""
        if self.take is not None:
            await self.take(frame.audio)
        elif self.words is not None:
            await self.words.hear(frame.audio, frame.sample_rate)

    async def _stop_words(self) -> None:
        if self.words is not None:
            await self.words.stop()


class PersonVoice(FrameProcessor):
    """Speaks to the person in the local voice if no other voice can; it is before the output."""

    def __init__(
        self, line: CallerLine, *, say_locally: SayLocally, clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self.said = asyncio.Event()
        """Set when everything to say is on the line."""
        self._line = line
        self._now = clock
        self._say_locally = say_locally
        self._other = OtherSound(line, push=self.push_frame, clock=clock)
        self._hushed = False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self._other.rate_hz = setup.audio_out_sample_rate

    async def say_unsaid(self, rest: str, *, protected: bool) -> None:
        """Say words that no other voice could say, unless the two already talk."""
        del protected  # the person can interrupt everything
        pcm = await self._say_locally(rest)
        if not self._hushed:
            self._line.add(len(pcm) / SAMPLE_BYTES / self._other.rate_hz, self._now())
            await self.push_frame(TTSAudioRawFrame(pcm, self._other.rate_hz, 1))

    async def heard(self) -> None:
        """Wait until the person has heard everything; clear `said` before the speech."""
        await self.said.wait()
        await until_heard(self._line, self._now)

    async def play(self, pcm: bytes) -> None:
        """Play the next piece of the caller's audio, 16-bit mono at the line's rate."""
        self._hushed = True  # from now on the two talk, so the summary is dropped
        await self._other.put_soon(pcm)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on, but none of the voices' sound once the two talk; note the end of it."""
        await super().process_frame(frame, direction)
        if isinstance(frame, SaidFrame):
            self.said.set()
            return
        if self._hushed and isinstance(frame, TTSAudioRawFrame):
            return
        await self.push_frame(frame, direction)
