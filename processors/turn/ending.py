"""The end of the caller's turn: its deadline, and the wait for all of its words."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    SystemFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy

from calls.turn import Turn
from processors.turn.sound_path import Faintness, SoundPath


@dataclass
class PauseFrame(SystemFrame):
    """News of a pause that the VAD has not reported yet."""


@dataclass
class PauseBegan(PauseFrame):
    """The caller has been silent for 0.1 s: a gap between words, or the end."""


@dataclass
class PauseSoundsFinal(PauseFrame):
    """The turn detector takes it for the end of the turn."""


@dataclass
class PauseEnded(PauseFrame):
    """The caller goes on after all."""


class TurnOpener(SoundPath):
    """Opens the turn's deadline when the caller stops, before any stage learns of it.

    Stands directly above the user context aggregator, which sends the VAD's reports in both
    directions at once. The stages above get the stop through here; the one below gets it several
    steps later, when the deadline exists. It also records whether the turn has produced a word,
    because interim words end at the next processor.
    """

    def __init__(self, turn: Turn, *, faintness: Faintness, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            turn: The turn in progress.
            faintness: Hears the same audio as the VAD.
            clock: Monotonic, in seconds.
        """
        super().__init__()
        self._turn = turn
        self._faintness = faintness
        self._now = clock

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Open the turn, and pass everything on."""
        await super().process_frame(frame, direction)
        match frame:
            case PauseSoundsFinal():
                self._turn.may_have_stopped(self._now())
            case VADUserStoppedSpeakingFrame():
                now = self._now()
                stop_s = frame.stop_secs
                self._turn.caller_stopped(self._faintness.stopped_at(now, stop_s=stop_s, now=now))
            case InterimTranscriptionFrame() | TranscriptionFrame():
                self._turn.worded = self._turn.worded or bool(frame.text.strip())
            case UserStoppedSpeakingFrame():
                self._turn.worded = False
            case _:
                pass
        await self.push_frame(frame, direction)


# Chosen: the audio of a wait of 0.3 s is read first, which took 22 ms on two busy cores.
GRACE_S: Final = 0.1


class TurnStop(TurnAnalyzerUserTurnStopStrategy):
    """Pipecat's own rule, which ended turns on a busy machine before their last words were read.

    In Pipecat the frames after it wait while the turn detector works: audio first, then
    transcripts. If the detector takes longer than the recogniser is expected to (0.15 s after the
    VAD for Deepgram), Pipecat's timer has run out by then and ends the turn at once, with only the
    words before an earlier pause. The rest becomes a new turn that interrupts the answer, and may
    end only after `user_turn_stop_timeout`: benchmarks/turn_latency.py saw answers after 3.5 s. So
    nothing waits here during the decision, and the timer always leaves a moment. A caller who goes
    on meanwhile is heard at once, and the decision on that pause ends no turn.

    Half an utterance must not end the turn either. When a recogniser dies after some of the words,
    another transcribes the rest, and the turn waits for that.
    """

    def __init__(
        self,
        *,
        owed: Callable[[], bool] = lambda: False,
        after_sound: Callable[[], None] = lambda: None,
        **kwargs: Any,
    ) -> None:
        """Prepare.

        Args:
            owed: Returns whether spoken words are pending; false after a time limit.
            after_sound: Called with each piece of audio while the caller speaks, or may have
                stopped, after the VAD has processed it.
            kwargs: For Pipecat's rule.
        """
        super().__init__(**kwargs)
        self._owed = owed
        self._after_sound = after_sound
        self._deciding: asyncio.Task[None] | None = None

    async def cleanup(self) -> None:
        """Stop deciding."""
        await self._stop_deciding()
        await super().cleanup()

    def tell_above(self, news: type[PauseFrame]) -> None:
        """Report a pause to the processors above, without waiting."""
        told = self.push_frame(news(), FrameDirection.UPSTREAM)
        self.task_manager.create_task(told, f"{self}: {news.__name__}")

    async def trigger_user_turn_stopped(
        self, *, enable_user_speaking_frames: bool | None = None
    ) -> None:
        """End the turn, or check again in a moment if words are pending."""
        if not self._owed():
            await super().trigger_user_turn_stopped(
                enable_user_speaking_frames=enable_user_speaking_frames
            )
        elif self._timeout_task is None:
            self._timeout_task = self.task_manager.create_task(
                self._timeout_handler(0.0), f"{self}: words are pending"
            )

    async def _handle_input_audio(self, frame: InputAudioRawFrame) -> None:
        await super()._handle_input_audio(frame)
        if self._vad_user_speaking:
            self._after_sound()

    async def _handle_vad_user_stopped_speaking(self, frame: VADUserStoppedSpeakingFrame) -> None:
        await self._stop_deciding()
        self._vad_user_speaking, self._vad_stopped = False, True
        self._deciding = self.task_manager.create_task(
            super()._handle_vad_user_stopped_speaking(frame), f"{self}: decide"
        )

    async def _discard_pending_end_of_turn(self) -> None:
        await self._stop_deciding()
        await super()._discard_pending_end_of_turn()

    async def _stop_deciding(self) -> None:
        deciding, self._deciding = self._deciding, None
        if deciding is not None and deciding is not asyncio.current_task():
            await self.task_manager.cancel_task(deciding)

    async def _timeout_handler(self, timeout: float) -> None:  # noqa: ASYNC109 - Pipecat's name
        # Pipecat computes it from the wall clock, which may be set back meanwhile.
        longest_s = self._stt_timeout - self._stop_secs
        await super()._timeout_handler(max(min(timeout, longest_s), GRACE_S))
