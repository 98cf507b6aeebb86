"""Ladders of providers in any Pipecat pipeline, in place of its three services.

`Ladders` makes the three stages of one call. Pipecat's own parts surround them: its aggregators
detect the caller's turns and keep the conversation, its transport plays the audio. So the stages
read the call from the frames that pass, and push only frames that Pipecat's parts understand.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    MetricsFrame,
    TranscriptionFrame,
)
from pipecat.metrics.metrics import TurnMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.events import TurnDecided
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.events import PauseJudged
from holdline.event_hook import EventHook
from holdline.health import health_here
from holdline.rescue import make_hold_line
from holdline.rungs import LadderRung, specs_of
from processors.answering.model_stream import Model
from processors.answering.stage import LlmStage
from processors.hearing.stage import SttStage
from processors.speaking.stage import TtsStage
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor, FloorEvent, TurnClosed
from processors.turn.sound_path import Faintness, order_interruptions
from providers.adapter.broken import BrokenService
from providers.catalog import provider
from providers.provider import RungSpec, Stage
from runtime import clock

BUDGET_S: Final = 1.5  # from the caller's last voiced sample to the answer
WINDOW_TOKENS: Final = 4000  # left of a conversation that a model refuses as too long (chosen)


class Ladders:
    """The three stages of one call, each with a ladder of providers.

        call = Ladders(
            stt=[rung(DeepgramSTTService, api_key=...), rung(SonioxSTTService, api_key=...)],
            llm=[rung(OpenAILLMService, api_key=...), rung(AnthropicLLMService, api_key=...)],
            tts=[rung(CartesiaTTSService, api_key=...), rung(OpenAITTSService, api_key=...)],
        )
        Pipeline([transport.input(), call.stt, agg.user(), call.llm, call.tts, ...])

    Attributes:
        stt: In place of a recogniser, directly above the caller's side of the context.
        llm: In place of a model; functions are registered here.
        tts: In place of a voice, directly above the transport's output.
    """

    def __init__(
        self,
        *,
        stt: Sequence[LadderRung],
        llm: Sequence[LadderRung],
        tts: Sequence[LadderRung],
        rescue: str = "",
        on_event: Callable[[Any], object] | None = None,
    ) -> None:
        """Make the stages of one call, in the running event loop; nothing connects yet.

        Args:
            stt: The recognisers, the preferred one first.
            llm: The models.
            tts: The voices.
            rescue: Said by the local voice while a stage has no rung left; with it, a filler is
                said while an answer is late. Empty to say nothing.
            on_event: Called with each event, in a thread of its own.

        Raises:
            TypeError: An item of a ladder is no rung.
            ValueError: A rung cannot be used as it is written.
        """
        self._specs = (*specs_of("stt", stt), *specs_of("llm", llm), *specs_of("tts", tts))
        self._hook = EventHook(on_event) if on_event else None
        self._line, self._turn = CallerLine(), Turn(budget_s=BUDGET_S)
        self._floor = Floor(self._line)
        self._health = health_here(clock=clock.monotonic)
        self._shared = self._health.ladders(self._specs)
        self._common = {"emit": self._emit, "clock": clock.monotonic, "turn": self._turn}
        language = next(spec.language for spec in self._specs if spec.stage == "tts")
        place = {"line": self._line, "floor": self._floor}
        self._hold = make_hold_line(rescue, language, **place, **self._common) if rescue else None
        self._floor.listeners.append(self._follow)
        self.stt = LatePipeline(self._make_stt, self._leave)
        self.llm = self._make_llm()
        self.tts = LatePipeline(self._make_tts)

    def _make_stt(self, setup: FrameProcessorSetup) -> list[FrameProcessor]:
        self._health.join(self._shared, self._emit)
        services, policy = self._services("stt", setup.audio_in_sample_rate), self._shared.policies
        turn, now = self._turn, clock.monotonic
        opener = WordedTurnOpener(self._floor, turn=turn, faintness=Faintness(), clock=now)
        return [SttStage(services, policy=policy["stt"], **self._common), opener]

    def _make_llm(self) -> "LadderLlm":
        models, policy = cast("dict[str, Model]", self._services("llm")), self._shared.policies
        common = {"policy": policy["llm"], "window_tokens": WINDOW_TOKENS, **self._common}
        stage = LadderLlm(models, floor=self._floor, **common)
        order_interruptions([stage])
        return stage

    def _make_tts(self, setup: FrameProcessorSetup) -> list[FrameProcessor]:
        services, policy = self._services("tts", setup.audio_out_sample_rate), self._shared.policies
        stage = TtsStage(services, policy=policy["tts"], line=self._line, **self._common)
        return [stage, self._hold] if self._hold else [stage]

    def _services(self, stage: Stage, rate_hz: int = 0) -> dict[str, FrameProcessor]:
        specs = (spec for spec in self._specs if spec.stage == stage)
        return {spec.name: self._build(spec, rate_hz) for spec in specs}

    def _build(self, spec: RungSpec, rate_hz: int) -> FrameProcessor:
        """Return a rung's service; one that cannot be built refuses every request."""
        asked_hz = spec.rate_hz or spec.facts.rate_hz(rate_hz)
        shared = self._shared.client_of(spec)
        spec = replace(spec, sample_rate_hz=rate_hz, rate_hz=asked_hz, shared=shared)
        try:
            return provider(spec.stage, spec.kind, spec.service).build(spec)
        except Exception as error:  # noqa: BLE001 - a vendor's constructor: the ladder goes on
            return BrokenService(spec, error)

    async def _leave(self) -> None:
        await self._health.leave(self._shared, self._emit)

    def _emit(self, event: Any) -> None:
        if self._hook:
            self._hook.emit(event)
        if self._hold:
            self._hold.notice(event)

    def _follow(self, event: FloorEvent) -> None:
        """Expect no answer to a turn without words."""
        if isinstance(event, TurnClosed) and not self._floor.worded and self._hold:
            self._hold.note_nothing_said()


class LatePipeline(Pipeline):
    """Makes its processors when it is set up, because only then the sample rate is known.

    Args:
        make: Returns the processors.
        on_end: Called after the cleanup of a pipeline that was set up.
    """

    def __init__(
        self,
        make: Callable[[FrameProcessorSetup], list[FrameProcessor]],
        on_end: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__([])
        self._make, self._on_end = make, on_end

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Make the processors, and set them up."""
        made = order_interruptions(self._make(setup))
        self._processors = [self._source, *made, self._sink]
        self._link_processors()
        await super().setup(setup)

    async def cleanup(self) -> None:
        """Clean the processors up."""
        await super().cleanup()
        on_end, self._on_end = self._on_end, None
        if on_end and len(self._processors) > 2:
            await on_end()


class WordedTurnOpener(TurnOpener):
    """Also keeps results from Pipecat's aggregator that it would take for new speech.

    These are results without words, and interim ones when the caller neither speaks nor has an open
    turn: a standby that got the caller's audio late is still reading the end of it.
    """

    def __init__(self, floor: Floor, *, faintness: Faintness, **kwargs: Any) -> None:
        super().__init__(floor, faintness=faintness, **kwargs)
        self._measure = faintness

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Follow the level of the caller's audio, and pass it on."""
        self._measure.hear(np.frombuffer(frame.audio, np.int16), frame.sample_rate)
        await super().hear_sound(frame)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame, unless it is such a result."""
        match frame:
            case InterimTranscriptionFrame():
                speaks = self._floor.caller_speaking or self._floor.turn_open
                passes = speaks and bool(frame.text.strip())
            case TranscriptionFrame():
                passes = bool(frame.text.strip())
            case _:
                passes = True
        if passes:
            await super().push_frame(frame, direction)


class LadderLlm(LlmStage):
    """Also counts the caller's turns, and reports whether a pause was taken for the end of one."""

    def __init__(self, *args: Any, floor: Floor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._floor = floor

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count a question of the caller's; report a decision about their pause."""
        match frame:
            case LLMContextFrame() if self._floor.unanswered:
                self._floor.model_asked()
                self._turn.number += 1
                self._emit(TurnDecided(turn=self._turn.number, at_s=self._now()))
            case MetricsFrame():
                for data in frame.data:
                    if isinstance(data, TurnMetricsData):
                        self._emit(_judged(data))
            case _:
                pass
        await super().process_frame(frame, direction)


def _judged(data: TurnMetricsData) -> PauseJudged:
    took_s = data.e2e_processing_time_ms / 1000
    cost: dict[str, Any] = {"waited_s": took_s, "took_s": took_s, "dropped": 0, "dropped_s": 0.0}
    return PauseJudged(finished=data.is_complete, by="detector", early=False, **cost)
