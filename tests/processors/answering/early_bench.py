"""The path from the caller's words to the model, with a scripted turn detector."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.audio.turn.base_turn_analyzer import BaseTurnAnalyzer, BaseTurnParams, EndOfTurnState
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import MetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy, VADUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from bot.health.policies import PACES, PRIORS_S
from calls.events import Event, TurnDecided
from calls.line import CallerLine
from calls.timeline import Timeline
from calls.turn import Turn
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import (
    AttemptStarted,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    EarlyAnswerTaken,
)
from fallbacks.ladder import EarlyBudget, StagePolicy
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import parse_windows
from processors.answering.context_window import ContextWindow, Memory
from processors.answering.stage import LlmStage
from processors.call_observer import CallObserver
from processors.hearing.caller_words import CallerWords
from processors.turn.dictation_rules import Dictation
from processors.turn.ending import TurnOpener, TurnStop
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness
from providers.openai import build
from providers.provider import RungSpec
from tests.processors.answering.test_stage import rung

QUESTION = "What are your opening hours?"
STOP_S = 0.2  # of silence, after which the VAD reports the stop
WINDOW = 4000  # tokens
DETECTOR_S = 0.5  # the detector's time on a busy machine


class Detector(BaseTurnAnalyzer):
    """Returns the given verdicts in turn after a delay, and then always the end of the turn."""

    def __init__(self, *verdicts: bool, takes_s: float = DETECTOR_S) -> None:
        super().__init__()
        self._verdicts = list(verdicts)
        self._takes_s = takes_s

    @property
    def speech_triggered(self) -> bool:
        return True

    @property
    def params(self) -> BaseTurnParams:
        return BaseTurnParams()

    def append_audio(self, buffer: bytes, is_speech: bool) -> EndOfTurnState:  # noqa: FBT001 - Pipecat's
        return EndOfTurnState.INCOMPLETE

    async def analyze_end_of_turn(self) -> tuple[EndOfTurnState, MetricsData | None]:
        await asyncio.sleep(self._takes_s)
        ended = self._verdicts.pop(0) if self._verdicts else True
        return EndOfTurnState.COMPLETE if ended else EndOfTurnState.INCOMPLETE, None

    def clear(self) -> None:
        """There is nothing to clear."""


def starts() -> list[Frame]:
    return [VADUserStartedSpeakingFrame(), pause(0.3)]


def says(words: str, *, final: bool = True) -> TranscriptionFrame:
    return TranscriptionFrame(text=words, user_id="", timestamp="", finalized=final)


def begins(words: str) -> InterimTranscriptionFrame:
    return InterimTranscriptionFrame(text=words, user_id="", timestamp="")


def stops() -> VADUserStoppedSpeakingFrame:
    return VADUserStoppedSpeakingFrame(stop_secs=STOP_S)


def pause(length_s: float) -> SleepFrame:
    return SleepFrame(sleep=length_s)


def utterance(words: str = QUESTION, *, then_s: float = 3.0) -> list[Frame]:
    """Return the result of a caller who says this and waits for the answer."""
    return [*starts(), says(words), pause(0.05), stops(), pause(then_s)]


@dataclass
class EarlyBench:
    """Calls whose models are the lab's."""

    lab: Lab
    policy: StagePolicy
    rungs: Sequence[str]
    told: list[Event] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)  # of rungs that are not the lab's
    context: Memory = field(default_factory=lambda: Memory(heard_s=lambda: 0.0))
    called: list[str] = field(default_factory=list)  # tools that ran
    called_at: list[float] = field(default_factory=list)
    at: dict[int, float] = field(default_factory=dict)  # when an event was published, by its index

    def fault(self, name: str, **fault: Any) -> None:
        self.lab.instance(name).set_faults(parse_windows([fault]))

    async def call(self, frames: Sequence[Frame], detector: Detector | None = None) -> str:
        """Return the words of the model in a call."""
        pair = LLMContextAggregatorPair(
            self.context,
            user_params=LLMUserAggregatorParams(
                user_turn_strategies=UserTurnStrategies(
                    start=[VADUserTurnStartStrategy(), TranscriptionUserTurnStartStrategy()],
                    stop=[TurnStop(turn_analyzer=detector or Detector())],
                ),
                user_turn_stop_timeout=2.5,
            ),
        )
        self.context.set_tools(ToolsSchema(standard_tools=[self._tool()]))
        turn = Turn(budget_s=1.5)
        floor = Floor(CallerLine())

        def emit(event: Event) -> None:
            self._emit(event)
            observer.notice(event)

        models: dict[str, Any] = {name: build(self._rung(name)) for name in self.rungs}
        stage = LlmStage(
            models,
            policy=self.policy,
            emit=emit,
            clock=time.monotonic,
            turn=turn,
            window_tokens=WINDOW,
        )
        stage.answer_early(self.context, floor, Dictation())
        observer = CallObserver(
            timeline=Timeline(budget_s=1.5),
            provider_of=lambda name: name,
            floor=floor,
            turn=turn,
            emit=emit,
            clock=time.monotonic,
        )
        pipeline = Pipeline(
            [
                CallerWords(emit=emit),
                TurnOpener(floor, turn=turn, faintness=Faintness(), clock=time.monotonic),
                pair.user(),
                ContextWindow(limit_tokens=WINDOW, emit=emit),
                stage,
                pair.assistant(),
            ]
        )
        metadata = STTMetadataFrame(service_name="stt", ttfs_p99_latency=0.35)
        async with asyncio.timeout(60):
            await run_test(pipeline, frames_to_send=[metadata, *frames], observers=[observer])
        return self.said[-1] if self.said else ""

    def _rung(self, name: str) -> RungSpec:
        spec = rung(self.lab, name)
        return replace(spec, url=self.urls.get(name, spec.url))

    @property
    def said(self) -> list[str]:
        return self._words_of("assistant")

    @property
    def heard(self) -> list[str]:
        return self._words_of("user")

    def _words_of(self, role: str) -> list[str]:
        messages: list[Any] = list(self.context.messages)
        return [
            message["content"]
            for message in messages
            if message["role"] == role and "content" in message
        ]

    def told_of(self, *kinds: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, kinds)]

    @property
    def story(self) -> list[str]:
        kinds = (
            EarlyAnswerAsked, AttemptStarted, TurnDecided, EarlyAnswerTaken, EarlyAnswerDropped
        )  # fmt: skip
        return [type(item).__name__ for item in self.told_of(*kinds)]

    def requests(self, name: str) -> int:
        return len(self.lab.record.requests(name))

    def told_at(self, kind: type) -> float:
        return next(self.at[n] for n, each in enumerate(self.told) if isinstance(each, kind))

    def _emit(self, event: Event) -> None:
        self.at[len(self.told)] = time.monotonic()
        self.told.append(event)

    def _tool(self) -> FunctionSchema:
        async def handle(params: FunctionCallParams) -> None:
            self.called.append(params.function_name)
            self.called_at.append(time.monotonic())
            await params.result_callback({"result": "noted"})

        return FunctionSchema(
            name="transfer_to_person", description="Put the caller through.",
            properties={"reason": {"type": "string"}}, required=[], handler=handle,
        )  # fmt: skip


@asynccontextmanager
async def early_bench(
    rungs: Sequence[str] = ("openai", "openai-b"), *, budget: EarlyBudget | None = None
) -> AsyncIterator[EarlyBench]:
    async with Lab([Spec(name=name, kind="openai") for name in rungs]) as lab:
        places = [Place(stage="llm", provider=name, credential=name) for name in rungs]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s=PRIORS_S)
        policy = StagePolicy(
            stage="llm", availability=availability, pace=PACES["llm"], early=budget or EarlyBudget()
        )
        yield EarlyBench(lab, policy, rungs)
