"""The end of a call, after its last words."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    CancelFrame,
    ControlFrame,
    EndFrame,
    EndWorkerFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from fallbacks.word_times import sayable
from processors.speaking.speech_queue import TakeBackFrame
from processors.turn.floor import Floor, ReplyState

GOODBYE_LIMIT_S: Final = (
    20.0  # if the goodbye has not been spoken by then, the call ends without it
)
ANSWER: Final = (LLMFullResponseStartFrame, LLMTextFrame, LLMFullResponseEndFrame)
MAX_WAITS: Final = 6  # how often `patience_s` may run while the agent is audible (chosen)

End: TypeAlias = Callable[[str], Awaitable[None]]
"""Ends the call with a reason for `CallEnded`, even if a part of the call hangs."""


@dataclass
class PartFrame(ControlFrame):
    """Requests the end of the call, after the words of the frames before this one.

    Attributes:
        reason: As in `CallEnded`.
        words: The last words; spoken only if the answer in progress contains no words.
        final: Whether the call ends even if the caller speaks.
    """

    reason: str = "agent_hung_up"
    words: str | None = None
    final: bool = False


class Farewell(FrameProcessor):
    """Ends the call after the last words. It is between the LLM and TTS stages; it delays no frame.

    The request to end is a frame after the last words: the TTS stage passes on a frame only when
    the speech before it was played. If the caller barges in, both are dropped and the call goes on,
    unless the goodbye is `final`.
    """

    def __init__(
        self,
        floor: Floor,
        *,
        clock: Callable[[], float],
        end: End | None = None,
        patience_s: float = GOODBYE_LIMIT_S,
    ) -> None:
        """Create it for one call.

        Args:
            floor: The call's floor; this processor reports what the model writes.
            clock: Monotonic, in seconds.
            end: Ends the call if a goodbye is not spoken in time.
            patience_s: The time that a goodbye may take; while the agent is audible, up to
                `MAX_WAITS` times as long.
        """
        super().__init__()
        self._floor, self._now = floor, clock
        self._end = end
        self._patience_s = patience_s
        self._words: str | None = None
        self._final = False  # the requested end cannot be interrupted
        self._reply = ""  # the text of the reply that is being written
        self._end_sent = False  # the end was sent to the TTS stage
        self._alarm: asyncio.Task[None] | None = None

    async def end_call(self, reason: str, *, words: str | None = None, final: bool = False) -> None:
        """Request the end of the call, after the current answer and after `words`; return at once.

        Sets `floor.ending`, and starts a timer that cuts off a goodbye which takes longer than
        `patience_s`. If the call is already ending, only the first `final` request has an effect.

        Args:
            reason: As in `CallEnded`: agent_hung_up, silence, max_length, failed, shutdown.
            words: Spoken last, verbatim; `None` if the goodbye is already in progress.
            final: The call ends even if the caller speaks now; else a barge-in cancels the end.
        """
        if self._floor.ending is not None and (self._final or not final):
            return
        self._floor.ending, self._words, self._final = reason, words, final
        if self._alarm is None:
            self._alarm = self.create_task(self._end_after_patience(), "give up on the goodbye")
        if ReplyState.WRITING not in self._floor.reply:
            await self._send_end()

    async def say(self, words: str) -> None:
        """Say words in the agent's voice, after what it is saying; they can be interrupted."""
        await self.push_frame(TTSSpeakFrame(words))

    @property
    def kept(self) -> dict[str, Any]:
        """The end of the call, for its resume state; empty if it is not ending."""
        words = "" if self._end_sent else self._words or ""
        ending = {"reason": self._floor.ending, "words": words, "final": self._final}
        return ending if self._floor.ending else {}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on, unless they are withheld; after an answer, send a requested end.

        It tells the floor when the model writes, and when an interruption drops the reply.
        """
        await super().process_frame(frame, direction)
        if await self._is_withheld_or_request(frame, direction):
            return
        await self.push_frame(frame, direction)
        match frame:
            case LLMFullResponseStartFrame():
                self._reply, self._floor.revoked = "", None
                self._floor.model_writes(self._now(), more=True)
            case LLMTextFrame():
                self._reply += frame.text
            case TakeBackFrame():  # thoughts, after which a goodbye is still to be spoken
                self._reply = self._reply[: max(0, len(self._reply) - frame.characters)]
            case LLMFullResponseEndFrame():
                self._floor.model_writes(self._now(), more=False)
                await self._send_end()
            case InterruptionFrame():
                self._floor.reply_dropped()
                await self._drop_interrupted()
            case EndFrame() | CancelFrame():
                await self._stop_alarm()
            case _:
                pass

    async def cleanup(self) -> None:
        """Stop waiting."""
        await super().cleanup()
        await self._stop_alarm()

    async def _is_withheld_or_request(self, frame: Frame, direction: FrameDirection) -> bool:
        """Return whether a frame must not be passed on; a `PartFrame` is carried out here.

        After a final goodbye, answers are dropped: the caller may go on speaking. While the call is
        ending, so are contexts from below, which would make the model answer a tool's result. The
        context itself keeps the result.
        """
        if isinstance(frame, PartFrame):
            words = None if sayable(self._reply) else frame.words
            await self.end_call(frame.reason, words=words, final=frame.final)
            return True
        if self._floor.parting and isinstance(frame, ANSWER):
            return True
        from_below = isinstance(frame, LLMContextFrame) and direction is FrameDirection.UPSTREAM
        return from_below and self._floor.ending is not None

    async def _send_end(self) -> None:
        """Push the last words and the end to the TTS stage, if requested and not sent yet.

        A final end sets `floor.parting`: from then on, no answer is spoken.
        """
        if self._floor.ending is None or self._end_sent:
            return
        self._end_sent, self._floor.parting = True, self._final
        if self._words:
            speech = TTSSpeakFrame(self._words)
            speech.interruptible = not self._final
            await self.push_frame(speech)
        end = EndWorkerFrame(reason=self._floor.ending)
        end.interruptible = not self._final  # a barge-in drops it together with the speech
        await self.push_frame(end)

    async def _drop_interrupted(self) -> None:
        """After a barge-in, cancel the end of the call, and note its reason in `floor.revoked`.

        If the end is final, it is sent at once instead.
        """
        if self._final:
            self._end_sent = self._floor.parting  # an earlier, not final goodbye has been dropped
            await self._send_end()
            return
        self._floor.revoked = self._floor.ending
        self._floor.ending, self._words, self._end_sent = None, None, False
        await self._stop_alarm()

    async def _end_after_patience(self) -> None:
        """End the call, even in mid-word, if its goodbye takes longer than `patience_s`.

        While the agent is audible, wait up to `MAX_WAITS` times as long. If the call ends in time,
        or a barge-in cancels its end, this task is cancelled.
        """
        for _ in range(MAX_WAITS):
            await asyncio.sleep(self._patience_s)
            if not self._floor.is_agent_audible(self._now()):
                break
        self._alarm = None  # else the end of the call would cancel this task, which carries it out
        if self._end is not None and self._floor.ending is not None:  # it is set: for the types
            await self._end(self._floor.ending)

    async def _stop_alarm(self) -> None:
        """Cancel the time limit of the goodbye, unless it is what calls this."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm is not asyncio.current_task():
            await self.cancel_task(alarm)
