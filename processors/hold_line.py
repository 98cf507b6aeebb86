"""Speaks to a caller whose answer is late, and goes down step by step while nobody can answer.

It stands right above the line, so that nothing that hangs can be in its way, and delays nothing.
When to speak, and what sort of thing, is decided in `Holding` and `Descent`; here frames become
their events, and their answers sound.

What is said here is none of the answer: it is marked as a clip, and the assistant's context does
not hold it. The exception is what was said in place of an answer because no model could think of
one: it may ask the caller something, and the model that is there again must know what. The rest of
an answer that no voice could say is the answer, in the local voice, and is remembered as far as it
was heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.entry import Tell
from calls.events import AgentSaid, Event, TranscriptFinal
from calls.turn import Turn
from fallbacks.facts import (
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    HeldTheLine,
    StageExhausted,
    StepTaken,
)
from fallbacks.holding import Say
from fallbacks.menu_words import Meaning, heard_here
from fallbacks.utterances import Situation, Utterance
from processors.clip import SAMPLE_BYTES, Speaker, tone
from processors.fallback import Fallback
from processors.message import Message
from processors.on_device_words import OnDeviceWords
from processors.pcm import audible
from processors.way_down import WayDown

Read: TypeAlias = Callable[[Any, float], None]
"""Reads a frame of one type; given the moment (monotonic, s)."""

OWED: Final = 8  # failures of a stage that are yet to be spoken of; the oldest is forgotten
MODEL_S: Final = 0.37  # from a question to the model's first word, usually
SENTENCE_S: Final = 0.09  # from there to the first sentence's end
VOICE_S: Final = 0.13  # from a sentence to its first sound
BREATH_S: Final = 0.2  # of silence before a voice's first word, at most, usually
PATIENCE_S: Final = 0.35  # with a voice, before another is asked for the same words
_USUALLY_S: Final = {"llm": MODEL_S + SENTENCE_S + VOICE_S, "tts": VOICE_S}
BEHIND_S: Final = 0.1  # for what comes behind the news: a voice's last words, a caller's first


@dataclass(frozen=True, slots=True)
class _Exhausted:
    stage: str
    at: float


class HoldLine(FrameProcessor):
    """Delays nothing; speaks when the decisions say so."""

    def __init__(
        self, fallback: Fallback, *, tell: Tell, clock: Callable[[], float], turn: Turn
    ) -> None:
        super().__init__(name="local")  # what it says in place of a voice is the local voice's
        self._fallback = fallback
        self._holding = fallback.holding
        self._tell = tell
        self._now = clock
        self._turn = turn
        self._speaker = Speaker(push=self.push_frame, clock=clock)
        self._words = OnDeviceWords(fallback.ear, clock=clock)
        self._hearing_words: asyncio.Task[None] | None = None
        self._said_words: deque[Meaning] = deque()
        self._way_down = WayDown(
            descent=fallback.descent,
            desk=fallback.desk,
            mouth=self,
            tell=tell,
            turn=turn,
            clock=clock,
        )
        self._caller_speaks = False
        self._words.stopped()
        self._stopped_at: float | None = None  # the caller's last voiced sample
        self._deaf = False  # a recogniser failed while the caller spoke: his end may not be noticed
        self._exhausted: deque[_Exhausted] = deque(maxlen=OWED)
        self._unsaid: deque[str] = deque(maxlen=64)  # what no voice could say
        self._saying = asyncio.Lock()
        self._hearing: deque[tuple[float, float, str]] = deque()  # from, to, what is remembered
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._reads: Mapping[type[Frame], Read] = {
            VADUserStartedSpeakingFrame: self._caller_began,
            VADUserStoppedSpeakingFrame: self._caller_stopped,
            UserStoppedSpeakingFrame: self._decided,
            InterruptionFrame: self._interrupted,
            TTSAudioRawFrame: self._answered,
        }

    @property
    def holding(self) -> bool:
        """Whether something was said in place of the answer that the caller still waits for."""
        return self._holding.held

    def notice(self, event: Event) -> None:
        """Take in a fact of the call; told by whoever tells, so it waits for nothing."""
        match event:
            case StageExhausted():
                self._exhausted.append(_Exhausted(event.stage, self._now()))
                self._deaf = self._deaf or event.stage == "stt"
            case AttemptFailed() | AttemptStarted(extra=True) if event.stage == "stt":
                self._deaf = True
                self._holding.decided(self._now())
            case AttemptStarted() if event.stage in _USUALLY_S:
                at = self._now() + _USUALLY_S[event.stage]
                followed = event.stage == "tts" and not event.extra
                self._holding.expected(at, else_at=at + PATIENCE_S if followed else None)
            case AttemptWon():
                self._way_down.answered(event.stage)
                if event.stage == "llm":
                    self._holding.expected(self._now() + SENTENCE_S + VOICE_S)
            case TranscriptFinal():
                self._fallback.phrases.take_in(event)
            case _:
                return
        self._changed.set()

    def hear(self, frame: InputAudioRawFrame) -> None:
        """Take in the caller's sound: a message that is being left, or one of the menu's words."""
        if self._way_down.message:
            self._way_down.message.sound(frame.audio, self._now())
        elif self._hearing_words:
            self._words.sound(frame.audio, frame.sample_rate)

    async def unsaid(self, text: str) -> None:
        """Take in the words that no voice could say; the local voice says them."""
        self._unsaid.append(text)
        self._changed.set()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Learn the rate of the line."""
        await super().setup(setup)
        self._speaker.rate_hz = setup.audio_out_sample_rate

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, but an answer that comes after the goodbye; take in what it means."""
        await super().process_frame(frame, direction)
        if self._way_down.has_the_line and isinstance(frame, TTSAudioRawFrame | TTSTextFrame):
            return
        if isinstance(frame, EndFrame):
            await self._say_unsaid()  # a goodbye, perhaps
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._watching = self.create_task(self._watch(), "hold the line")
            case EndFrame() | CancelFrame():
                await self._quiet()
            case _:
                await self._take_in(frame)

    async def _take_in(self, frame: Frame) -> None:
        match frame:
            case InputDTMFFrame():
                await self._key(frame)
            case _ if read := self._reads.get(type(frame)):
                read(frame, self._now())
                self._changed.set()
            case _:
                pass

    async def cleanup(self) -> None:
        """Stop watching; keep a message that was being left."""
        await super().cleanup()
        await self._quiet()
        await self._way_down.close()

    def _caller_began(self, _frame: Frame, _now: float) -> None:
        kept = (each for each in self._exhausted if each.stage == "stt")
        self._exhausted = deque(kept, maxlen=OWED)  # the others' turn is void
        self._caller_speaks, self._deaf = True, bool(self._exhausted)
        self._words.began(listens=self._way_down.listens)
        self._holding.caller_started()
        self._way_down.caller_started()

    def _caller_stopped(self, frame: VADUserStoppedSpeakingFrame, now: float) -> None:
        self._caller_speaks = False
        self._words.stopped()
        self._stopped_at = now - frame.stop_secs
        self._holding.caller_stopped(self._stopped_at)
        if not self._deaf:
            self._holding.paused()  # until it is his turn's end: it may be a cough, or a thought
        self._way_down.caller_stopped()

    def _decided(self, _frame: Frame, now: float) -> None:
        self._holding.decided(now)

    def _answered(self, frame: TTSAudioRawFrame, now: float) -> None:
        self._speaker.line.add(len(frame.audio) / SAMPLE_BYTES / frame.sample_rate, now=now)
        self._way_down.spoken(self._speaker.line.dry_at)
        self._holding.expected(now + BREATH_S)
        if audible(frame.audio):
            self._holding.answered()

    def _interrupted(self, _frame: Frame, now: float) -> None:
        self._speaker.cut()
        self._unsaid.clear()
        for begins_at, ends_at, text in self._hearing:
            words = text.split()
            share = (now - begins_at) / max(ends_at - begins_at, 0.001)
            heard = words[: max(0, int(share * len(words)))]
            if heard:
                self._remember(" ".join(heard))
        self._hearing.clear()

    async def _key(self, frame: InputDTMFFrame) -> None:
        if self._way_down.key(frame.button.value):
            await self._cut_menu()
        self._changed.set()

    async def _cut_menu(self) -> None:
        self._speaker.cut()
        await self.push_frame(InterruptionFrame())  # below us only: the menu has been heard

    def _hears_words(self) -> bool:
        return self._words.usable and heard_here(self._fallback.phrases.language)

    def _hear_words(self) -> None:
        """Have the ear loaded while the first step is taken: the menu is some seconds away."""

        def said(meaning: Meaning) -> None:
            self._said_words.append(meaning)
            self._changed.set()

        if self._hearing_words is None and self._hears_words():
            following = self._words.follow(said, self._changed.set)
            self._hearing_words = self.create_task(following, "the menu's words")

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            await self._act(self._now())
            moments = [self._holding_at, self._way_down.wake_at, self._heard_at, self._exhausted_at]
            wake_at = min((each for each in moments if each is not None), default=None)
            wait_s = None if wake_at in (None, inf) else max(0.0, wake_at - self._now())
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    @property
    def _holding_at(self) -> float | None:
        return None if self._way_down.in_charge else self._holding.wake_at

    @property
    def _heard_at(self) -> float | None:
        return self._hearing[0][1] if self._hearing else None

    @property
    def _exhausted_at(self) -> float | None:
        """When to speak of a stage's failure."""
        if not self._exhausted or self._caller_speaks:
            return None
        first = self._exhausted[0]
        if first.stage == "stt":  # he may only have paused
            stopped_at = -inf if self._stopped_at is None else self._stopped_at
            at = max(first.at + BEHIND_S, stopped_at + self._holding.settings.first_s)
        else:
            at = first.at + (BEHIND_S if first.stage == "tts" else 0.0)
        return max(at, self._words.owed_until)

    async def _act(self, now: float) -> None:
        while self._hearing and self._hearing[0][1] <= now:
            self._remember(self._hearing.popleft()[2])
        await self._say_unsaid()
        self._way_down.hears(words=self._hears_words())
        while self._said_words:
            if self._way_down.word(self._said_words.popleft()):
                await self._cut_menu()
        due = self._exhausted_at
        if due is not None and due <= now:
            self._hear_words()
            self._way_down.exhausted(self._exhausted.popleft().stage)
            self._holding.answered()
        await self._way_down.act(now)
        if self._holding_at is not None:
            for say in self._holding.tick(now):
                await self._hold(say)

    async def _hold(self, say: Say) -> None:
        situations = {
            Say.FILLER: (Situation.FILLER,),
            Say.CLIP: (Situation.LLM, Situation.DOWN),
        }[say]
        utterance = self._fallback.phrases.choose(situations, topical=False)
        dry_at = await self._utter(utterance) if utterance else None
        if dry_at is not None:
            self._holding.said(dry_at)

    async def say(self, *situations: Situation, must: bool = False) -> float | None:
        """Speak for the first situation that has a text left; as `Mouth` says."""
        utterance = self._fallback.phrases.choose(situations, topical=True)
        if utterance is None:
            return None
        begins_at = max(self._now(), self._speaker.line.dry_at)
        dry_at = await self._utter(utterance, must=must)
        if utterance.situation is Situation.LLM and dry_at != inf:
            self._hearing.append((begins_at, dry_at, utterance.text))
        return dry_at

    async def _utter(self, utterance: Utterance, *, must: bool = False) -> float:
        if self._caller_speaks and not must:
            return inf
        sound = self._fallback.voice.say(utterance.text, utterance.language)
        dry_at = await self._speaker.speak(sound, must=must)
        if dry_at is None:
            return inf
        after_s = 0.0 if self._stopped_at is None else self._now() - self._stopped_at
        self._tell(HeldTheLine(turn=self._turn.number, utterance=utterance.name, after_s=after_s))
        return dry_at

    async def _say_unsaid(self) -> None:
        async with self._saying:
            while self._unsaid and not self._way_down.has_the_line:
                await self._say_locally(self._unsaid.popleft())

    async def _say_locally(self, text: str) -> None:
        others = (each for each in self._exhausted if each.stage != "tts")
        self._exhausted = deque(others, maxlen=OWED)
        self._tell(StepTaken(stage="tts", step="local"))
        begins_at = max(self._now(), self._speaker.line.dry_at)
        sound = self._fallback.voice.say_locally(text, self._fallback.phrases.language)
        dry_at = await self._speaker.speak(sound, answer=True)
        if dry_at is not None:
            self._holding.answered()
            self._hearing.append((begins_at, dry_at, text))

    def _remember(self, words: str) -> None:
        self._fallback.remember(words)
        self._tell(AgentSaid(turn=self._turn.number, text=words))

    async def begin_message(self) -> Message:
        """Sound the tone, and record from its end on."""

        async def sound() -> bytes:
            return tone(self._speaker.rate_hz)

        dry_at = await self._speaker.speak(sound(), must=True)
        return Message(begins_at=dry_at or self._now(), rate_hz=self._speaker.rate_hz)

    async def _quiet(self) -> None:
        tasks = (self._watching, self._hearing_words)
        self._watching = self._hearing_words = None
        for task in tasks:
            if task and task is not asyncio.current_task():
                await self.cancel_task(task)
