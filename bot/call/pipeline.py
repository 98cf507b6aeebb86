"""The only place where a call's pipeline is put together, from top to bottom.

First the parts that every call has: three stages, a memory, fallbacks and a farewell. Then this
call's optional parts: transfer, opt-out, machine detection, caller language. Then all in one list.
Processors in the list open and close with the pipeline; `closing` closes everything else.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Final, cast

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.frame_processor import FrameProcessor

from bot import clock
from bot.call.call_recording import recording_of, watched
from bot.call.conversation import build_context, dictation_of, room_tokens
from bot.call.last_resort import fallback_for
from bot.call.person_call import PersonCall, Summary, person_words, summarise
from bot.call.shared import Shared
from bot.call.transfer import Transfer
from bot.config.agent import AgentSettings
from bot.config.rungs import DETECTED, follows_caller
from bot.tools.built_in import Tools
from bot.tools.caller_requests import CallerRequests
from bot.tools.do_not_call import DoNotCallRequests
from bot.tools.toolbox import LateResults
from calls.entry import Tell
from calls.events import Event
from calls.handover import Destination
from calls.leg_events import LineRestored
from calls.line import CallerLine
from calls.timeline import Timeline
from calls.turn import Turn
from fallbacks.facts import AttemptFailed, StageExhausted
from operations.record.phone_numbers import as_dialled
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch
from processors.answering.context_window import ContextWindow, Memory
from processors.answering.continuation_rules import Answer
from processors.answering.model_stream import Model
from processors.answering.spoken_text_rules import SpokenTextRule
from processors.answering.stage import LlmStage
from processors.call_observer import CallObserver, DirectObserver
from processors.hearing.caller_words import CallerLanguage, CallerWords, WordlessTurns
from processors.hearing.keypad import Keypad, KeyUse
from processors.hearing.stage import SttStage
from processors.holding.caller_silence import CallerSilence, End, Farewell
from processors.holding.hold_line import HoldLine
from processors.holding.line_executor import WaitingSound
from processors.holding.outage_rules import Step
from processors.holding.own_voice import ClipAudioRawFrame
from processors.holding.silence_rules import CallLength, Silence
from processors.speaking.captions import Captions
from processors.speaking.stage import TtsStage
from processors.turn.asides import Asides
from processors.turn.background_rules import Background
from processors.turn.echo import EchoEar
from processors.turn.ending import DictationWait, TurnOpener
from processors.turn.floor import Floor, FloorEvent, TurnClosed, WordsCame
from processors.turn.sound_path import SoundEnd, SoundWindows, order_interruptions
from processors.wiring import CallWiring
from transports.leg import Leg
from transports.leg_output import LineEnd

IDLE_S: Final = 600.0  # a safety net far above any silence rule: no frame of any kind


class CallPipeline:
    """A call's pipeline on a leg, ready to run, and the parts of it that the call uses.

    Attributes:
        worker: Runs the pipeline.
        transfer: Transfers the caller to a person; `None` if the agent has no destinations or keys.
        opt_out: Lists the other party's number; `None` if this process places no calls.
        answerer: Detects who picked up; `None` if the call does not need that.
        recording: Records the call; `None` if the agent does not.
    """

    def __init__(
        self,
        shared: Shared,
        leg: Leg,
        agent: AgentSettings,
        *,
        call_id: str,
        tell: Tell,
        end: End,
        answering: AnsweringPlan | None = None,
    ) -> None:
        """Build it.

        Args:
            shared: What calls share.
            leg: The caller's telephone.
            agent: Who answers.
            call_id: Names the caller's messages and callbacks.
            tell: Takes the call's events.
            end: Ends the call when its goodbye is not heard.
            answering: For a call that we placed: what to say to a machine; `None` without
                detection.
        """
        self._shared = shared
        self._settings = shared.settings
        self._leg = leg
        self._agent = agent
        self._call_id = call_id
        self._end = end
        self._make_wiring(tell)
        self._make_stages()
        self._make_memory()
        self._make_fallbacks()
        self._make_farewell()
        self.transfer = self._transfer() if agent.destinations or agent.keys else None
        self.opt_out = opt_out_for(shared, leg, self.wiring, call_id=call_id)
        self.answerer = self._answerer(answering) if answering else None
        self.observer = self._observe_line()
        self.tools = self._tools()  # before the list, which uses the context
        self.worker = self._worker(self._listed())

    def speaks(self, now: float) -> bool:
        """Return whether part of an answer still has to be heard."""
        agenda = self.tts.agenda
        return agenda.in_reply or not agenda.empty or self.wiring.floor.agent_sounds(now)

    def closing(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """Yield what closes each part that does not close with the pipeline, with its name."""
        yield "closing the tools", self.tools.close
        if self.opt_out:
            yield "listing a number", self.opt_out.close
        if self.transfer:
            yield "dropping a person", self.transfer.close
        yield "observing the end", self._end_observing
        if self.recording:
            yield "closing the recording", self.recording.close

    async def _end_observing(self) -> None:
        self.observer.ended()

    def _make_wiring(self, tell: Tell) -> None:
        settings, leg, now = self._settings, self._leg, self._shared.clock
        self.recording = recording_of(
            self._agent, leg, settings.logs.dir, call_id=self._call_id, clock=now
        )
        turn = Turn(budget_s=settings.latency.budget_s)
        if leg.before:  # an upper bound: each attempt made an entry
            turn.number, turn.attempts = leg.before.turn, count(1 + leg.before.entries)
        outside = watched(tell, self.recording) if self.recording else tell
        line = CallerLine()
        self.wiring = CallWiring(
            clock=now, turn=turn, line=line, floor=Floor(line), outside=outside
        )

    def _make_stages(self) -> None:
        shared, agent, wiring = self._shared, self._agent, self.wiring
        cleaning = SpokenTextRule(**agent.spoken_text.model_dump())
        policies, tell, now, turn = shared.policies, wiring.tell, wiring.clock, wiring.turn
        rungs = partial(shared.rungs, agent=agent, sample_rate_hz=self._leg.facts.sample_rate_hz)
        self.stt = SttStage(rungs("stt"), policy=policies["stt"], tell=tell, clock=now, turn=turn)
        self.llm = LlmStage(
            cast("Mapping[str, Model]", rungs("llm")),
            policy=policies["llm"],
            tell=tell,
            clock=now,
            turn=turn,
            window_tokens=room_tokens(agent),
            new_answer=partial(Answer, cleaning, max_s=agent.max_reply_s),
        )
        self._voices = rungs("tts")
        self.tts = TtsStage(
            self._voices,
            policy=policies["tts"],
            tell=tell,
            clock=now,
            turn=turn,
            line=wiring.line,
        )

    def _make_memory(self) -> None:
        shared, wiring, turn = self._shared, self.wiring, self._settings.turn
        self._echo = EchoEar(wiring.clock)
        self._vad = shared.models.vad(
            turn, wiring.faintness, echo=self._echo, background=self._background()
        )
        memory = Memory(heard_s=lambda: wiring.line.heard_s(wiring.clock()))
        speech = self.tts.agenda.speech
        speech.length = lambda: len(memory.messages)
        self.asides = Asides(memory, speech, floor=wiring.floor, clock=wiring.clock)
        dictation = DictationWait(
            dictation_of(self._agent),
            floor=wiring.floor,
            turn=wiring.turn,
            asked=lambda: memory.last_said,
            clock=wiring.clock,
            tell=wiring.tell,
        )
        self.context, self.pair = build_context(
            self._agent,
            turn,
            models=shared.models,
            judges=shared.judges,
            tell=wiring.tell,  # `HoldLine` receives it too
            words_owed=self.stt.words_owed,
            dictation=dictation,
            vad=self._vad,
            memory=memory,
            asides=self.asides,
        )
        self.asides.echoes = self._echo.heard_lately
        self.asides.partial = self.pair.assistant().aggregation_string

    def _background(self) -> Background:
        """Return what tells a voice behind the caller by its lack of words."""
        background, wiring = Background(), self.wiring

        def note_words(event: FloorEvent) -> None:
            if isinstance(event, WordsCame):
                background.worded(event.text, wiring.clock())
            elif isinstance(event, TurnClosed):
                background.turn_over()

        def note_failure(event: Event) -> None:
            if isinstance(event, (AttemptFailed, StageExhausted)) and event.stage == "stt":
                background.deaf()

        wiring.floor.listeners.append(note_words)
        wiring.listeners.append(note_failure)
        background.listens = self.stt.listens
        return background

    def _make_fallbacks(self) -> None:
        shared, facts = self._shared, self._leg.facts
        self.requests = CallerRequests(
            callbacks=shared.last_resort.callbacks,
            messages=shared.last_resort.messages,
            call_id=self._call_id,
            facts=facts,
            end=self._end,
            utc_now=clock.utc_now,
        )
        self._fallback = fallback_for(
            shared.last_resort,
            self._settings,
            self._agent,
            facts,
            context=self.context,
            requests=self.requests,
            speaking=lambda: self.tts.speaker,
        )
        self.phrases = self._fallback.phrases
        self.hold_line = HoldLine(self._fallback, self.wiring)
        WordlessTurns(self.pair.user(), self.context, self.hold_line, self.wiring, self.asides)
        if Step.LOCAL in self._settings.hold.steps:
            self.tts.say_unsaid = self.hold_line.speak_locally

    def _make_farewell(self) -> None:
        agent, before, wiring = self._agent, self._leg.before, self.wiring
        # The limit also counts the time in the process before.
        lasted_s = wiring.clock() - before.began_at if before and before.call_id else 0.0
        self.farewell = Farewell(
            end=self._end,
            sounds=self._agent_sounds,
            last_words=self.hold_line.decision.part,
        )
        self.asides.goodbye = lambda: self.farewell.cut_off
        self.silence = CallerSilence(
            silence=Silence(
                wiring.floor,
                prompt_after_s=agent.silence.prompt_after_s,
                prompts=agent.silence.prompts,
                goodbye=agent.silence.goodbye,
            ),
            length=CallLength(max_call_s=agent.max_call_s - lasted_s, words=agent.farewell),
            farewell=self.farewell,
            floor=wiring.floor,
            tell=wiring.outside,
            clock=wiring.clock,
        )

    def _transfer(self) -> Transfer:
        shared, leg, wiring = self._shared, self._leg, self.wiring
        language = self.phrases.language  # the agent's: the person is not the caller

        async def summarised(reason: str, to: Destination) -> Summary:
            """Return the summary, and queue it for the owner's webhook."""
            summary = await summarise(
                self.llm,
                self.context,
                reason=reason,
                language=language,
                limit_s=self._settings.transfer.summary_s,
                clock=wiring.clock,
            )
            shared.posts.send(
                {
                    "call_id": self._call_id,
                    "destination": to.name,
                    "caller": leg.facts.other_party,
                    "reason": reason,
                    "summary": summary.text,
                    "by": summary.by,
                }
            )
            return summary

        transfer = Transfer(
            self._agent,
            leg,
            calls_people=shared.people.for_caller(leg.facts.transport),
            fallback=self._fallback,
            silence=self.silence,
            hold_line=self.hold_line,
            summarise=summarised,
            make_person=partial(self._person, language),
            end=self._end,
            wiring=wiring,
        )
        self.requests.reach = transfer.connect
        return transfer

    def _person(self, language: str, leg: Leg) -> PersonCall:
        """Put the agent's voice on the leg of a person who has picked up."""
        shared, wiring, rate_hz = self._shared, self.wiring, leg.facts.sample_rate_hz
        line, turn = CallerLine(), Turn(budget_s=self._settings.latency.budget_s)
        turn.attempts = wiring.turn.attempts  # no two attempts of a call share a number
        return PersonCall(
            leg,
            tts=TtsStage(
                shared.rungs("tts", self._agent, sample_rate_hz=rate_hz),
                policy=shared.policies["tts"],
                tell=wiring.outside,
                clock=wiring.clock,
                turn=turn,
                line=line,
            ),
            line=line,
            language=language,
            texts=shared.last_resort.texts(language),
            words=person_words(shared, language, rate_hz=rate_hz),
            clock=wiring.clock,
        )

    def _answerer(self, plan: AnsweringPlan) -> AnswererWatch:
        async def part(reason: str) -> None:
            await self.farewell.part(reason, final=True)

        return AnswererWatch(
            plan,
            say=self.tts.queue_frame,
            part=part,
            excuse=self.silence.excuse,
            remember=lambda words: self.context.add_message({"role": "user", "content": words}),
            tell=self.wiring.outside,
            clock=self.wiring.clock,
            speech=self._shared.models.vad(self._settings.turn),
        )

    def _language(self) -> list[FrameProcessor]:
        """Return what makes voices and phrases follow the caller's language, if it is detected."""
        agent, before = self._agent, self._leg.before
        if agent.language != DETECTED:
            return []
        followed = (item for item in self._settings.stages.tts if follows_caller(item, agent))
        return [
            CallerLanguage(
                first=self.phrases.language,
                now=before.language if before else "",
                voices=[self._voices[item.name] for item in followed],
                follow=self.phrases.follow,
            )
        ]

    def _observe_line(self) -> CallObserver:
        """Return the observer of the pipeline; the line's end tells it what the caller heard."""
        wiring, recording = self.wiring, self.recording
        timeline = Timeline(budget_s=self._settings.latency.budget_s)
        timeline.number = wiring.turn.number

        def hear_agent(pcm: bytes) -> None:
            self._echo.hear_agent(pcm)
            if recording:
                recording.hear_agent(pcm)

        observer = CallObserver(wiring, timeline=timeline, provider_of=self._active_rung)
        self._leg.output().line_end = LineEnd(
            line=wiring.line,
            heard=observer.heard,
            clock=wiring.clock,
            but=(ClipAudioRawFrame, WaitingSound),
            sound=hear_agent,
            late=self._shared.late_at_line,
            tell=wiring.outside,
            restored=lambda after_s: wiring.outside(LineRestored(after_s=round(after_s, 3))),
        )
        return observer

    def _active_rung(self, processor: str) -> str:
        """Return the active rung of the stage with this Pipecat name."""
        working = {
            self.stt.name: self.stt.writer,
            self.llm.name: self.llm.speaker,
            self.tts.name: self.tts.speaker,
        }
        return working.get(processor) or processor

    def _tools(self) -> Tools:
        """Give the model the tools that every agent and this call have; return them."""
        wiring = self.wiring
        tools = Tools(
            self._agent,
            note_callback=self.requests.note_callback,
            turn=lambda: wiring.turn.number,
            tell=wiring.outside,
            clock=wiring.clock,
            speaking=lambda: self._agent_sounds() or self.hold_line.decision.holding,
            people=self.transfer,
            more=[self.opt_out.tool()] if self.opt_out else [],
            late=LateResults(now=self._is_quiet, ask_with=self._ask_with),
        )
        self.context.set_tools(ToolsSchema(standard_tools=list(tools.schemas)))
        return tools

    def _is_quiet(self) -> bool:
        """Return whether neither side speaks, and the caller waits for nothing else."""
        decision, floor = self.hold_line.decision, self.wiring.floor
        heard = floor.caller_speaking or self._agent_sounds()
        return not (heard or decision.awaits_answer or decision.led)

    def _agent_sounds(self) -> bool:
        return self.wiring.floor.agent_sounds(self.wiring.clock())

    async def _ask_with(self, note: str) -> None:
        """Add a note to the context and ask the model to speak."""
        self.context.add_message(cast("LLMContextMessage", {"role": "developer", "content": note}))
        await self.pair.user().push_context_frame()

    def _listed(self) -> list[FrameProcessor]:
        """Return the processors, from the caller's audio to what the caller hears."""
        leg, wiring, tell, transfer = self._leg, self.wiring, self.wiring.outside, self.transfer
        self.llm.answer_early(self.context, wiring.floor, dictation_of(self._agent))

        def window() -> ContextWindow:
            return ContextWindow(limit_tokens=room_tokens(self._agent), tell=tell)

        return [
            leg.input(),  # the caller's audio, 20 ms at a time
            *([transfer.sound] if transfer else []),  # the caller's audio to a person
            self.stt,
            *([self.answerer] if self.answerer else []),  # who picked up
            *self._language(),  # the voices follow the caller's language
            CallerWords(  # bounds what the recogniser returns, and drops what is no turn
                tell=tell, asides=self.asides
            ),  # bounds what the recogniser returns
            SoundWindows(  # pieces that are long enough for the VAD
                wiring.floor, quiet=lambda: self._vad.quiet, hear=self._hear
            ),
            Keypad(self._keys(), wiring),  # pressed keys become the caller's turn
            TurnOpener(  # updates the floor; the budget runs from the last sample
                wiring.floor, turn=wiring.turn, faintness=wiring.faintness, clock=wiring.clock
            ),
            self.pair.user(),  # VAD, turn detection, the caller's side of the context
            SoundEnd(),  # the caller's audio ends here
            window(),  # no request is longer than the context window
            self.llm,
            window(),  # nor one after a tool's result, which comes from below
            self.farewell,  # ends the call after the last word was heard
            self.silence,  # speaks to a silent caller
            self.tts,
            self.hold_line,  # speaks when an answer is late, or cannot come
            *([transfer.waiting] if transfer else []),  # tones, and the person's audio
            leg.output(),  # reports what is played
            self.pair.assistant(),  # remembers what was heard, not what was sent
        ]

    def _hear(self, frame: InputAudioRawFrame) -> None:
        self.hold_line.hear(frame)
        if self.recording:
            self.recording.hear_caller(frame.audio)

    def _keys(self) -> KeyUse:
        return KeyUse(
            lengths=[length for tool in self._agent.tools for length in tool.digits_asked],
            own=self._agent.keys,
            taken=lambda: self.hold_line.decision.outage.takes_keys,
        )

    def _worker(self, listed: list[FrameProcessor]) -> PipelineWorker:
        leg, observers = self._leg, list[BaseObserver]([self.observer])
        if leg.facts.transport == "webrtc":  # the only transport with a screen
            observers.append(Captions(show=leg.show, output=leg.output().name))
        return _worker(listed, observers, rate_hz=leg.facts.sample_rate_hz)


def opt_out_for(
    shared: Shared, leg: Leg, wiring: CallWiring, *, call_id: str
) -> DoNotCallRequests | None:
    """Return what lists the other party's number; `None` if this process places no calls."""
    facts = leg.facts
    if shared.do_not_call is None:
        return None
    requests = DoNotCallRequests(
        shared.do_not_call,
        as_dialled(facts.other_party, region=shared.settings.server.region),
        call_id=call_id,
        turn=lambda: wiring.turn.number,
        tell=wiring.outside,
        utc_s=lambda: clock.utc_now().timestamp(),
        dial_id=facts.dial_id,
    )
    wiring.listeners.append(requests.hear)
    return requests


def _worker(
    listed: list[FrameProcessor], observers: list[BaseObserver], *, rate_hz: int
) -> PipelineWorker:
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
    worker._observer = DirectObserver(observers=watching)  # noqa: SLF001 - no public parameter
    return worker
