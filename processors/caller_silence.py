"""Speaks to a caller who says nothing, and ends the call that lasts too long."""

import asyncio
from collections.abc import Callable, Mapping
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
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from calls.entry import Tell
from calls.events import CallerSilent
from calls.silence import CallLength, Goodbye, Heard, Prompt, Silence
from processors.farewell import Farewell

READS: Final[Mapping[type[Frame], tuple[Heard, ...]]] = {
    VADUserStartedSpeakingFrame: (Heard.CALLER,),
    VADUserStoppedSpeakingFrame: (Heard.CALLER_STOPPED,),
    UserStartedSpeakingFrame: (Heard.CALLER,),
    UserStoppedSpeakingFrame: (Heard.CALLER_STOPPED,),
    InputDTMFFrame: (Heard.CALLER, Heard.CALLER_STOPPED),  # a key has no end of its own
    BotStartedSpeakingFrame: (Heard.AGENT,),
    BotStoppedSpeakingFrame: (Heard.AGENT_STOPPED,),
    LLMFullResponseStartFrame: (Heard.WORK,),
    LLMFullResponseEndFrame: (Heard.WORK_DONE,),
    FunctionCallInProgressFrame: (Heard.WORK,),
    FunctionCallResultFrame: (Heard.WORK_DONE,),
    FunctionCallCancelFrame: (Heard.WORK_DONE,),
}
"""What a frame means to the rule. Broadcast frames pass once: the other copy goes the other way."""


class CallerSilence(FrameProcessor):
    """Stands right behind `Farewell`, and delays nothing."""

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
        self._alarm: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; take in who speaks and who works."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._length.start(self._clock())
                self._silence.start(self._clock())
                self._alarm = self.create_task(self._watch(), "watch the caller's silence")
            case EndFrame() | CancelFrame():
                await self._quiet()
            case InterruptionFrame():
                self._silence.forget_work()
            case _:
                self._take_in(READS.get(type(frame), ()))

    async def cleanup(self) -> None:
        """Stop watching."""
        await super().cleanup()
        await self._quiet()

    def _take_in(self, heard: tuple[Heard, ...]) -> None:
        for each in heard:
            self._silence.handle(each, self._clock())
        if heard:
            self._changed.set()

    async def _watch(self) -> None:
        while True:
            now = self._clock()
            for step in (*self._silence.tick(now), *self._length.tick(now)):
                await self._do(step)
            moments = [at for at in (self._silence.wake_at, self._length.wake_at) if at is not None]
            wait_s = max(0.0, min(moments) - self._clock()) if moments else None
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _do(self, step: Prompt | Goodbye) -> None:
        match step:
            case Prompt():
                self._tell(CallerSilent(prompts=step.prompts))
                await self.push_frame(TTSSpeakFrame(step.words))
            case Goodbye():
                final = step.reason == "max_length"
                await self._farewell.part(step.reason, words=step.words, final=final)

    async def _quiet(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            await self.cancel_task(alarm)
