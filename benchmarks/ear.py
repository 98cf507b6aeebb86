"""Records when the frames of a turn leave their processors, in any pipeline.

It wraps `push_frame` and `write_audio_frame` of individual objects. So pipelines with and without
observers are measured in the same way, and neither has to be changed.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pipecat.audio.turn.base_turn_analyzer import BaseTurnAnalyzer, EndOfTurnState
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    LLMContextFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import MetricsData, TurnMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from benchmarks.accounting import BusyPeriod, Moments
from transports.leg import Clock, Leg
from transports.leg_output import audible

Note: TypeAlias = Callable[[Any], None]


class UnhealthyTurnError(Exception):
    """A turn that is not a valid sample of a healthy turn; the message gives the reason."""


class Ear:
    """Records the moments of one call, turn by turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marks: dict[str, float] = {}
        self._busy: list[BusyPeriod] = []
        self._lead_s = 0.0  # the silence with which the voice's audio began
        self._unsure = False
        self._transcript = 0  # the id of the latest transcript
        self._decisions: set[int] = set()
        self._heard = asyncio.Event()
        self._quiet = asyncio.Event()

    def attach(self, leg: Leg, analyzer: BaseTurnAnalyzer) -> None:
        """Listen to the pipeline between a leg's input and its output.

        Args:
            leg: The leg of a complete pipeline.
            analyzer: The turn detector of that pipeline.
        """
        notes: Mapping[type[Frame], Note] = {
            TranscriptionFrame: self._note_transcript,
            VADUserStartedSpeakingFrame: self._note_start,
            VADUserStoppedSpeakingFrame: self._note_stop,
            LLMContextFrame: self._note_decision,
            LLMTextFrame: self._note_token,
            TTSAudioRawFrame: lambda _: self._mark("first_speech_s"),
        }
        processor = leg.input().next
        while processor is not None and processor is not leg.output():
            _overhear(processor, notes)  # all processors: the first to push a frame created it
            processor = processor.next
        _overhear(leg.output(), {BotStoppedSpeakingFrame: lambda _: self._quiet.set()})
        self._overhear_line(leg)
        self._overhear_detector(analyzer)

    def expect(self) -> None:
        """Forget the last turn; the caller speaks next."""
        self._marks.clear()
        self._busy.clear()
        self._lead_s, self._unsure = 0.0, False
        self._decisions.clear()
        self._heard.clear()
        self._quiet.clear()

    async def wait_for_answer(self, *, within_s: float) -> tuple[Moments, tuple[BusyPeriod, ...]]:
        """Wait for the answer; return its moments, and the periods of VAD, detector and lead-in.

        Raises:
            UnhealthyTurnError: No answer was heard in time, a moment is missing, the turn detector
                was unsure, or the turn was decided twice.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._heard.wait()
        except TimeoutError:
            raise UnhealthyTurnError(f"no answer within {within_s:g} s") from None
        if self._unsure:
            raise UnhealthyTurnError("the turn detector waited for more words")
        if len(self._decisions) > 1:
            raise UnhealthyTurnError("the turn was decided twice, the first time too early")
        try:
            moments = Moments(**self._marks)
        except TypeError:
            raise UnhealthyTurnError(f"heard only {', '.join(self._marks)}") from None
        lead = BusyPeriod(
            who="voice's lead-in",
            begin_s=moments.played_s,
            end_s=min(moments.heard_s, moments.played_s + self._lead_s),
        )
        vad = BusyPeriod(who="vad", begin_s=moments.stopped_s, end_s=moments.noticed_s)
        return moments, (vad, *self._busy, lead)

    async def wait_until_quiet(self, *, within_s: float) -> None:
        """Wait until the agent has stopped speaking.

        Raises:
            UnhealthyTurnError: It did not stop in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._quiet.wait()
        except TimeoutError:
            raise UnhealthyTurnError(f"not quiet within {within_s:g} s") from None

    def _mark(self, name: str, *, again: bool = False) -> None:
        if again or name not in self._marks:
            self._marks[name] = self._clock()

    def _note_start(self, _frame: Frame) -> None:
        self._marks.clear()
        self._mark("began_s")
        self._busy.clear()
        self._unsure = False

    def _note_stop(self, frame: VADUserStoppedSpeakingFrame) -> None:
        if "noticed_s" not in self._marks:
            self._mark("noticed_s")
            self._marks["stopped_s"] = self._marks["noticed_s"] - frame.stop_secs

    def _note_transcript(self, frame: TranscriptionFrame) -> None:
        if "decided_s" not in self._marks and frame.id != self._transcript:
            self._transcript = frame.id
            self._mark("transcript_s", again=True)  # of several, the last one was waited for

    def _note_decision(self, frame: LLMContextFrame) -> None:
        if "heard_s" not in self._marks:
            self._decisions.add(frame.id)
            self._mark("decided_s")

    def _note_token(self, frame: LLMTextFrame) -> None:
        if frame.text.strip():
            self._mark("first_token_s")

    def _overhear_line(self, leg: Leg) -> None:
        """Record when audio is written to the line, and when the first of it is audible."""
        output = leg.output()
        write = output.write_audio_frame

        async def write_and_note(frame: OutputAudioRawFrame) -> bool:
            if "first_speech_s" in self._marks and "heard_s" not in self._marks:
                self._mark("played_s")
                if audible(frame.audio):
                    self._mark("heard_s")
                    self._heard.set()
                else:
                    self._lead_s += len(frame.audio) / 2 / frame.sample_rate
            return await write(frame)

        output.write_audio_frame = write_and_note  # type: ignore[method-assign]

    def _overhear_detector(self, analyzer: BaseTurnAnalyzer) -> None:
        """Record when the turn detector works, and whether it was unsure."""
        analyze = analyzer.analyze_end_of_turn

        async def analyze_and_note() -> tuple[EndOfTurnState, MetricsData | None]:
            begin_s = self._clock()
            state, measured = await analyze()
            if isinstance(measured, TurnMetricsData):  # Pipecat's own timer, without our queue
                took_s = measured.e2e_processing_time_ms / 1000
                end_s = min(begin_s + took_s, self._clock())  # the work may have begun earlier
                self._busy.append(BusyPeriod(who="turn detector", begin_s=begin_s, end_s=end_s))
            self._unsure = self._unsure or state is not EndOfTurnState.COMPLETE
            return state, measured

        analyzer.analyze_end_of_turn = analyze_and_note  # type: ignore[method-assign]


def _overhear(processor: FrameProcessor, notes: Mapping[type[Frame], Note]) -> None:
    push = processor.push_frame

    async def push_and_note(
        frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        if note := notes.get(type(frame)):
            note(frame)
        await push(frame, direction)

    processor.push_frame = push_and_note  # type: ignore[method-assign]
