"""The caller's line while the caller waits for a person, and then talks with the person.

Stands directly before the output, below all that can hang. It plays tones whenever nothing else is
heard, says the result in the agent's voice, and passes only the person's audio while the two talk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    LLMFullResponseEndFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.line import CallerLine
from processors.holding.line_executor import OtherSound
from processors.holding.own_voice import Phrases
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, NUMBER, Situation
from processors.ladder.stage import Alarm
from processors.transfer.hold_rhythm_rules import TONE_EVERY_S, HoldRhythm, HoldSound
from processors.turn.floor import Floor
from processors.turn.sound_path import SoundPath

TakeSound: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Gets 16-bit mono at the rate of the line that it came from."""


class JoinedSound(SoundPath):
    """Stands directly after the input. No recogniser hears what is said to a person.

    Meanwhile the recognisers get silence of the same length: one without audio closes its
    connection after ten seconds, and would be blamed for it.

    Attributes:
        take: Gets the caller's audio; `None` if it goes to the agent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.take: TakeSound | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on except the audio for a person."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
        else:
            await self.push_frame(frame, direction)

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece of audio on, or to the person."""
        if self.take is None:
            await self.hand_on(frame)
            return
        pcm = frame.audio
        await self.hand_on(
            InputAudioRawFrame(bytes(len(pcm)), frame.sample_rate, frame.num_channels)
        )
        await self.take(pcm)


TONE_HZ: Final = 440.0
TONE_S: Final = 0.4
TONE_LEVEL: Final = 1500  # of 32768, about -27 dBFS: well below speech
FADE_S: Final = 0.05  # a tone without a fade clicks
WORDS_S: Final = 3.0  # for what the model said before it asked for the transfer
NEVER_SILENT: Final[Mapping[Situation, str]] = {
    Situation.PERSON: "I am connecting you now.",
    Situation.NOT_REACHED: "I am sorry, nobody could be reached just now.",
    Situation.OFFER_CALLBACK: "Shall we call you back instead?",
    Situation.CONFIRM_NUMBER: (
        f"We would call you back on {NUMBER}. To confirm it, press the same key again."
    ),
    Situation.BACK: "I am back with you. Is there anything else?",
}
"""Used where an owner's texts have none, or all were said."""


class WaitingLine(FrameProcessor):
    """Plays to a caller who waits for a person or talks with one; delays nothing.

    Attributes:
        on_key: Gets each key that the caller presses.
        line: The caller's.
        together: The caller hears only a person.

    Args:
        phrases: The fallback texts.
        say: Says one, in its language; `must` if the caller cannot cut it short.
        line: The caller's.
        floor: Of the call.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        say: Callable[..., Awaitable[object]],
        line: CallerLine,
        floor: Floor,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self.on_key: Callable[[str], None] = lambda _: None
        self.together = False
        self._phrases = phrases
        self._say = say
        self.line = line
        self._now = clock
        self._other = OtherSound(line, push=self.push_frame, clock=clock)
        self._rhythm = HoldRhythm(floor)
        self._alarm = Alarm(clock)
        floor.listeners.append(lambda _: self._alarm.ring())
        self._words_out = asyncio.Event()
        self._words_out.set()  # no answer is expected before `expect_words`

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self._other.rate_hz = setup.audio_out_sample_rate

    def expect_words(self) -> None:
        """Make `words_out` wait for the end of the answer in progress."""
        self._words_out.clear()

    async def words_out(self) -> None:
        """Return once the words of that answer are on the line, or will not come."""
        try:
            async with asyncio.timeout(WORDS_S):
                await self._words_out.wait()
        except TimeoutError:
            self._words_out.set()

    def hold(self, *, on: bool) -> None:
        """Start or stop playing tones whenever nothing else is heard."""
        if on:
            self._rhythm.start(self._now())
        else:
            self._rhythm.stop()
        self._alarm.ring()

    def reassure(self) -> None:
        """Say soon that it takes a moment longer: the caller has asked for a person again."""
        self._rhythm.hurry(self._now())
        self._alarm.ring()

    async def say(self, situation: Situation, *, must: bool = True) -> bool:
        """Say a text in the agent's voice; return False without one.

        Args:
            situation: The situation of the text.
            must: The caller cannot cut it short.
        """
        chosen = self._phrases.choose((situation,), topical=False)
        text = chosen.text if chosen else self._phrases.fill(NEVER_SILENT.get(situation, ""))
        if not text:
            return False
        language = chosen.language if chosen else DEFAULT_LANGUAGE  # the text's, not the caller's
        await self._say(text, language, must=must)
        return True

    async def play(self, pcm: bytes) -> None:
        """Play the next piece of the person's audio, 16-bit mono at the line's rate."""
        if self.together:
            await self._other.put_soon(pcm)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on except the agent's words to a caller who talks with a person.

        Such words answer what was said to the agent when the two were joined. Mandatory speech
        passes: the goodbye of a server that stops, which ends their conversation.
        """
        await super().process_frame(frame, direction)
        said = isinstance(frame, TTSAudioRawFrame | TTSTextFrame)
        if said and self.together and frame.interruptible:
            self.line.drop(_length_s(frame), self._now())  # else the person is inaudible meanwhile
            return
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._alarm.start(self, self._wake_at, self._act)
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
            case LLMFullResponseEndFrame():
                self._words_out.set()  # it follows the answer's words
            case InputDTMFFrame():
                self.on_key(frame.button.value)
            case _:
                pass

    async def cleanup(self) -> None:
        """Stop playing."""
        await super().cleanup()
        await self._alarm.stop()

    def _wake_at(self) -> float | None:
        return self._rhythm.wake_at(max(self.line.dry_at, self._now() - 1.0))

    async def _act(self, now: float) -> None:
        """Do what is due: a phrase if one is left, or else a tone."""
        due = self._rhythm.tick(now, self.line.dry_at)
        if due is None:
            return
        said = due is HoldSound.WORD and await self.say(Situation.ON_HOLD, must=False)
        if not said:
            await self._other.put(hold_tone(self._other.rate_hz))


def _length_s(frame: TTSAudioRawFrame | TTSTextFrame) -> float:
    return frame.num_frames / frame.sample_rate if isinstance(frame, TTSAudioRawFrame) else 0.0


def hold_tone(rate_hz: int) -> bytes:
    """Return one soft tone and the pause after it: 16-bit mono."""
    moments = np.arange(round(TONE_S * rate_hz)) / rate_hz
    fade = np.clip(np.minimum(moments, TONE_S - moments) / FADE_S, 0.0, 1.0)
    tone = TONE_LEVEL * fade * np.sin(2 * np.pi * TONE_HZ * moments)
    pause = np.zeros(round(TONE_EVERY_S * rate_hz) - len(tone))
    return np.concatenate([tone, pause]).astype("<i2").tobytes()
