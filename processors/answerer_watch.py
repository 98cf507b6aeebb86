"""Listens to who picked up a call of ours, and keeps their first words from the conversation.

Stands right behind the recognisers. Until somebody is there to talk to, no sound and no word goes
on: nobody answers a mailbox, and the held line fills no pause of a menu. It hears speech with a
detector of its own, tells the recognisers above what the call's own would, and delays nothing once
the talk has begun. What it decides is decided in `calls/answerer_judge.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipecat.audio.vad.vad_analyzer import VADParams, VADState
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

from calls.answerer_judge import AnswererJudge
from calls.answering import (
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
from calls.entry import Tell
from calls.leg_events import AnswererHeard
from processors.beep import BeepDetector
from processors.sound_path import SoundPath
from processors.stages.alarm import Alarm


class Excuse(Protocol):
    """Has nobody ask why it is so quiet, or has them again."""

    def __call__(self, *, away: bool) -> None:
        """Note whether nobody is there to be asked."""
        ...


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


class AnswererWatch(SoundPath):
    """One for each call that we placed; `person` returns when there is somebody to talk to."""

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
        self._plan = plan
        self._means = means
        self._speech = speech
        self._judge = AnswererJudge(rules or AnsweringRules(), leaves_message=bool(plan.message))
        self._alarm = Alarm(means.clock)
        self._beeps: BeepDetector | None = None
        self._speaking = False
        self._opened = asyncio.Event()
        self._stale = True  # what is still written down was said before the talk began
        self._said: list[str] = []
        self._leaving = False  # a message

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Learn the rate of the line."""
        await super().setup(setup)
        self.prepare(setup.audio_in_sample_rate)

    def prepare(self, rate_hz: int) -> None:
        """Be ready for sound of this rate."""
        self._speech.set_sample_rate(rate_hz)
        self._beeps = BeepDetector(rate_hz)

    @property
    def hears_speech(self) -> bool:
        """Whether somebody is speaking."""
        return self._speaking

    @property
    def judge(self) -> AnswererJudge:
        """What decides."""
        return self._judge

    async def act(self, now: float) -> None:
        """Do what is due by now."""
        await self._do(self._judge.tick(now))

    async def person(self) -> None:
        """Begin to listen, for the far end has picked up; return when somebody is to be greeted."""
        self.answered()
        await self._opened.wait()

    def answered(self) -> None:
        """Begin to listen."""
        self._means.excuse(away=True)
        now = self._means.clock()
        self._judge.answered(now)
        if self._speaking:  # since before the answer: what follows is somebody's all the same
            self._judge.voiced(now)
        self._alarm.ring()

    async def carrier_says(self, answerer: str) -> None:
        """Note the carrier's verdict on who it is."""
        await self._do(self._judge.carrier_says(answerer, self._means.clock()))
        self._alarm.ring()

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Listen, and hand the sound on when there is a talk."""
        withheld = self._judge.listens
        if not self._judge.over:
            await self._listen(frame.audio)
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
                self._alarm.start(self, lambda: self._judge.wake_at, self.act)
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
            case BotStoppedSpeakingFrame() if self._leaving:
                self._leaving = False
                await self._means.part("voicemail")
            case VADUserStartedSpeakingFrame() if not self._judge.listens:
                self._stale = False
            case _:
                pass
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop listening."""
        await super().cleanup()
        await self._alarm.stop()

    async def _listen(self, pcm: bytes) -> None:
        now = self._means.clock()
        state = await self._speech.analyze_audio(pcm)
        if not self._speaking and state is VADState.SPEAKING:
            self._speaking = True
            self._judge.voiced(now - self._speech.params.start_secs)
            await self._tell_above(VADUserStartedSpeakingFrame())
        elif self._speaking and state is VADState.QUIET:
            self._speaking = False
            self._judge.silent(now - self._speech.params.stop_secs)
            await self._tell_above(VADUserStoppedSpeakingFrame())
        if self._beeps is not None and self._beeps.hear(pcm):
            await self._do(self._judge.beep(now))
        self._alarm.ring()

    async def _tell_above(self, frame: Frame) -> None:
        """Tell the recognisers what the call's own detector does not hear now."""
        if self._judge.listens:
            await self.push_frame(frame, FrameDirection.UPSTREAM)

    async def read(self, frame: TranscriptionFrame | InterimTranscriptionFrame) -> bool:
        """Read what was written down; return whether it is said in the talk."""
        withheld = self._judge.listens or self._stale
        final = isinstance(frame, TranscriptionFrame)
        if withheld and final and frame.text.strip():
            self._said.append(frame.text.strip())
        if not self._judge.over:
            await self._do(self._judge.words(frame.text, self._means.clock(), final=final))
            self._alarm.ring()  # never from `act`: the alarm's own work would wake it for ever
        return not withheld

    async def _do(self, actions: Sequence[AnsweringAction]) -> None:
        for action in actions:
            match action:
                case Decide():
                    self._tell(action)
                case Open():
                    self._open()
                case SayWho():
                    self._said.clear()
                    await self._means.say(TTSSpeakFrame(self._plan.who))
                case StopTalking():
                    await self.push_frame(InterruptionWorkerFrame(), FrameDirection.UPSTREAM)
                    self._means.excuse(away=True)
                case LeaveMessage():
                    await self._leave_message()
                case PartFromMachine():
                    await self._means.part(action.answerer.value)

    def _tell(self, said: Decide) -> None:
        self._means.tell(
            AnswererHeard(
                answerer=said.answerer.value,
                why=said.why,
                after_s=said.after_s,
                revised=said.revised,
            )
        )

    def _open(self) -> None:
        self._means.excuse(away=False)
        if self._said:
            self._means.remember(" ".join(self._said))
        self._opened.set()

    async def _leave_message(self) -> None:
        speech = TTSSpeakFrame(self._plan.message)
        speech.interruptible = False
        self._means.excuse(away=False)  # should no voice come, the silence ends the call
        self._leaving = True
        await self._means.say(speech)
