"""Listens to who picked up a call of ours, and keeps their first words from the conversation.

Stands right behind the recognisers. Until somebody is there to talk to, no sound and no word goes
on: nobody answers a mailbox, and the held line fills no pause of a menu. It hears speech with a
detector of its own, tells the recognisers above what the call's own would, and delays nothing once
the talk has begun. What it decides is decided in `processors/answerer/decision.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionWorkerFrame,
    StartFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup

from calls.entry import Tell
from calls.leg_events import AnswererHeard
from processors.answerer.answerer_rules import (
    AnsweringAction,
    AnsweringPlan,
    AnsweringRules,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
    StopTalking,
)
from processors.answerer.decision import AnswererJudge
from processors.answerer.ear import AnswererEar, SpeechDetector
from processors.ladder.alarm import Alarm
from processors.turn.sound_path import SoundPath


class Excuse(Protocol):
    """Has nobody ask why it is so quiet, or has them again."""

    def __call__(self, *, away: bool) -> None:
        """Note whether nobody is there to be asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswererMeans:
    """What is done with what is decided.

    Attributes:
        say: Has the agent's voice say something.
        part: Ends the call, given the reason of `CallEnded`, behind what is being said.
        excuse: Has nobody ask why it is so quiet, or has them again.
        remember: Takes a person's first words for the conversation.
        tell: Takes the facts.
        clock: Monotonic, in seconds.
    """

    say: Callable[[Frame], Awaitable[None]]
    part: Callable[[str], Awaitable[None]]
    excuse: Excuse
    remember: Callable[[str], None]
    tell: Tell
    clock: Callable[[], float]


class FirstWords:
    """What was said before the talk began: it comes into the conversation when it does, once.

    Attributes:
        still_come: What is written down is of them: nobody has spoken in the talk yet.
    """

    def __init__(self) -> None:
        self.still_come = True
        self._said: list[str] = []

    def keep(self, text: str) -> None:
        """Keep what was written down of an utterance."""
        if text.strip():
            self._said.append(text.strip())

    def forget(self) -> None:
        """Forget what an assistant said: a person may follow."""
        self._said.clear()

    def hand_over(self, remember: Callable[[str], None]) -> None:
        """Have remembered what was said and was not handed over before, if anything was."""
        said, self._said = self._said, []
        if said:
            remember(" ".join(said))


class AnswererWatch(SoundPath):
    """One for each call that we placed; `person` returns when there is somebody to talk to.

    Attributes:
        judge: What decides.
        ear: What hears speech and beeps.
    """

    def __init__(
        self,
        plan: AnsweringPlan,
        means: AnswererMeans,
        *,
        speech: SpeechDetector,
        rules: AnsweringRules | None = None,
    ) -> None:
        """Prepare.

        Args:
            plan: What is said to whom.
            means: What it acts with.
            speech: A detector of its own.
            rules: How long what takes; None: as usual.
        """
        super().__init__()
        self.judge = AnswererJudge(rules or AnsweringRules(), leaves_message=bool(plan.message))
        self.ear = AnswererEar(speech)
        self._plan = plan
        self._means = means
        self._alarm = Alarm(means.clock)
        self._opened = asyncio.Event()
        self._first_words = FirstWords()
        self._leaving = False  # a message

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Learn the rate of the line."""
        await super().setup(setup)
        self.ear.prepare(setup.audio_in_sample_rate)

    async def act(self, now: float) -> None:
        """Do what is due by now."""
        await self._do(self.judge.tick(now))

    async def person(self) -> None:
        """Begin to listen, for the far end has picked up; return when somebody is to be greeted."""
        self.answered()
        await self._opened.wait()

    def answered(self) -> None:
        """Begin to listen."""
        self._means.excuse(away=True)
        now = self._means.clock()
        self.judge.answered(now)
        if self.ear.speaking:  # since before the answer: what follows is somebody's all the same
            self.judge.voiced(now)
        self._alarm.ring()

    async def carrier_says(self, answerer: str) -> None:
        """Note the carrier's verdict on who it is."""
        await self._do(self.judge.carrier_says(answerer, self._means.clock()))
        self._alarm.ring()

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Listen, and hand the sound on when there is a talk."""
        withheld = self.judge.listens
        if not self.judge.over:
            now = self._means.clock()
            if await self.ear.hear(frame.audio):
                await self._note_voice(now)
            if self.ear.hear_beep(frame.audio):
                await self._do(self.judge.beep(now))
            self._alarm.ring()
        if not withheld:
            await self.hand_on(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Withhold sound and words while it listens; pass everything else on."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                await self.hear_sound(frame)
                return
            case TranscriptionFrame() | InterimTranscriptionFrame():
                if await self.read(frame):
                    await self.push_frame(frame, direction)
                return
            case StartFrame():
                self._alarm.start(self, lambda: self.judge.wake_at, self.act)
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
            case BotStoppedSpeakingFrame() if self._leaving:
                self._leaving = False
                await self._means.part("voicemail")
            case VADUserStartedSpeakingFrame() if not self.judge.listens:
                self._first_words.still_come = False
            case _:
                pass
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop listening."""
        await super().cleanup()
        await self._alarm.stop()

    async def _note_voice(self, now: float) -> None:
        """Note that somebody began to speak or ceased; tell the recognisers while it listens.

        The call's own detector, which tells them otherwise, does not hear it then.
        """
        if self.ear.speaking:
            self.judge.voiced(now - self.ear.late_s)
            news = VADUserStartedSpeakingFrame()
        else:
            self.judge.silent(now - self.ear.late_s)
            news = VADUserStoppedSpeakingFrame()
        if self.judge.listens:
            await self.push_frame(news, FrameDirection.UPSTREAM)

    async def read(self, frame: TranscriptionFrame | InterimTranscriptionFrame) -> bool:
        """Read what was written down; return whether it is said in the talk."""
        withheld = self.judge.listens or self._first_words.still_come
        final = isinstance(frame, TranscriptionFrame)
        if withheld and final:
            self._first_words.keep(frame.text)
        if not self.judge.over:
            await self._do(self.judge.words(frame.text, self._means.clock(), final=final))
            self._alarm.ring()  # never from `act`: the alarm's own work would wake it for ever
        if self._opened.is_set() and not self.judge.listens:  # written down late
            self._first_words.hand_over(self._means.remember)
        return not withheld

    async def _do(self, actions: Sequence[AnsweringAction]) -> None:
        means = self._means
        for action in actions:
            match action:
                case Decide():
                    means.tell(_fact_of(action))
                case Open():
                    means.excuse(away=False)
                    self._first_words.hand_over(means.remember)
                    self._opened.set()
                case SayWho():
                    self._first_words.forget()
                    await means.say(TTSSpeakFrame(self._plan.who))
                case StopTalking():
                    await self.push_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
                    means.excuse(away=True)
                case LeaveMessage():
                    means.excuse(away=False)  # should no voice come, the silence ends the call
                    self._leaving = True
                    await means.say(_uncut(self._plan.message))
                case PartFromMachine():
                    await means.part(action.answerer.value)


def _fact_of(said: Decide) -> AnswererHeard:
    return AnswererHeard(
        answerer=said.answerer.value, why=said.why, after_s=said.after_s, revised=said.revised
    )


def _uncut(text: str) -> TTSSpeakFrame:
    """Return a text to be said to its end, whoever speaks meanwhile."""
    speech = TTSSpeakFrame(text)
    speech.interruptible = False
    return speech
