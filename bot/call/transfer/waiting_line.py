"""The caller's line while the caller waits for a person, and then talks to them.

`WaitingLine` is directly before the output, so that no hanging stage can block it. It says the
transfer's sentences in the agent's voice. While the caller and the person talk, it drops the
agent's words. What is played while the line is silent is decided with everything else that a call
says unasked (`processors/holding/decision.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.line import CallerLine
from configuration.texts import sentence
from processors.holding.line_executor import OtherSound, drop_answer
from processors.holding.own_voice import Phrases
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, Situation
from processors.turn.sound_path import SoundFilter

TakeSound: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Called with 16-bit mono audio, at the rate of the line that it came from."""


class JoinedSound(SoundFilter):
    """Sends the caller's audio to a person instead of the agent, directly after the input.

    Meanwhile the recognisers get silence of the same length: without audio, a recogniser would
    close its connection after ten seconds, which would count as a failure.

    Attributes:
        take: Called with the caller's audio; `None` if it goes to the agent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.take: TakeSound | None = None

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece of audio on, or give it to the person and pass silence on."""
        if self.take is None:
            await self.hand_on(frame)
            return
        pcm = frame.audio
        await self.hand_on(
            InputAudioRawFrame(bytes(len(pcm)), frame.sample_rate, frame.num_channels)
        )
        await self.take(pcm)


WORDS_S: Final = 3.0  # for the words that the model wrote before it requested the transfer
NEVER_SILENT: Final = frozenset(
    {
        Situation.PERSON,
        Situation.NOT_REACHED,
        Situation.OFFER_CALLBACK,
        Situation.CONFIRM_NUMBER,
        Situation.BACK,
    }
)
"""Situations with an English text if the configured ones are missing or used up."""


class WaitingLine(FrameProcessor):
    """Plays to a caller who waits for a person or talks to one; delays no frame.

    Attributes:
        line: The caller's line.
        together: Whether the caller hears only a person.

    Args:
        phrases: The fallback texts.
        say: Says a text in a language; with `protected`, it cannot be interrupted.
        line: The caller's line.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        say: Callable[..., Awaitable[object]],
        line: CallerLine,
        clock: Callable[[], float],
    ) -> None:
        """Begin with a caller who is neither waiting nor connected; play nothing."""
        super().__init__()
        self.together = False
        self._phrases = phrases
        self._say = say
        self.line = line
        self._now = clock
        self._other = OtherSound(line, push=self.push_frame, clock=clock)
        self._words_out = asyncio.Event()
        self._words_out.set()  # no answer is expected before `expect_words`

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self._other.rate_hz = setup.audio_out_sample_rate

    def expect_words(self) -> None:
        """Make `wait_for_words` wait for the end of the current answer."""
        self._words_out.clear()

    async def wait_for_words(self) -> None:
        """Wait for at most `WORDS_S` until the words of an expected answer are on the line."""
        try:
            async with asyncio.timeout(WORDS_S):
                await self._words_out.wait()
        except TimeoutError:
            self._words_out.set()

    async def say(self, situation: Situation, *, protected: bool = True) -> bool:
        """Say a text in the agent's voice; return False if there is none.

        Args:
            situation: The situation that the text is for.
            protected: Whether the text cannot be interrupted.
        """
        chosen = self._phrases.choose((situation,), topical=False)
        text = chosen.text if chosen else ""
        if not text and situation in NEVER_SILENT:
            text = self._phrases.fill(sentence(situation, DEFAULT_LANGUAGE))
        if not text:
            return False
        language = chosen.language if chosen else DEFAULT_LANGUAGE  # the text's, not the caller's
        await self._say(text, language, protected=protected)
        return True

    async def play(self, pcm: bytes) -> None:
        """Play the person's audio, 16-bit mono at the line's rate, if the two are joined."""
        if self.together:
            await self._other.put_soon(pcm)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, except the agent's words while the caller talks to a person.

        Such words answer something that was said before the two were joined. Words that cannot be
        interrupted are passed on: the goodbye of a server that stops, which ends the conversation.
        """
        await super().process_frame(frame, direction)
        if self.together and drop_answer(frame, self.line, self._now()):
            return  # otherwise the person's audio would wait
        await self.push_frame(frame, direction)
        if isinstance(frame, LLMFullResponseEndFrame):
            self._words_out.set()  # this frame follows the answer's words
