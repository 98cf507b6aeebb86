"""The processors on a person's leg: keys, the person's audio, and what is said to them."""

import asyncio
from collections import deque
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

from calls.line import CallerLine
from calls.stereo import SAMPLE_BYTES
from processors.answerer.watch import SpeechDetector
from processors.holding.line_executor import OtherSound, until_heard
from processors.holding.line_rules import Consent, Meaning
from processors.holding.on_device_words import OnDeviceWords, WordEar
from processors.transfer.waiting_line import TakeSound
from processors.turn.sound_path import SoundPath

# Recognises on this machine whether a called person takes the call: a yes or a no. Only what is
# said after our question counts. Before it, the line may echo the agent's voice, or a mailbox may
# still be greeting.

RATES_HZ: Final = (8000, 16000)  # of lines that the speech detector supports. Source: Silero


class PersonWords:
    """Recognises yes and no on one person's leg, until the two are joined."""

    def __init__(self, ear: WordEar, speech: SpeechDetector, *, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            ear: Recognises a short utterance.
            speech: Its own speech detector.
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
            answered: Called with each yes and no.
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
        """Count what is said from now on, or ignore it."""
        self._listens = on

    async def hear(self, pcm: bytes, rate_hz: int) -> None:
        """Process a piece of the person's audio, 16-bit mono.

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


SayLocally = Callable[[str], Awaitable[bytes]]
"""Returns a text in the local voice: 16-bit mono at the line's rate."""


@dataclass
class SaidFrame(ControlFrame):
    """Follows what is to be said; it outlasts an interruption."""

    interruptible: bool = field(default=False, init=False)


class PersonEar(SoundPath):
    """Stands directly after the person's line, and passes on no audio of the person.

    Attributes:
        take: Gets the person's audio, or `None`.
        words: Recognises yes and no, or `None`.
        on_key: Gets each key.
        on_word: Gets each yes and no, while it listens for them.
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
        """Count a yes or no that is said from now on, or ignore it."""
        if self.words is not None:
            self.words.listen(on=on)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on except audio; read keys."""
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
        """Pass a piece of audio to the listener, if there is one."""
        if self.take is not None:
            await self.take(frame.audio)
        elif self.words is not None:
            await self.words.hear(frame.audio, frame.sample_rate)

    async def _stop_words(self) -> None:
        if self.words is not None:
            await self.words.stop()


class PersonVoice(FrameProcessor):
    """Stands directly before the person's line, and says in the local voice what no other could."""

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
        self._unsaid: deque[str] = deque()
        self._hushed = False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self._other.rate_hz = setup.audio_out_sample_rate

    async def keep_unsaid(self, rest: str, *, must: bool) -> None:
        """Keep what no voice could say until its turn comes."""
        del must  # the person can cut everything short
        self._unsaid.append(rest)

    async def heard(self) -> None:
        """Return once everything to say was heard."""
        await self.said.wait()
        await until_heard(self._line, self._now)

    async def play(self, pcm: bytes) -> None:
        """Play the next piece of the caller's audio, 16-bit mono at the line's rate."""
        self._hushed = True  # the summary ends once the two talk
        await self._other.put_soon(pcm)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; say in its place what was left unsaid."""
        await super().process_frame(frame, direction)
        if isinstance(frame, SaidFrame):
            await self._say_unsaid()
            self.said.set()
            return
        if self._hushed and isinstance(frame, TTSAudioRawFrame):
            return
        await self.push_frame(frame, direction)

    async def _say_unsaid(self) -> None:
        while self._unsaid and not self._hushed:
            pcm = await self._say_locally(self._unsaid.popleft())
            await self.push_frame(TTSAudioRawFrame(pcm, self._other.rate_hz, 1))
            self._line.add(len(pcm) / SAMPLE_BYTES / self._other.rate_hz, self._now())
