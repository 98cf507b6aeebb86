"""The only place where a call's pipeline is put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor

from bot.call.conversation import build_context, room_tokens
from bot.call.last_resort import LastResort, Occasion, desk_for, fallback_for
from bot.call.models import VoiceModels
from bot.clock import Clock
from bot.config.agent import AgentSettings
from bot.config.settings import Settings
from bot.config.stages import STAGES
from bot.rungs import DETECTED, follows_caller, rung_of
from bot.tools.built_in import Tools
from calls.entry import Tell
from calls.events import Event
from calls.silence import CallLength, Silence
from calls.timeline import Timeline
from calls.turn import Turn
from fallbacks.descent import Step
from fallbacks.work import StagePolicy
from processors.call_observer import CallObserver
from processors.caller_language import CallerLanguage
from processors.caller_silence import CallerSilence
from processors.caller_sound import CallerSound
from processors.caller_words import CallerWords
from processors.captions import Captions
from processors.clip import ClipAudioRawFrame
from processors.context_window import ContextWindow
from processors.farewell import End, Farewell
from processors.hold_line import HoldLine
from processors.llm_stage import LlmStage
from processors.llm_stream import Model
from processors.stages.tts import TtsStage
from processors.stt_stage import SttStage
from processors.turn_opener import TurnOpener
from providers.catalog import provider
from providers.provider import Stage
from transports.leg import Leg, listen

IDLE_S: Final = 600.0  # a safety net far above any silence rule: nothing at all happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The three stages of a call, each a ladder of rungs."""

    stt: SttStage
    llm: LlmStage
    tts: TtsStage

    def speaker(self, processor: str) -> str:
        """Return the rung that works now for the stage with this name in Pipecat."""
        working = {
            self.stt.name: self.stt.writer,
            self.llm.name: self.llm.speaker,
            self.tts.name: self.tts.speaker,
        }
        return working.get(processor) or processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A pipeline that is ready to run, and the parts of it that its call speaks with."""

    worker: PipelineWorker
    services: Services
    context: LLMContext
    farewell: Farewell
    tools: Tools
    observer: CallObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all calls of a process share."""

    settings: Settings
    models: VoiceModels
    policies: Mapping[Stage, StagePolicy]
    shared: Mapping[str, object]  # by the rung's name
    last_resort: LastResort
    clock: Clock


def build_rungs(
    stage: Stage, house: Shared, *, agent: AgentSettings, sample_rate_hz: int
) -> dict[str, FrameProcessor]:
    """Return a stage's services by the names of their rungs, the preferred one first."""
    rungs = [
        rung_of(
            each,
            stage,
            agent=agent,
            sample_rate_hz=sample_rate_hz,
            shared=house.shared.get(each.name),
        )
        for each in getattr(house.settings.stages, stage)
    ]
    return {each.name: provider(stage, each.kind).build(each) for each in rungs}


def assemble(
    house: Shared, leg: Leg, agent: AgentSettings, *, call_id: str, tell: Tell, end: End
) -> Assembled:
    """Return a call's pipeline on `leg`, ready to run.

    Args:
        house: What calls share.
        leg: The caller's telephone.
        agent: Who answers.
        call_id: Names what the caller leaves behind.
        tell: Takes the call's facts.
        end: Ends the call when its goodbye does not come through.
    """
    settings, rate_hz = house.settings, leg.facts.sample_rate_hz
    built = {
        stage: build_rungs(stage, house, agent=agent, sample_rate_hz=rate_hz) for stage in STAGES
    }
    turn = Turn(budget_s=settings.latency.budget_s)

    def told(event: Event) -> None:
        tell(event)
        hold_line.notice(event)

    services = _services(house, agent, built=built, tell=told, turn=turn)
    farewell = Farewell(end=end)
    timeline = Timeline(budget_s=settings.latency.budget_s)
    desk = desk_for(house.last_resort, leg.facts, call_id=call_id, end=end)
    tools = Tools(
        agent,
        note_callback=desk.note_callback,
        turn=lambda: turn.number,
        tell=tell,
        clock=house.clock,
        speaking=lambda: farewell.speaking or hold_line.holding,
    )
    context, pair = build_context(
        agent,
        settings.turn,
        models=house.models,
        tell=tell,
        tools=tools.schemas,
        words_owed=services.stt.words_owed,
    )
    observer = CallObserver(
        tell=told,
        clock=house.clock,
        timeline=timeline,
        turn=turn,
        provider_of=services.speaker,
    )
    listen(leg.output(), observer.heard, house.clock, but=ClipAudioRawFrame)
    occasion = Occasion(
        agent=agent,
        facts=leg.facts,
        context=context,
        desk=desk,
        speaking=lambda: services.tts.speaker,
    )
    fallback = fallback_for(occasion, house.last_resort, settings)
    hold_line = HoldLine(
        fallback,
        tell=tell,
        clock=house.clock,
        turn=turn,
    )
    if Step.LOCAL in settings.hold.steps:
        services.tts.say_unsaid = hold_line.unsaid
    silence = CallerSilence(
        silence=Silence(
            prompt_after_s=agent.silence.prompt_after_s,
            prompts=agent.silence.prompts,
            goodbye=agent.silence.goodbye,
        ),
        length=CallLength(max_call_s=agent.max_call_s, words=agent.farewell),
        farewell=farewell,
        tell=tell,
        clock=house.clock,
    )

    def window() -> ContextWindow:
        return ContextWindow(limit_tokens=room_tokens(agent), tell=tell)

    language = CallerLanguage(
        first=fallback.phrases.language,
        voices=[
            built["tts"][each.name] for each in settings.stages.tts if follows_caller(each, agent)
        ],
        follow=fallback.phrases.follow,
    )
    pipeline = Pipeline(
        [
            leg.input(),  # the caller's audio, 20 ms at a time
            services.stt,
            *([language] if agent.language == DETECTED else []),  # has the voices follow it
            CallerWords(tell=tell),  # bounds what the recogniser says was said
            TurnOpener(turn, clock=house.clock),  # the budget runs from the caller's last sample
            pair.user(),  # VAD, turn detection, the caller's side of the context
            CallerSound(hold_line.hear),  # ends here: nobody below listens to all of it
            window(),  # no request is longer than the context window
            services.llm,
            window(),  # nor one that follows a tool's result, coming from below
            farewell,  # ends the call after the last word was heard
            silence,  # speaks to a caller who says nothing
            services.tts,
            hold_line,  # speaks when an answer is late, or cannot come
            leg.output(),  # reports what is played
            pair.assistant(),  # remembers what was heard, not what was sent
        ]
    )
    return Assembled(
        worker=_worker(pipeline, rate_hz, _observers(observer, leg)),
        services=services,
        context=context,
        farewell=farewell,
        tools=tools,
        observer=observer,
    )


def _services(
    house: Shared,
    agent: AgentSettings,
    *,
    built: Mapping[str, Mapping[str, FrameProcessor]],
    tell: Tell,
    turn: Turn,
) -> Services:
    return Services(
        stt=SttStage(
            built["stt"],
            policy=house.policies["stt"],
            tell=tell,
            clock=house.clock,
            turn=turn,
        ),
        llm=LlmStage(
            cast("Mapping[str, Model]", built["llm"]),
            policy=house.policies["llm"],
            tell=tell,
            clock=house.clock,
            turn=turn,
            window_tokens=room_tokens(agent),
        ),
        tts=TtsStage(
            built["tts"],
            policy=house.policies["tts"],
            tell=tell,
            clock=house.clock,
            turn=turn,
        ),
    )


def _observers(observer: CallObserver, leg: Leg) -> list[BaseObserver]:
    if leg.facts.transport != "webrtc":  # the one telephone with a screen
        return [observer]
    return [observer, Captions(show=leg.show, output=leg.output().name)]


def _worker(pipeline: Pipeline, rate_hz: int, observers: list[BaseObserver]) -> PipelineWorker:
    return PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=rate_hz,
            audio_out_sample_rate=rate_hz,
            enable_metrics=True,
            enable_usage_metrics=True,
        ),
        observers=observers,
        enable_rtvi=False,  # would send every word to whoever listens on the leg
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=IDLE_S,
    )
