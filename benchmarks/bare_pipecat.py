"""A plain Pipecat pipeline with the same services: without our processors, observers and events."""

from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy, VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from benchmarks.pipecats_detector import pipecats_detector
from bot.call.models import VoiceModels
from configuration.agent import AgentSettings
from configuration.rungs import rung_of
from configuration.settings import Settings
from configuration.stages import STAGES
from providers.catalog import provider
from transports.loopback.leg import LoopbackLeg


def bare_worker(
    settings: Settings, models: VoiceModels, leg: LoopbackLeg
) -> tuple[PipelineWorker, BaseSmartTurn]:
    """Return a worker that is ready to run, and its turn detector.

    Metrics, RTVI and turn tracking are off, so that it is as fast as possible.
    """
    agent = settings.agent_for("")
    stt, llm, tts = _first_services(settings, agent, leg.facts.sample_rate_hz)
    analyzer = pipecats_detector(models, settings.turn)
    pair = LLMContextAggregatorPair(
        LLMContext(messages=[]),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=models.vad(settings.turn),
            user_turn_strategies=UserTurnStrategies(
                start=[VADUserTurnStartStrategy(), TranscriptionUserTurnStartStrategy()],
                stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=analyzer)],
            ),
            user_turn_stop_timeout=settings.turn.user_turn_stop_timeout_s,
        ),
    )
    pipeline = Pipeline(
        [
            leg.input(),
            stt,
            pair.user(),
            llm,
            tts,
            leg.output(),
            pair.assistant(),
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=leg.facts.sample_rate_hz,
            audio_out_sample_rate=leg.facts.sample_rate_hz,
        ),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    async def greet(*_: object) -> None:
        await tts.queue_frame(TTSSpeakFrame(agent.greeting))

    worker.add_event_handler("on_pipeline_started", greet)
    return worker, analyzer


def _first_services(settings: Settings, agent: AgentSettings, rate_hz: int) -> list[FrameProcessor]:
    """Return the three first rungs as Pipecat's own services."""
    built: list[FrameProcessor] = []
    for stage in STAGES:
        first = getattr(settings.stages, stage)[0]
        rung = rung_of(first, stage, agent=agent, sample_rate_hz=rate_hz)
        built.append(provider(stage, rung.kind).build(rung))
    return built
