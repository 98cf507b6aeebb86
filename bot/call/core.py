"""The parts that every call has: three stages, a memory, fallbacks and a farewell."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair

from bot.call.conversation import build_context, dictation_of
from bot.call.last_resort import Occasion, desk_for, fallback_for
from bot.call.models import SharedSilero
from bot.call.services import Built, Services, Shared, build_all, stages_of
from bot.config.agent import AgentSettings
from bot.tools.desk import CallerRequests
from calls.resume import ResumeState
from processors.answering.context_window import Memory
from processors.hearing.caller_words import WordlessTurns
from processors.holding.caller_silence import CallerSilence, End, Farewell
from processors.holding.hold_line import HoldLine
from processors.holding.line_rules import LastWords
from processors.holding.outage_rules import Step
from processors.holding.own_voice import Fallback
from processors.holding.silence_rules import CallLength, Silence
from processors.turn.asides import Asides
from processors.turn.background_rules import Background
from processors.turn.echo import EchoEar
from processors.turn.ending import DictationWait
from processors.turn.floor import FloorEvent, TurnClosed, WordsCame
from processors.wiring import CallWiring
from transports.leg import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """The call that its parts are built for.

    Attributes:
        shared: What all calls of the process share.
        leg: The caller's telephone.
        agent: Who answers.
        wiring: What the call's parts share.
        call_id: Names the caller's messages and callbacks.
        end: Ends the call when its goodbye is not heard.
    """

    shared: Shared
    leg: Leg
    agent: AgentSettings
    wiring: CallWiring
    call_id: str
    end: End

    @property
    def before(self) -> ResumeState | None:
        """The saved state of a resumed call; `None` for a new one."""
        return self.leg.before


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCore:
    """The parts that every call has, in the order of construction."""

    built: Built
    services: Services
    desk: CallerRequests
    vad: SharedSilero
    echo: EchoEar
    background: Background
    context: Memory
    pair: LLMContextAggregatorPair
    asides: Asides
    fallback: Fallback
    hold_line: HoldLine
    farewell: Farewell
    silence: CallerSilence


def core_of(call: CallContext) -> CallCore:
    """Return the parts of a new call."""
    shared, agent, wiring = call.shared, call.agent, call.wiring
    built = build_all(shared, agent, sample_rate_hz=call.leg.facts.sample_rate_hz)
    services = stages_of(shared, agent, built, wiring)
    desk = desk_for(shared.last_resort, call.leg.facts, call_id=call.call_id, end=call.end)
    echo, background = EchoEar(wiring.clock), Background()
    background.listens = services.stt.listens
    wiring.floor.listeners.append(partial(_note_words, background, wiring.clock))
    vad = shared.models.vad(
        shared.settings.turn, wiring.faintness, echo=echo, background=background
    )
    context = Memory(heard_s=lambda: wiring.line.heard_s(wiring.clock()))
    speech = services.tts.agenda.speech
    speech.length = lambda: len(context.messages)
    asides = Asides(context, speech, floor=wiring.floor, clock=wiring.clock)
    pair = _memory(call, services, vad, memory=context, asides=asides)
    asides.echoes = echo.heard_lately
    asides.partial = pair.assistant().aggregation_string
    fallback = _fallback(call, services, context, desk)
    hold_line = HoldLine(fallback, wiring)
    WordlessTurns(pair.user(), context, hold_line, wiring, asides)
    if Step.LOCAL in shared.settings.hold.steps:
        services.tts.say_unsaid = hold_line.speak_locally
    farewell = Farewell(
        end=call.end,
        sounds=lambda: wiring.floor.agent_sounds(wiring.clock()),
        last_words=lambda: hold_line.note(LastWords()),
    )
    return CallCore(
        built=built,
        services=services,
        desk=desk,
        vad=vad,
        echo=echo,
        background=background,
        context=context,
        pair=pair,
        asides=asides,
        fallback=fallback,
        hold_line=hold_line,
        farewell=farewell,
        silence=_silence(call, farewell),
    )


def _note_words(background: Background, clock: Callable[[], float], event: FloorEvent) -> None:
    if isinstance(event, WordsCame):
        background.worded(event.text, clock())
    elif isinstance(event, TurnClosed):
        background.turn_over()


def _memory(
    call: CallContext, services: Services, vad: SharedSilero, *, memory: Memory, asides: Asides
) -> LLMContextAggregatorPair:
    wiring = call.wiring
    _, pair = build_context(
        call.agent,
        call.shared.settings.turn,
        models=call.shared.models,
        judges=call.shared.judges,
        tell=wiring.tell,  # `HoldLine` receives it too
        words_owed=services.stt.words_owed,
        dictation=DictationWait(
            dictation_of(call.agent),
            floor=wiring.floor,
            turn=wiring.turn,
            asked=lambda: memory.last_said,
            clock=wiring.clock,
            tell=wiring.tell,
        ),
        vad=vad,
        memory=memory,
        asides=asides,
    )
    return pair


def _fallback(
    call: CallContext, services: Services, context: LLMContext, desk: CallerRequests
) -> Fallback:
    occasion = Occasion(
        agent=call.agent,
        facts=call.leg.facts,
        context=context,
        desk=desk,
        speaking=lambda: services.tts.speaker,
    )
    return fallback_for(occasion, call.shared.last_resort, call.shared.settings)


def _silence(call: CallContext, farewell: Farewell) -> CallerSilence:
    agent, before = call.agent, call.before
    # The limit also counts the time in the process before.
    lasted_s = call.wiring.clock() - before.began_at if before and before.call_id else 0.0
    return CallerSilence(
        silence=Silence(
            call.wiring.floor,
            prompt_after_s=agent.silence.prompt_after_s,
            prompts=agent.silence.prompts,
            goodbye=agent.silence.goodbye,
        ),
        length=CallLength(max_call_s=agent.max_call_s - lasted_s, words=agent.farewell),
        farewell=farewell,
        floor=call.wiring.floor,
        tell=call.wiring.outside,
        clock=call.wiring.clock,
    )
