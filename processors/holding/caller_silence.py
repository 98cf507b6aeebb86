"""Speaks to a caller who says nothing, and ends the call that lasts too long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InputDTMFFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    SystemFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from calls.entry import Tell
from calls.events import CallerSilent
from processors.holding.farewell import Farewell
from processors.holding.silence_rules import CallLength, Goodbye, Prompt, Silence, SilenceSign
from processors.ladder.alarm import Alarm

READS: Final[Mapping[type[Frame], tuple[SilenceSign, ...]]] = {
    VADUserStartedSpeakingFrame: (SilenceSign.CALLER,),
    VADUserStoppedSpeakingFrame: (SilenceSign.CALLER_STOPPED,),
    UserStartedSpeakingFrame: (SilenceSign.CALLER,),
    UserStoppedSpeakingFrame: (SilenceSign.CALLER_STOPPED,),
    InputDTMFFrame: (SilenceSign.CALLER, SilenceSign.CALLER_STOPPED),  # a key has no end of its own
    BotStartedSpeakingFrame: (SilenceSign.AGENT,),
    BotStoppedSpeakingFrame: (SilenceSign.AGENT_STOPPED,),
    LLMFullResponseStartFrame: (SilenceSign.WORK,),
    LLMFullResponseEndFrame: (SilenceSign.WORK_DONE,),
    FunctionCallInProgressFrame: (SilenceSign.WORK,),
    FunctionCallResultFrame: (SilenceSign.WORK_DONE,),
    FunctionCallCancelFrame: (SilenceSign.WORK_DONE,),
}
"""What a frame means to the rule. Broadcast frames pass once: the other copy goes the other way."""


@dataclass
class AnsweredFrame(SystemFrame):
    """The other party has picked up."""


class CallerSilence(FrameProcessor):
    """Stands right behind `Farewell`, and delays nothing.

    Nothing is timed before `AnsweredFrame`: a call that we place has a pipeline while it rings.
    """

    def __init__(
        self,
        *,
        silence: Silence,
        length: CallLength,
        farewell: Farewell,
        tell: Tell,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self._silence = silence
        self._length = length
        self._farewell = farewell
        self._tell = tell
        self._clock = clock
        self._alarm = Alarm(clock)
        self._away = False
        self._answered = False

    def excuse(self, *, away: bool) -> None:
        """Ask the caller nothing, and part from nobody, while the caller is with a person."""
        self._away = away
        self._silence.handle(
            SilenceSign.AGENT if away else SilenceSign.AGENT_STOPPED, self._clock()
        )
        self._alarm.ring()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; note who speaks and who works."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._alarm.start(self, self._wake_at, self._act)
            case AnsweredFrame():
                self._answered = True
                self._length.start(self._clock())
                self._silence.start(self._clock())
                self._alarm.ring()
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
            case InterruptionFrame():
                self._silence.forget_work()
                self._alarm.ring()
            case _:
                self._note(READS.get(type(frame), ()))

    async def cleanup(self) -> None:
        """Stop watching."""
        await super().cleanup()
        await self._alarm.stop()

    def _note(self, heard: tuple[SilenceSign, ...]) -> None:
        for each in heard:
            self._silence.handle(each, self._clock())
        if heard:
            self._alarm.ring()

    def _wake_at(self) -> float | None:
        if self._away or not self._answered:
            return None
        moments = (self._silence.wake_at, self._length.wake_at)
        return min((each for each in moments if each is not None), default=None)

    async def _act(self, now: float) -> None:
        if self._away or not self._answered:
            return
        for step in (*self._silence.tick(now), *self._length.tick(now)):
            await self._do(step)

    async def _do(self, step: Prompt | Goodbye) -> None:
        match step:
            case Prompt():
                self._tell(CallerSilent(prompts=step.prompts))
                await self.push_frame(TTSSpeakFrame(step.words))
            case Goodbye():
                final = step.reason == "max_length"
                await self._farewell.part(step.reason, words=step.words, final=final)
