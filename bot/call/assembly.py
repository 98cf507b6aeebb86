"""The only place where a call's pipeline is put together.

First the parts that every call has (`core`), then this call's optional parts (`additions`), then
both in one list. Processors in the list open and close with the pipeline. Everything else that must
be closed (tools, a recording, a transfer) is in `Assembled`, and the call closes it.
"""

from dataclasses import dataclass
from itertools import count
from typing import Final

from pipecat.frames.frames import InputAudioRawFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor

from bot.call.additions import Additions, additions_of, give_all_tools, recording_of
from bot.call.call_recording import CallRecording, watched
from bot.call.conversation import dictation_of, room_tokens
from bot.call.core import CallContext, CallCore, core_of
from bot.call.person_reach import PersonReach, with_person
from bot.call.services import Services, Shared
from bot.config.agent import AgentSettings
from bot.tools.built_in import Tools
from bot.tools.do_not_call import DoNotCallRequests
from calls.entry import Tell
from calls.leg_events import LineRestored
from calls.line import CallerLine
from calls.resume import ResumeState
from calls.timeline import Timeline
from calls.turn import Turn
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch
from processors.answering.context_window import ContextWindow
from processors.call_observer import CallObserver, SparingObserver
from processors.hearing.caller_words import CallerWords
from processors.hearing.keypad import Keypad, KeyUse
from processors.holding.caller_silence import End
from processors.holding.line_doer import WaitingSound
from processors.holding.own_voice import ClipAudioRawFrame
from processors.speaking.captions import Captions
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import SoundEnd, SoundWindows, order_interruptions
from processors.wiring import CallWiring
from transports.leg import Leg
from transports.leg_output import LineEnd

IDLE_S: Final = 600.0  # a safety net far above any silence rule: no frame of any kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A pipeline that is ready to run, and the parts of it that the call uses."""

    worker: PipelineWorker
    services: Services
    context: LLMContext
    tools: Tools
    observer: CallObserver
    wiring: CallWiring
    core: CallCore
    person: PersonReach | None = None  # `None` without destinations or keys
    recording: CallRecording | None = None  # `None` if it is not recorded
    answerer: AnswererWatch | None = None  # `None` without machine detection
    opt_out: DoNotCallRequests | None = None  # `None` if we place no calls

    def speaks(self, now: float) -> bool:
        """Return whether part of an answer still has to be heard."""
        agenda = self.services.tts.agenda
        return agenda.in_reply or not agenda.empty or self.wiring.floor.agent_sounds(now)


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
        call_id: Names the caller's messages and callbacks.
        tell: Takes the call's events.
        end: Ends the call when its goodbye is not heard.
        answering: For a call that we placed: what to say to a machine; `None` without detection.
    """
    recording = recording_of(shared, leg, agent, call_id=call_id)
    wiring = _wiring(shared, watched(tell, recording) if recording else tell, leg.before)
    call = CallContext(shared=shared, leg=leg, agent=agent, wiring=wiring, call_id=call_id, end=end)
    core = core_of(call)
    more = additions_of(call, core, answering)
    observer = _observe_line(call, core, recording)
    return Assembled(
        tools=give_all_tools(call, core, more),  # before the list, which uses the context
        worker=_worker(_list(call, core, more, recording), _observers(observer, leg), leg),
        services=core.services,
        context=core.context,
        observer=observer,
        wiring=wiring,
        core=core,
        person=more.person and more.person.reach,
        recording=recording,
        answerer=more.answerer,
        opt_out=more.opt_out,
    )


def _wiring(shared: Shared, tell: Tell, before: ResumeState | None) -> CallWiring:
    turn = Turn(budget_s=shared.settings.latency.budget_s)
    if before:  # an upper bound: each attempt made an entry
        turn.number, turn.attempts = before.turn, count(1 + before.entries)
    line = CallerLine()
    return CallWiring(clock=shared.clock, turn=turn, line=line, floor=Floor(line), outside=tell)


def _observe_line(
    call: CallContext, core: CallCore, recording: CallRecording | None
) -> CallObserver:
    """Return the observer of the pipeline; the end of the line tells it what the caller heard."""
    shared, wiring = call.shared, call.wiring
    timeline = Timeline(budget_s=shared.settings.latency.budget_s)
    timeline.number = wiring.turn.number

    def hear_agent(pcm: bytes) -> None:
        core.echo.hear_agent(pcm)
        if recording:
            recording.hear_agent(pcm)

    observer = CallObserver(wiring, timeline=timeline, provider_of=core.services.speaker)
    call.leg.output().line_end = LineEnd(
        line=wiring.line,
        heard=observer.heard,
        clock=shared.clock,
        but=(ClipAudioRawFrame, WaitingSound),
        sound=hear_agent,
        late=shared.late_at_line,
        tell=wiring.outside,
        restored=lambda after_s: wiring.outside(LineRestored(after_s=round(after_s, 3))),
    )
    return observer


def _list(
    call: CallContext, core: CallCore, more: Additions, recording: CallRecording | None
) -> list[FrameProcessor]:
    """Return the processors of the call, from the caller's audio to what the caller hears."""
    leg, services, wiring, tell = call.leg, core.services, call.wiring, call.wiring.outside
    services.llm.answer_early(core.context, wiring.floor, dictation_of(call.agent))

    def hear(frame: InputAudioRawFrame) -> None:
        core.hold_line.hear(frame)
        if recording:
            recording.hear_caller(frame.audio)

    def window() -> ContextWindow:
        return ContextWindow(limit_tokens=room_tokens(call.agent), tell=tell)

    listed: list[FrameProcessor] = [
        leg.input(),  # the caller's audio, 20 ms at a time
        services.stt,
        *more.ahead_of_words,  # machine detection, caller language
        CallerWords(  # bounds what the recogniser returns, and drops what is no turn
            tell=tell, asides=core.asides
        ),
        SoundWindows(  # pieces that are long enough for the VAD
            wiring.floor, quiet=lambda: core.vad.quiet, hear=hear
        ),
        Keypad(_keys(call, core), wiring),  # pressed keys become the caller's turn
        TurnOpener(  # updates the floor; the budget runs from the last sample
            wiring.floor, turn=wiring.turn, faintness=wiring.faintness, clock=wiring.clock
        ),
        core.pair.user(),  # VAD, turn detection, the caller's side of the context
        SoundEnd(),  # the caller's audio ends here
        window(),  # no request is longer than the context window
        services.llm,
        window(),  # nor one after a tool's result, which comes from below
        core.farewell,  # ends the call after the last word was heard
        core.silence,  # speaks to a silent caller
        services.tts,
        core.hold_line,  # speaks when an answer is late, or cannot come
        leg.output(),  # reports what is played
        core.pair.assistant(),  # remembers what was heard, not what was sent
    ]
    return with_person(listed, more.person)


def _keys(call: CallContext, core: CallCore) -> KeyUse:
    return KeyUse(
        lengths=[length for tool in call.agent.tools for length in tool.digits_asked],
        own=call.agent.keys,
        taken=lambda: core.hold_line.keeper.outage.takes_keys,
    )


def _observers(observer: CallObserver, leg: Leg) -> list[BaseObserver]:
    if leg.facts.transport != "webrtc":  # the only transport with a screen
        return [observer]
    return [observer, Captions(show=leg.show, output=leg.output().name)]


def _worker(
    listed: list[FrameProcessor], observers: list[BaseObserver], leg: Leg
) -> PipelineWorker:
    rate_hz = leg.facts.sample_rate_hz
    worker = PipelineWorker(
        Pipeline(order_interruptions(listed)),
        params=PipelineParams(
            audio_in_sample_rate=rate_hz,
            audio_out_sample_rate=rate_hz,
            enable_metrics=True,
            enable_usage_metrics=True,
        ),
        observers=observers,
        enable_rtvi=False,  # would send every word to the far end
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=IDLE_S,
    )
    watching = worker._observer._observers  # noqa: SLF001 - ours, and the worker's own idle check
    worker._observer = SparingObserver(observers=watching)  # noqa: SLF001 - no public parameter
    return worker
