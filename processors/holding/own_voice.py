"""The call's own speech, without a provider: clips, and the local voice for the rest of answers.

This speech is not part of an answer, and is not added to the assistant's context, with two
exceptions. A text for `Situation.LLM` is added unless it only holds the line: it may ask the caller
something, and a model that works again must know the question. The rest of an answer that no
provider's voice could say is added, too. In both cases only the words that were heard are added.
All words that were heard are published, with the voice that said them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple, Protocol, assert_never

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    LLMAssistantPushAggregationFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)

from calls.entry import Emit
from calls.events import AgentSaid, CallbackWanted, MessageLeft, PersonWanted, TranscriptFinal
from calls.line import CallerLine
from calls.sentences import UNANSWERED
from calls.turn import Turn
from fallbacks.events import HeldTheLine, StepTaken
from processors.holding.line_rules import (
    CallerMessage,
    ChoiceDone,
    KeepMessage,
    RunMenuChoice,
    SpeakFor,
    Then,
)
from processors.holding.menu_rules import Choice, DeskChoice
from processors.holding.tones import message_tone
from processors.holding.utterance_rules import (
    NUMBER,
    Chooser,
    FallbackText,
    OwnSentence,
    OwnWords,
    Situation,
)
from processors.turn.floor import Floor
from runtime.pcm import SAMPLE_BYTES


class ClipAudioRawFrame(TTSAudioRawFrame):
    """Audio of our own speech. It counts as speech on the line, but not as the pending answer.

    Pipecat's output cuts audio into pieces of the same class, so the pieces can be recognised, too.
    """


LOCAL: Final = "local"
"""The name of the local voice."""


class SpokenClip(NamedTuple):
    """A text as audio."""

    pcm: bytes  # 16-bit mono
    voice: str  # the rung that rendered it, or `LOCAL`


class ClipVoice(Protocol):
    """Renders texts as audio, at the rate of the caller's line."""

    async def say(self, text: str, language: str) -> SpokenClip:
        """Return the clip of a text in the agent's current voice, or else in the local voice."""
        ...

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return the text in the local voice."""
        ...


class Speaker:
    """Plays clips on the caller's line."""

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
        self._making = 0  # interruptible speech in preparation
        self._until = 0.0  # the end of interruptible speech on the line

    @property
    def speaks(self) -> bool:
        """Whether interruptible speech is playing, or in preparation."""
        return self._making > 0 or min(self._until, self._line.dry_at) > self._now()

    def cut(self) -> None:
        """Drop interruptible speech in preparation, because the caller interrupted.

        Speech that is on the line already is not touched.
        """
        self._cuts += 1

    async def speak_clip(
        self, clip: Awaitable[SpokenClip], *, protected: bool = False
    ) -> tuple[float | None, str]:
        """Speak a clip as `speak` does; return its length in seconds or `None`, and its voice."""
        voice = ""

        async def sound() -> bytes:
            nonlocal voice
            pcm, voice = await clip
            return pcm

        length_s = await self.speak(sound(), protected=protected)
        return length_s, voice

    async def speak(
        self, sound: Awaitable[bytes], *, protected: bool = False, answer: bool = False
    ) -> float | None:
        """Speak as soon as the audio is ready.

        Args:
            sound: 16-bit mono at `rate_hz`.
            protected: Whether the audio cannot be interrupted.
            answer: Whether the audio is part of the pending answer. Then what was said before it
                is added to the assistant's context first.

        Returns:
            The audio's length in seconds; `None` if it was dropped, because the caller spoke first.
        """
        cuts = self._cuts
        self._making += not protected
        try:
            pcm = await sound
        finally:
            self._making -= not protected
        if self._cuts != cuts and not protected:
            return None
        kind = TTSAudioRawFrame if answer else ClipAudioRawFrame
        length_s = len(pcm) / SAMPLE_BYTES / self.rate_hz
        # First: the line may report that it plays the audio before `push` returns.
        self._line.add(length_s, self._now(), protected=protected)
        if not protected:
            self._until = self._line.dry_at
        before = (LLMAssistantPushAggregationFrame(),) if answer else ()
        for frame in (*before, kind(pcm, self.rate_hz, 1), TTSStoppedFrame()):
            frame.interruptible = not protected
            await self._push(frame)
        return length_s


OUTAGE: Final = "outage"  # the reason in `CallEnded` when the outage menu ends a call


class MenuChoices(Protocol):
    """Carries out a caller's choice from the menu."""

    async def call_back(self, reason: str) -> bool:
        """Record a request for a callback; return False if the number is unknown."""
        ...

    async def connect(self) -> bool:
        """Transfer the caller, and wait for the end; return False if no person talked to them."""
        ...

    def record(self, pcm: bytes, rate_hz: int) -> None:
        """Record the next piece of a message, 16-bit mono; never waits."""
        ...

    async def keep_message(self) -> bool:
        """Store the recording; return False if it could not be stored."""
        ...

    async def drop_message(self) -> None:
        """Delete the recording: it contains no speech."""
        ...

    async def hang_up(self, reason: str) -> None:
        """End the call, even if a part of it hangs."""
        ...


class ChoiceActions:
    """Carries out menu choices through `MenuChoices`, and publishes the results."""

    def __init__(self, choices: MenuChoices, *, emit: Emit, turn: Turn) -> None:
        self._choices = choices
        self._emit = emit
        self._turn = turn

    def record(self, message: CallerMessage, piece: bytes) -> None:
        """Record a piece of a message at once, so that it is kept even if the process dies."""
        if piece:
            self._choices.record(piece, message.rate_hz)

    async def carry_out(self, action: RunMenuChoice | KeepMessage) -> ChoiceDone:
        """Carry out a choice; return its result. One that raises is logged, and has failed."""
        choice = action.choice if isinstance(action, RunMenuChoice) else Choice.MESSAGE
        try:
            if isinstance(action, KeepMessage):
                done = await self._keep_message(action.message)
                return ChoiceDone(choice=choice, done=done, lost=action.message.spoken and not done)
            done = await self._run_choice(action.choice, UNANSWERED.get(action.stage, ""))
        except Exception as broken:  # noqa: BLE001 - the caller must hear what comes next
            logger.opt(exception=broken).error("the choice {} failed", choice.value)
            lost = isinstance(action, KeepMessage) and action.message.spoken
            return ChoiceDone(choice=choice, done=False, lost=lost)
        return ChoiceDone(choice=choice, done=done)

    async def hang_up(self) -> None:
        """End the call."""
        await self._choices.hang_up(OUTAGE)

    async def _run_choice(self, choice: DeskChoice, reason: str) -> bool:
        """Connect to a person or store a callback; return whether that succeeded.

        The wish for a person, and a stored callback, are emitted as events.
        """
        match choice:
            case Choice.PERSON:
                self._emit(PersonWanted(turn=self._turn.number, reason=reason))
                return await self._choices.connect()
            case Choice.CALLBACK:
                if kept := await self._choices.call_back(reason):
                    self._emit(CallbackWanted(turn=self._turn.number, when="", reason=reason))
                return kept
            case _:
                assert_never(choice)

    async def _keep_message(self, message: CallerMessage) -> bool:
        """Store a message, and emit `MessageLeft`; return whether it was stored.

        A message without words is dropped.
        """
        if not message.spoken:
            await self._choices.drop_message()
            return False
        kept = await self._choices.keep_message()
        if kept:
            self._emit(MessageLeft(length_s=message.length_s))
        return kept


HEARD_CHARACTERS: Final = 300  # of the caller's latest transcript, kept to find the topic


@dataclass(slots=True, kw_only=True)
class Phrases:
    """The fallback texts, and the language to use."""

    chooser: Chooser
    language: str
    heard: str = ""  # the caller's latest words
    number: str = ""  # the callback number, written as separate digits

    def take_in(self, transcript: TranscriptFinal) -> None:
        """Record the end of the caller's latest words, up to `HEARD_CHARACTERS`."""
        self.heard = transcript.text[-HEARD_CHARACTERS:]

    def follow(self, language: str) -> None:
        """Use another language from now on."""
        self.language = language

    def choose(
        self, situations: tuple[Situation, ...], *, topical: bool, again: bool = False
    ) -> FallbackText | None:
        """Return a text for the first situation that has one left, filled in; else `None`.

        It counts as played. Repeats are used only if no situation has an unused text.

        Args:
            situations: What happened, in order of preference.
            topical: Whether the text may be about the caller's latest topic.
            again: Whether a text may be repeated if none is left.
        """
        heard = self.heard if topical else ""
        found = (
            self.chooser.choose(situation, self.language, heard=heard, again=repeat)
            for repeat in (False, again)
            for situation in situations
        )
        chosen = next((item for item in found if item), None)
        return chosen and replace(chosen, text=self.fill(chosen.text))

    def fill(self, text: str) -> str:
        """Return a text with the callback number in place of `{number}`."""
        return text.replace(NUMBER, self.number)


class OwnVoice:
    """Speaks on the caller's line, and publishes the words that were heard.

    Attributes:
        speaker: Plays the audio.
        phrases: The texts.
        line: The caller's line.
        floor: The call's floor.
        emit: Publishes events.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        voice: ClipVoice,
        remember: Callable[[str], None],
        line: CallerLine,
        floor: Floor,
        turn: Turn,
        emit: Emit,
        clock: Callable[[], float],
        push: Callable[[Frame], Awaitable[None]],
        on_added: Callable[[], None],
    ) -> None:
        """Create it for one call; the class describes most arguments.

        `voice` renders the texts, `remember` adds text to the assistant's context, `push` sends
        audio to the line, and `turn` is the turn in progress. `on_added` is called when words were
        put on the line, because `wake_at` may have changed.
        """
        self.speaker = Speaker(line, push=push, clock=clock)
        self.phrases = phrases
        self._voice = voice
        self._add_to_context = remember
        self.line = line
        self.floor = floor
        self._turn = turn
        self.emit = emit
        self.clock = clock
        self._unheard = OwnWords(line)
        self._on_added = on_added
        self._rest: deque[tuple[str, bool]] = deque(maxlen=64)  # words that no voice could say
        self._speaking_rest = asyncio.Lock()

    @property
    def wake_at(self) -> float | None:
        """When the next words will have been heard, or `None`."""
        return self._unheard.wake_at

    def keep_rest(self, rest: str, *, protected: bool) -> None:
        """Queue words that no provider's voice could say for `speak_rest`.

        At most 64 entries are kept; beyond that, the oldest is lost.

        Args:
            rest: The words.
            protected: Whether the words cannot be interrupted.
        """
        self._rest.append((rest, protected))

    async def speak(self, action: SpeakFor, *, over_caller: bool) -> float | None:
        """Say a text for the first situation that has one left, and publish `HeldTheLine`.

        If the text would only hold the line, and the line still has audio, nothing is said.

        Args:
            action: What to say.
            over_caller: Whether the caller is speaking; then only a protected text is said.

        Returns:
            The end of the audio on the line; `inf` if the caller spoke first, `None` without text.
        """
        holds = action.then is Then.HOLD  # then texts may repeat, because an answer is pending
        if holds and self.line.queued_s(self.clock()):
            return self.line.dry_at
        topical = not holds
        utterance = self.phrases.choose(action.situations, topical=topical, again=holds)
        if utterance is None:
            return None
        if over_caller and not action.protected:
            return inf
        kept = topical and utterance.situation is Situation.LLM
        text, language = utterance.text, utterance.language
        if not await self.say(text, language, kept=kept, protected=action.protected):
            return inf
        stopped_at = self.floor.stopped_at
        after_s = 0.0 if stopped_at is None else self.clock() - stopped_at
        self.emit(HeldTheLine(turn=self._turn.number, utterance=utterance.name, after_s=after_s))
        return self.line.dry_at

    async def say(self, text: str, language: str, *, kept: bool, protected: bool) -> bool:
        """Say a text in the agent's current voice, or else in the local voice.

        Return False if the caller spoke first, so that it was dropped; never if `protected`.

        Args:
            text: The text.
            language: The text's language.
            kept: Whether the words that were heard are added to the assistant's context.
            protected: Whether the text cannot be interrupted.
        """
        clip = self._voice.say(text, language)
        length_s, voice = await self.speaker.speak_clip(clip, protected=protected)
        if length_s is not None:
            self._expect_heard(text, length_s, by=voice, kept=kept, protected=protected)
        return length_s is not None

    async def speak_rest(
        self, report: Callable[[float | None], None], *, only_protected: bool
    ) -> None:
        """Say the queued words in the local voice.

        Args:
            report: Called for each entry: with `None` when it is taken from the queue, and with the
                end of the audio on the line when it was put there. The second call is left out if
                the caller spoke first.
            only_protected: Whether words that can be interrupted stay in the queue.
        """
        async with self._speaking_rest:
            while rest := next((r for r in self._rest if r[1] or not only_protected), None):
                self._rest.remove(rest)
                text, protected = rest
                report(None)
                self.emit(StepTaken(stage="tts", step="local"))
                sound = self._voice.say_locally(text, self.phrases.language)
                length_s = await self.speaker.speak(sound, protected=protected, answer=True)
                if length_s is not None:
                    self._expect_heard(text, length_s, by=LOCAL, kept=True, protected=protected)
                    report(self.line.dry_at)

    async def sound_tone(self) -> float:
        """Play the tone that tells the caller to speak; return when it will have been heard."""

        async def sound() -> bytes:
            return message_tone(self.speaker.rate_hz)

        await self.speaker.speak(sound(), protected=True)
        return self.line.dry_at

    def stop(self) -> None:
        """Forget interruptible speech, also if it is queued; publish the part that was heard.

        Audio that is on the line already is not dropped here.
        """
        self.speaker.cut()
        self._rest = deque((rest for rest in self._rest if rest[1]), maxlen=self._rest.maxlen)
        for sentence in self._unheard.cut(self.clock()):
            self._publish_heard(sentence)

    def end(self) -> None:
        """Publish the words that were heard: the line ends."""
        now = self.clock()
        for sentence in (*self._unheard.heard(now), *self._unheard.cut(now, line_ends=True)):
            self._publish_heard(sentence)

    def note_heard(self, now: float) -> None:
        """Publish the sentences that were heard to the end."""
        for sentence in self._unheard.heard(now):
            self._publish_heard(sentence)

    def _expect_heard(
        self, text: str, length_s: float, *, by: str, kept: bool, protected: bool
    ) -> None:
        """Track a sentence that is on the line; its heard words are published later."""
        sentence = OwnSentence(
            text=text, by=by, turn=self._turn.number, kept=kept, protected=protected
        )
        self._unheard.add(sentence, length_s)
        self._on_added()

    def _publish_heard(self, sentence: OwnSentence) -> None:
        """Emit heard words as `AgentSaid`, and add them to the context if they are to be kept."""
        if sentence.kept:
            self._add_to_context(sentence.text)
        self.emit(AgentSaid(turn=sentence.turn, text=sentence.text, by=sentence.by))
