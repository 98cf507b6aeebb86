"""What a call says itself, with no provider: clips, and the local voice for what none could say.

What is said here is none of the answer, and the assistant's context does not hold it. The exception
is what was said in place of an answer because no model could think of one: it may ask the caller
something, and the model that is there again must know what. The rest of an answer that no voice
could say is the answer, in the local voice, and is remembered as far as it was heard.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

from pipecat.frames.frames import Frame

from calls.events import AgentSaid
from fallbacks.facts import HeldTheLine, StepTaken
from processors.holding.clip import Speaker, tone
from processors.holding.fallback import Fallback
from processors.holding.line_rules import RestTaken, SpeakFor, Then
from processors.holding.own_word_rules import OwnWords
from processors.holding.utterance_rules import FallbackText, Situation
from processors.wiring import CallWiring


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """What no voice could say."""

    text: str
    must: bool  # the caller may not cut it short


class OwnVoice:
    """Speaks onto the caller's line, and has remembered what was heard of it.

    Attributes:
        speaker: Puts the sound there.
    """

    def __init__(
        self, fallback: Fallback, wiring: CallWiring, *, push: Callable[[Frame], Awaitable[None]]
    ) -> None:
        """Prepare.

        Args:
            fallback: Has the texts and the voice.
            wiring: Of the call.
            push: Takes sound on its way to the line.
        """
        self._fallback = fallback
        self._line = wiring.line
        self.speaker = Speaker(wiring.line, push=push, clock=wiring.clock)
        self._tell = wiring.tell
        self._now = wiring.clock
        self._turn = wiring.turn
        self._unheard = OwnWords(wiring.line)
        self._rest: deque[_Rest] = deque(maxlen=64)
        self._speaking_rest = asyncio.Lock()

    @property
    def wake_at(self) -> float | None:
        """When something will have been heard that is to be remembered."""
        return self._unheard.wake_at

    @property
    def rate_hz(self) -> int:
        """The rate of the line."""
        return self.speaker.rate_hz

    @rate_hz.setter
    def rate_hz(self, rate_hz: int) -> None:
        self.speaker.rate_hz = rate_hz

    def keep_rest(self, rest: str, *, must: bool) -> None:
        """Keep what no voice could say until `speak_rest`.

        Args:
            rest: The words.
            must: The caller may not cut it short.
        """
        self._rest.append(_Rest(text=rest, must=must))

    async def speak(self, action: SpeakFor, *, over_caller: bool) -> float | None:
        """Speak for the first situation that has a text left.

        Returns:
            When the line will be dry again: never (`inf`) when the caller spoke first; None when
            no text was left. A line that is not silent is not held.
        """
        holds = action.then is Then.HOLD  # without end, if need be: the answer is still to come
        if holds and self._line.queued_s(self._now()):
            return self._line.dry_at
        topical = not holds
        phrases = self._fallback.phrases
        utterance = phrases.choose(action.situations, topical=topical, again=holds)
        if utterance is None:
            return None
        if over_caller and not action.must:
            return inf
        sound = self._fallback.voice.say(utterance.text, utterance.language)
        length_s = await self.speaker.speak(sound, must=action.must)
        if length_s is None:
            return inf
        if topical and utterance.situation is Situation.LLM:
            self._unheard.add(utterance.text, length_s)
        self._tell_held(utterance)
        return self._line.dry_at

    async def speak_rest(self, report: Callable[[RestTaken], None], *, must: bool) -> None:
        """Have the local voice say what no voice could say.

        Args:
            report: Is told of it.
            must: Only what the caller may not cut short; the other is kept.
        """
        async with self._speaking_rest:
            while rest := next((each for each in self._rest if each.must or not must), None):
                self._rest.remove(rest)
                report(RestTaken())
                self._tell(StepTaken(stage="tts", step="local"))
                language = self._fallback.phrases.language
                sound = self._fallback.voice.say_locally(rest.text, language)
                length_s = await self.speaker.speak(sound, must=rest.must, answer=True)
                if length_s is not None:
                    self._unheard.add(rest.text, length_s, must=rest.must)
                    report(RestTaken(dry_at=self._line.dry_at))

    async def sound_tone(self) -> float:
        """Sound the tone after which a caller speaks; return when it will have been heard."""

        async def sound() -> bytes:
            return tone(self.rate_hz)

        await self.speaker.speak(sound(), must=True)
        return self._line.dry_at

    def stop(self) -> None:
        """Say nothing more of what may be cut short, and have remembered what was heard of it."""
        self.speaker.cut()
        self._rest = deque((each for each in self._rest if each.must), maxlen=self._rest.maxlen)
        for words in self._unheard.cut(self._now()):
            self._remember(words)

    def note_heard(self, now: float) -> None:
        """Have remembered what was heard to its end."""
        for words in self._unheard.heard(now):
            self._remember(words)

    def _tell_held(self, utterance: FallbackText) -> None:
        stopped_at = self._turn.stopped_at
        after_s = 0.0 if stopped_at is None else self._now() - stopped_at
        self._tell(HeldTheLine(turn=self._turn.number, utterance=utterance.name, after_s=after_s))

    def _remember(self, words: str) -> None:
        self._fallback.remember(words)
        self._tell(AgentSaid(turn=self._turn.number, text=words))
