"""The only place where a call's pipeline is put together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pipecat.frames.frames import InputAudioRawFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor

from bot.call.answerer_parts import answerer_for
from bot.call.call_recording import CallRecording, watched
from bot.call.conversation import build_context, give_tools, room_tokens
from bot.call.last_resort import Occasion, desk_for, fallback_for
from bot.call.models import SharedSilero
from bot.call.person_parts import Around, PersonParts, person_for, with_person
from bot.call.person_reach import PersonReach
from bot.call.services import Built, Services, Shared, build_all, stages_of
from bot.config.agent import AgentSettings
from bot.rungs import DETECTED, follows_caller
from bot.tools.built_in import Tools
from bot.tools.desk import CallDesk
from calls.answering import AnsweringPlan
from calls.entry import Tell
from calls.leg_events import LineRestored
from calls.line import CallerLine
from calls.silence import CallLength, Silence
from calls.timeline import Timeline
from calls.turn import Turn
from fallbacks.descent import Step
from processors.answerer_watch import AnswererWatch
from processors.call_observer import CallObserver
from processors.caller_language import CallerLanguage
from processors.caller_silence import CallerSilence
from processors.caller_words import CallerWords
from processors.captions import Captions
from processors.clip import ClipAudioRawFrame
from processors.context_window import ContextWindow
from processors.fallback import Fallback, Phrases
from processors.farewell import End, Farewell
from processors.hold_line import HoldLine
from processors.other_sound import WaitingSound
from processors.sound_end import SoundEnd
from processors.sound_windows import SoundWindows
from processors.sparing_observer import SparingObserver
from processors.turn_opener import TurnOpener
from processors.wiring import CallWiring
from transports.leg import Leg
from transports.leg_output import LineEnd

RECORDINGS: Final = "recordings"  # in `logs.dir`
IDLE_S: Final = 600.0  # a safety net far above any silence rule: nothing at all happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A pipeline that is ready to run, and the parts of it that its call speaks with."""

    worker: PipelineWorker
    services: Services
    context: LLMContext
    farewell: Farewell
    tools: Tools
    observer: CallObserver
    person: PersonReach | None = None  # None: this call reaches nobody
    recording: CallRecording | None = None  # None: it is not recorded
    answerer: AnswererWatch | None = None  # None: nobody listens to who picked up


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a call that others are made of."""

    services: Services
    context: LLMContext
    pair: LLMContextAggregatorPair
    vad: SharedSilero
    fallback: Fallback
    desk: CallDesk
    hold_line: HoldLine
    record: Callable[[bytes], None] = lambda _: None  # gets the caller's sound


def assemble(  # noqa: PLR0913 - what a call is made of, each by its name
    shared: Shared,
    leg: Leg,
    agent: AgentSettings,
    *,
    call_id: str,
    tell: Tell,
    end: End,
    answering: AnsweringPlan | None = None,
) -> Assembled:
    """Return a call's pipeline on `leg`, ready to run.

    Args:
        shared: What calls share.
        leg: The caller's telephone.
        agent: Who answers.
        call_id: Names what the caller leaves behind.
        tell: Takes the call's facts.
        end: Ends the call when its goodbye does not come through.
        answering: Of a call that we placed: what is said to a machine; None: nobody looks for one.
    """
    turn = Turn(budget_s=shared.settings.latency.budget_s)
    recording = _recording(shared, leg, agent, call_id=call_id)
    if recording:
        tell = watched(tell, recording)
    wiring = CallWiring(clock=shared.clock, turn=turn, line=CallerLine(), outside=tell)
    built = build_all(shared, agent, sample_rate_hz=leg.facts.sample_rate_hz)
    services = stages_of(shared, agent, built, wiring)
    desk = desk_for(shared.last_resort, leg.facts, call_id=call_id, end=end)
    parts = _parts(shared, leg, agent, services, wiring, desk)
    farewell = Farewell(end=end)
    silence = _silence(agent, farewell, wiring)
    person = person_for(
        Around(
            shared=shared,
            leg=leg,
            agent=agent,
            wiring=wiring,
            call_id=call_id,
            end=end,
            services=services,
            context=parts.context,
            fallback=parts.fallback,
            desk=desk,
            hold_line=parts.hold_line,
            silence=silence,
        )
    )
    tools = _tools(agent, parts, farewell, wiring, person)
    give_tools(parts.context, tools.schemas)
    timeline = Timeline(budget_s=shared.settings.latency.budget_s)
    observer = CallObserver(wiring, timeline=timeline, provider_of=services.speaker)
    leg.output().line_end = LineEnd(
        line=wiring.line,
        heard=observer.heard,
        clock=shared.clock,
        but=(ClipAudioRawFrame, WaitingSound),
        sound=recording.hear_agent if recording else None,
        late=shared.late_at_line,
        tell=tell,
        restored=lambda after_s: wiring.outside(LineRestored(after_s=round(after_s, 3))),
    )
    follow = _follow(shared, agent, built, parts.fallback.phrases)
    answerer = answering and answerer_for(
        answering,
        shared,
        services=services,
        context=parts.context,
        farewell=farewell,
        silence=silence,
        wiring=wiring,
    )
    first = [answerer, *follow] if answerer else follow
    ending = [farewell, silence]
    listed = _list(_recorded(parts, recording), leg, agent, wiring, follow=first, ending=ending)
    pipeline = Pipeline(with_person(listed, person))
    return Assembled(
        worker=_worker(pipeline, leg.facts.sample_rate_hz, _observers(observer, leg)),
        services=services,
        context=parts.context,
        farewell=farewell,
        tools=tools,
        observer=observer,
        person=person.reach if person else None,
        recording=recording,
        answerer=answerer,
    )


def _recording(
    shared: Shared, leg: Leg, agent: AgentSettings, *, call_id: str
) -> CallRecording | None:
    """Return what records the call; None: it is not recorded."""
    if not agent.recording.enabled:
        return None
    return CallRecording(
        shared.settings.logs.dir / RECORDINGS / f"{call_id}.wav",
        rate_hz=leg.facts.sample_rate_hz,
        notice=agent.recording.notice,
        clock=shared.clock,
    )


def _recorded(parts: _Parts, recording: CallRecording | None) -> _Parts:
    return replace(parts, record=recording.hear_caller) if recording else parts


def _parts(
    shared: Shared,
    leg: Leg,
    agent: AgentSettings,
    services: Services,
    wiring: CallWiring,
    desk: CallDesk,
) -> _Parts:
    settings = shared.settings
    vad = shared.models.vad(settings.turn)
    context, pair = build_context(
        agent,
        settings.turn,
        models=shared.models,
        judges=shared.judges,
        tell=wiring.tell,  # the held line hears it too
        words_owed=services.stt.words_owed,
        vad=vad,
    )
    occasion = Occasion(
        agent=agent,
        facts=leg.facts,
        context=context,
        desk=desk,
        speaking=lambda: services.tts.speaker,
    )
    fallback = fallback_for(occasion, shared.last_resort, settings)
    hold_line = HoldLine(fallback, wiring)
    if Step.LOCAL in settings.hold.steps:
        services.tts.say_unsaid = hold_line.speak_locally
    return _Parts(
        services=services,
        context=context,
        pair=pair,
        vad=vad,
        fallback=fallback,
        desk=desk,
        hold_line=hold_line,
    )


def _tools(
    agent: AgentSettings,
    parts: _Parts,
    farewell: Farewell,
    wiring: CallWiring,
    person: PersonParts | None,
) -> Tools:
    return Tools(
        agent,
        note_callback=parts.desk.note_callback,
        turn=lambda: wiring.turn.number,
        tell=wiring.outside,
        clock=wiring.clock,
        speaking=lambda: farewell.speaking or parts.hold_line.holding,
        people=person.reach if person else None,
    )


def _follow(
    shared: Shared, agent: AgentSettings, built: Built, phrases: Phrases
) -> list[FrameProcessor]:
    """Return who has the voices and the phrases follow the caller's language, if it is followed."""
    if agent.language != DETECTED:
        return []
    followed = (each for each in shared.settings.stages.tts if follows_caller(each, agent))
    voices = [built["tts"][each.name] for each in followed]
    return [CallerLanguage(first=phrases.language, voices=voices, follow=phrases.follow)]


def _list(
    parts: _Parts,
    leg: Leg,
    agent: AgentSettings,
    wiring: CallWiring,
    *,
    follow: list[FrameProcessor],
    ending: list[FrameProcessor],
) -> list[FrameProcessor]:
    services, tell = parts.services, wiring.outside
    early = services.llm.answer_early(parts.context)

    def hear(frame: InputAudioRawFrame) -> None:
        parts.hold_line.hear(frame)
        parts.record(frame.audio)

    def window() -> ContextWindow:
        return ContextWindow(limit_tokens=room_tokens(agent), tell=tell)

    return [
        leg.input(),  # the caller's audio, 20 ms at a time
        services.stt,
        *follow,  # ahead of the words that are in another language
        CallerWords(tell=tell, listener=early),  # bounds what the recogniser says was said
        SoundWindows(  # no piece goes on alone that the VAD can do nothing with
            quiet=lambda: parts.vad.quiet, hear=hear
        ),
        TurnOpener(wiring.turn, clock=wiring.clock),  # the budget runs from the last sample
        parts.pair.user(),  # VAD, turn detection, the caller's side of the context
        SoundEnd(),  # ends here: nobody below listens to all of it
        window(),  # no request is longer than the context window
        services.llm,
        window(),  # nor one that follows a tool's result, coming from below
        *ending,  # end the call after the last word was heard; speak to a silent caller
        services.tts,
        parts.hold_line,  # speaks when an answer is late, or cannot come
        leg.output(),  # reports what is played
        parts.pair.assistant(),  # remembers what was heard, not what was sent
    ]


def _silence(agent: AgentSettings, farewell: Farewell, wiring: CallWiring) -> CallerSilence:
    return CallerSilence(
        silence=Silence(
            prompt_after_s=agent.silence.prompt_after_s,
            prompts=agent.silence.prompts,
            goodbye=agent.silence.goodbye,
        ),
        length=CallLength(max_call_s=agent.max_call_s, words=agent.farewell),
        farewell=farewell,
        tell=wiring.outside,
        clock=wiring.clock,
    )


def _observers(observer: CallObserver, leg: Leg) -> list[BaseObserver]:
    if leg.facts.transport != "webrtc":  # the one telephone with a screen
        return [observer]
    return [observer, Captions(show=leg.show, output=leg.output().name)]


def _worker(pipeline: Pipeline, rate_hz: int, observers: list[BaseObserver]) -> PipelineWorker:
    worker = PipelineWorker(
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
    watching = worker._observer._observers  # noqa: SLF001 - ours, and the worker's own of idleness
    worker._observer = SparingObserver(observers=watching)  # noqa: SLF001 - no way to hand it in
    return worker
