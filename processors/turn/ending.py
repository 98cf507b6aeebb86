"""The end of the caller's turn: updates the floor and the deadline, and waits for all words."""

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
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy

from calls.entry import Emit
from calls.events import DictationHeard
from calls.turn import Turn
from processors.turn.asides import AsideFrame
from processors.turn.dictation_rules import Dictation
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness, SoundPath


@dataclass
class PauseFrame(SystemFrame):
    """A report about a pause, sent before the VAD's own report."""


@dataclass
class PauseBegan(PauseFrame):
    """The caller has been silent for 0.1 s: a gap between words, or the end of the turn."""


@dataclass
class PauseSoundsFinal(PauseFrame):
    """The turn detector takes the pause for the end of the turn."""


@dataclass
class PauseEnded(PauseFrame):
    """The caller goes on after all."""


class TurnOpener(SoundPath):
    """Updates the floor, and opens the turn's deadline when the caller stops.

    It is directly above the user context aggregator, which sends the VAD's reports in both
    directions. The stages above get them through this processor. The processor below the aggregator
    gets them a few event loop steps later, when the floor is up to date and the deadline exists.
    Transcripts are read here because the aggregator does not pass them on.
    """

    def __init__(
        self, floor: Floor, *, turn: Turn, faintness: Faintness, clock: Callable[[], float]
    ) -> None:
        """Create an opener for one call.

        Args:
            floor: The call's floor.
            turn: The turn in progress.
            faintness: Measures the same audio as the VAD.
            clock: Monotonic, in seconds.
        """
        super().__init__()
        self._floor = floor
        self._turn = turn
        self._faintness = faintness
        self._now = clock

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Update the floor, and pass everything on.

        An aside counts as a final result without words.
        """
        await super().process_frame(frame, direction)
        match frame:
            case VADUserStartedSpeakingFrame():
                self._floor.caller_started(self._now())
            case VADUserStoppedSpeakingFrame():
                self._record_stop(frame.stop_secs, self._now())
            case PauseFrame():
                self._note_pause(frame)
            case InterimTranscriptionFrame() | TranscriptionFrame():
                self._note_words(frame)
            case AsideFrame():
                self._floor.words("", final=True)
            case UserStartedSpeakingFrame():
                self._floor.turn_began()
            case UserStoppedSpeakingFrame():
                self._floor.turn_ended(self._now())
            case _:
                pass
        await self.push_frame(frame, direction)

    def _record_stop(self, stop_s: float, now: float) -> None:
        """Record a stop; the deadline comes first, because the floor's listeners may read it."""
        stopped_at = self._faintness.stopped_at(now, stop_s=stop_s, now=now)
        self._turn.caller_stopped(stopped_at)
        self._floor.caller_stopped(stopped_at, now)

    def _note_words(self, frame: InterimTranscriptionFrame | TranscriptionFrame) -> None:
        """Give a transcript to the floor."""
        final, spaced = isinstance(frame, TranscriptionFrame), frame.includes_inter_frame_spaces
        self._floor.words(frame.text, final=final, spaced=spaced)

    def _note_pause(self, frame: PauseFrame) -> None:
        """Record that the caller goes on, or a predicted end, which starts the latency budget."""
        if isinstance(frame, PauseSoundsFinal):
            self._turn.may_have_stopped(self._now())
            self._floor.turn_end_predicted()
        elif isinstance(frame, PauseEnded):
            self._floor.caller_resumed()


class DictationWait:
    """Keeps a turn open while the caller may be dictating.

    The latency budget then counts from the end of the wait. The agent says nothing before that.
    """

    def __init__(
        self,
        dictation: Dictation,
        *,
        floor: Floor,
        turn: Turn,
        last_said: Callable[[], str],
        clock: Callable[[], float],
        emit: Emit,
    ) -> None:
        """Create the wait for one call.

        Args:
            dictation: Returns how long a pause may be.
            floor: The call's floor.
            turn: The turn in progress.
            last_said: Returns the agent's last words.
            clock: Monotonic, in seconds.
            emit: Publishes events.
        """
        self._dictation = dictation
        self._floor = floor
        self._turn = turn
        self._last_said = last_said
        self._now = clock
        self._emit = emit
        # The wait that was reported last: when the caller's pause began, and the end of the wait.
        self._reported: tuple[float, float] | None = None

    def left_s(self, words: str) -> float:
        """Return how much longer the turn stays open, 0 to end it; report a new wait.

        A new wait moves the deadline, and is published as `DictationHeard`.
        """
        stopped_at, now = self._floor.stopped_at, self._now()
        if stopped_at is None:  # the words were too soft for the VAD
            return 0.0
        until = stopped_at + self._dictation.pause_s(words, asked=self._last_said())
        reported = self._reported is not None and self._reported[0] == stopped_at
        # New words may also end a reported wait sooner: then the new end is reported.
        if until > now or (reported and self._reported != (stopped_at, until)):
            self._stay_open(stopped_at, max(until, now))
        return max(0.0, until - now)

    def _stay_open(self, stopped_at: float, until: float) -> None:
        """Move the deadline to the end of the wait, and publish it; each end only once."""
        if self._reported != (stopped_at, until):
            self._reported = (stopped_at, until)
            self._turn.stays_open(until)
            self._emit(DictationHeard(until_s=until))


# Chosen. Audio that queued up during a stall of 0.3 s is processed first; that took 22 ms on two
# busy cores.
GRACE_S: Final = 0.1
CHECK_WORDS_S: Final = 0.01  # chosen: between two checks whether all words are there


class TurnStop(TurnAnalyzerUserTurnStopStrategy):
    """Pipecat's rule for the end of a turn, changed so that a busy machine loses no last words.

    In Pipecat, later frames wait while the turn detector works: first audio, then transcripts. If
    the detector takes longer than the recogniser is expected to (0.15 s after the VAD for
    Deepgram), Pipecat's timer has expired by then and ends the turn at once, with only the words
    before an earlier pause. The rest becomes a new turn that interrupts the answer, and may end
    only after `user_turn_stop_timeout`: benchmarks/turn_latency.py saw answers after 3.5 s. So here
    frames do not wait for the decision, and the timer runs for at least `GRACE_S` after it. A
    caller who resumes meanwhile is heard at once, and the decision on that pause is cancelled.

    Half an utterance must not end the turn either. If a recogniser dies after some of the words,
    another one transcribes the rest, and the turn waits for that. It also waits while the caller
    may be dictating.
    """

    def __init__(
        self,
        *,
        words_pending: Callable[[], bool] = lambda: False,
        has_all_words: Callable[[], bool] = lambda: False,
        has_interrupted: Callable[[], bool] = lambda: False,
        more_s: Callable[[str], float] = lambda _: 0.0,
        on_sound: Callable[[], None] = lambda: None,
        **kwargs: Any,
    ) -> None:
        """Create the rule for one call.

        Args:
            words_pending: Returns whether transcripts of spoken words are pending; `False` after a
                time limit.
            has_all_words: Returns whether everything that was said is transcribed. Then the turn
                need not wait for a result that the recogniser marks as its last one.
            has_interrupted: Returns whether the caller's sound has interrupted the agent. If there
                are no words, the turn then ends without waiting for a late transcript.
            more_s: Returns how much longer a turn with these words stays open; 0 to end it.
            on_sound: Called after the VAD has processed a piece of audio, while the caller
                speaks or may have stopped.
            kwargs: Passed to Pipecat's class.
        """
        super().__init__(**kwargs)
        self._words_pending = words_pending
        self._has_all_words = has_all_words
        self._has_interrupted, self._more_s = has_interrupted, more_s
        self._words: list[str] = []  # of this turn
        self._on_sound = on_sound
        self._deciding: asyncio.Task[None] | None = None

    async def cleanup(self) -> None:
        """Cancel a decision in progress."""
        await self._stop_deciding()
        await super().cleanup()

    def tell_above(self, report: type[PauseFrame]) -> None:
        """Send a report about a pause to the processors above, without waiting."""
        pushing = self.push_frame(report(), FrameDirection.UPSTREAM)
        self.task_manager.create_task(pushing, f"{self}: {report.__name__}")

    async def trigger_user_turn_stopped(
        self, *, enable_user_speaking_frames: bool | None = None
    ) -> None:
        """End the turn, unless words are pending or the caller may be dictating.

        Then check later.
        """
        left_s = GRACE_S if self._words_pending() else self._more_s(" ".join(self._words))
        if left_s <= 0.0:
            await super().trigger_user_turn_stopped(
                enable_user_speaking_frames=enable_user_speaking_frames
            )
        elif self._timeout_task is None:
            # Pipecat's own handler: the one below would limit the time.
            self._timeout_task = self.task_manager.create_task(
                super()._timeout_handler(left_s), f"{self}: more words"
            )

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        """Collect the turn's words; an aside counts only as the transcript that was awaited."""
        if isinstance(frame, TranscriptionFrame):
            self._words.append(frame.text)
        if isinstance(frame, AsideFrame):
            self._text = self._text or frame.text
            self._transcript_finalized = self._transcript_finalized or frame.finalized
            await self._maybe_trigger_user_turn_stopped()
        return await super().process_frame(frame)

    async def _maybe_trigger_user_turn_stopped(self) -> None:
        """End a turn without words if its sound has interrupted the agent; else let Pipecat decide.

        If the recogniser has sent all words, Pipecat need not wait for a final transcript.
        """
        if self._vad_stopped and self._text and self._has_all_words():
            self._transcript_finalized = True
        silent = self._vad_stopped and self._timeout_expired and not self._text
        if silent and self._turn_complete and self._has_interrupted():
            await self.trigger_user_turn_stopped()
        else:
            await super()._maybe_trigger_user_turn_stopped()

    async def _reset(self) -> None:
        """Forget the turn's words, too."""
        self._words = []
        await super()._reset()

    async def _handle_input_audio(self, frame: InputAudioRawFrame) -> None:
        """Report audio while the caller speaks, after Pipecat has processed it."""
        await super()._handle_input_audio(frame)
        if self._vad_user_speaking:
            self._on_sound()

    async def _handle_vad_user_stopped_speaking(self, frame: VADUserStoppedSpeakingFrame) -> None:
        """Decide in a task, because later frames would wait for the decision here."""
        await self._stop_deciding()
        self._vad_user_speaking, self._vad_stopped = False, True
        self._deciding = self.task_manager.create_task(
            self._decide_on_stop(frame), f"{self}: decide"
        )

    async def _decide_on_stop(self, frame: VADUserStoppedSpeakingFrame) -> None:
        """Let Pipecat decide; then wait for the recogniser only until it has all words.

        If the recogniser's own endpointing finished the utterance before the VAD's report, no
        further result comes that would end the turn here.
        """
        await super()._handle_vad_user_stopped_speaking(frame)
        while self._timeout_task is not None and not self._has_all_words():  # noqa: ASYNC110 - the stage pushes no frame then
            await asyncio.sleep(CHECK_WORDS_S)
        if self._timeout_task is not None:
            await self._maybe_trigger_user_turn_stopped()

    async def _discard_pending_end_of_turn(self) -> None:
        """Stop waiting for the recogniser as well."""
        await self._stop_deciding()
        await super()._discard_pending_end_of_turn()

    async def _stop_deciding(self) -> None:
        """Cancel the decision in progress, unless this is called from within it."""
        deciding, self._deciding = self._deciding, None
        if deciding is not None and deciding is not asyncio.current_task():
            await self.task_manager.cancel_task(deciding)

    async def _timeout_handler(self, timeout: float) -> None:  # noqa: ASYNC109 - Pipecat's name
        # Pipecat computes the timeout from the wall clock, which may have been set back.
        longest_s = self._stt_timeout - self._stop_secs
        await super()._timeout_handler(max(min(timeout, longest_s), GRACE_S))
