"""Builds a call's pipeline; nothing else does.

First come the parts of every call: three stages, the dialogue, fallbacks and the farewell. Then the
optional parts: transfer, opt-out, machine detection. Last, all processors are put into one list.
Parts get the earlier parts that they need in their constructors. The processors in the list start
and stop with the pipeline; `bot/call/call.py` closes everything else.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Final, cast

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import InputAudioRawFrame, TTSSpeakFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor

from bot.call.call_recording import emit_to_recording, make_recording
from bot.call.configured_fallbacks import call_voice, holding_of, menu_ear, menu_steps, reads_number
from bot.call.conversation import Dialogue, dictation_of, room_tokens
from bot.call.shared import Shared
from bot.call.transfer.transfer import Transfer
from bot.call.transfer.waiting_line import WaitingLine
from bot.do_not_call.requests import DoNotCallRequests
from bot.tools.built_in import Tools, sensitive_tools
from bot.tools.caller_requests import CallerRequests
from bot.tools.owner import call_facts
from bot.tools.toolbox import LateResults
from calls.caller import clean, digit_by_digit
from calls.entry import Emit
from calls.events import Event
from calls.keyed_entry import DigitsAsked, waiting
from calls.leg_events import LineRestored
from calls.line import CallerLine
from calls.timeline import Timeline
from calls.turn import Turn
from configuration.agent import AgentSettings
from configuration.rungs import DETECTED, follows_caller, language_for_stage
from contacts.numbers import as_dialled
from operations.stored_words import StoredWords
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch
from processors.answering.context_window import ContextWindow
from processors.answering.continuation_rules import Answer
from processors.answering.model_stream import Model
from processors.answering.spoken_text_rules import SpokenTextRule
from processors.answering.stage import LlmStage
from processors.call_observer import CallObserver, DirectObserver, UnkeptWords
from processors.hearing.caller_words import CallerLanguage, CallerWords, WordlessTurns
from processors.hearing.keypad import Keypad
from processors.hearing.stage import SttStage
from processors.holding.decision import HoldRules
from processors.holding.farewell import End, Farewell
from processors.holding.hold_line import HoldLine
from processors.holding.line_executor import WaitingSound
from processors.holding.outage_rules import OutageSettings, Step
from processors.holding.own_voice import ClipAudioRawFrame, Phrases
from processors.holding.silence_rules import CallLength, Silence
from processors.holding.utterance_rules import Chooser, Situation
from processors.speaking.captions import Captions
from processors.speaking.stage import TtsStage
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import SoundEnd, SoundWindows, order_interruptions
from runtime import clock
from transports.leg import Leg, LegFacts
from transports.leg_output import LineEnd

IDLE_S: Final = 600.0  # without any frame; a safety net, far longer than any silence rule


class CallPipeline:
    """A call's pipeline on a leg, ready to run, and the parts of it that the call uses.

    Attributes:
        worker: Runs the pipeline.
        recording: Records the call; `None` if the agent's calls are not recorded.
        outside: Publishes events outside the call.
        turn: The turn in progress. `TurnOpener` opens its deadline, the TTS stage moves that to the
            end of the queued audio, and `CallObserver` numbers the turn.
        line: What the caller's line is playing. The TTS stage and `HoldLine` add audio, and the leg
            corrects the position if the far end reports what it has played.
        floor: Who speaks, since when, and what is pending.
        listeners: Get the call's events.
        transfer: Transfers the caller to a person; `None` if the agent has no destinations or keys.
        opt_out: Puts the other party's number on the do-not-call list; `None` if this process
            places no calls.
        answerer: Detects who picked up; `None` if the call does not need that.

    Args:
        shared: The resources that all calls share.
        leg: The caller's leg.
        agent: The agent that answers.
        call_id: Names the caller's messages and callbacks.
        words: Decides what is stored of the call's words.
        emit: Takes the call's events.
        end: Ends the call even if its goodbye cannot be spoken.
        verified: Called when a tool has verified the caller.
        answering: For a call that we placed: what to say to a machine; `None` without
            detection.
    """

    def __init__(
        self,
        shared: Shared,
        leg: Leg,
        agent: AgentSettings,
        *,
        call_id: str,
        words: StoredWords,
        emit: Emit,
        end: End,
        verified: Callable[[], None],
        answering: AnsweringPlan | None = None,
    ) -> None:
        """Build the pipeline; nothing runs yet."""
        self._shared, self._leg, self._agent = shared, leg, agent
        self._settings, self._clock = shared.settings, shared.clock
        self._call_id, self.words, self._end, self._verified = call_id, words, end, verified
        settings, hides = self._settings, lambda: words.hides
        self.recording = make_recording(
            agent, leg, settings, call_id=call_id, clock=shared.clock, hides=hides
        )
        self.outside = emit_to_recording(emit, self.recording) if self.recording else emit
        self.listeners: list[Emit] = []
        self.turn = turn_of(leg, budget_s=self._settings.latency.budget_s)
        self.line = CallerLine()
        self.floor = Floor(self.line)
        self._make_stages()
        self._make_dialogue()
        self.farewell = Farewell(self.floor, clock=self._clock, end=self._end)
        self._make_hold_line()
        self._make_optional(answering)
        self._make_opt_out()
        self._observe_line()
        self._make_tools()
        self._make_keypad()
        self.llm.answer_early(self.dialogue.memory, self.floor, dictation_of(agent))
        observers = [self.observer, *filter(None, [self._captions])]
        self.worker = make_worker(
            self._ordered_processors(), observers, rate_hz=leg.facts.sample_rate_hz
        )

    def emit(self, event: Event) -> None:
        """Publish an event outside the call, then to the parts that follow the call's events."""
        self.outside(event)
        for listen in self.listeners:
            listen(event)

    def _make_stages(self) -> None:
        """Build the three stages, which share the turn, and so its deadline."""
        shared, agent, emit = self._shared, self._agent, self.emit
        policies, now, turn = shared.policies, self._clock, self.turn
        cleaning = SpokenTextRule(**agent.spoken_text.model_dump())
        rungs = partial(shared.rungs, agent=agent, sample_rate_hz=self._leg.facts.sample_rate_hz)
        self.stt = SttStage(rungs("stt"), policy=policies["stt"], emit=emit, clock=now, turn=turn)
        self.llm = LlmStage(
            cast("Mapping[str, Model]", rungs("llm")),
            policy=policies["llm"],
            emit=emit,
            clock=now,
            turn=turn,
            window_tokens=room_tokens(agent),
            new_answer=partial(Answer, cleaning, max_s=agent.max_reply_s),
        )
        self._voices = rungs("tts")
        has_local_voice = Step.LOCAL in self._settings.hold.steps
        self.tts = TtsStage(
            self._voices,
            policy=policies["tts"],
            emit=emit,
            clock=now,
            turn=turn,
            line=self.line,
            floor=self.floor,
            say_unsaid=partial(_say_locally, self) if has_local_voice else None,
        )

    def _make_dialogue(self) -> None:
        self.dialogue = Dialogue(
            self._agent,
            self._settings.turn,
            models=self._shared.models,
            judges=self._shared.judges,
            stt=self.stt,
            speech=self.tts.queue.speech,
            line=self.line,
            floor=self.floor,
            turn=self.turn,
            emit=self.emit,
            clock=self._clock,
        )

    def _make_hold_line(self) -> None:
        last_resort, facts = self._shared.last_resort, self._leg.facts
        self.requests = requests_of(self, self._shared, facts, call_id=self._call_id, end=self._end)
        self.phrases = Phrases(
            chooser=Chooser(last_resort.utterances),
            language=language_for_stage(self._agent.language, "tts"),
            number=digit_by_digit(facts.other_party),
        )
        voice = call_voice(
            last_resort.clips,
            self._settings,
            self._agent,
            rate_hz=facts.sample_rate_hz,
            speaking=lambda: self.tts.speaker,
        )
        self.hold_line = HoldLine(
            rules=self._hold_rules(),
            phrases=self.phrases,
            voice=voice,
            choices=self.requests,
            ear=menu_ear(last_resort, self._settings.hold.steps, keys=facts.keys),
            remember=partial(self.dialogue.add, "assistant"),
            line=self.line,
            floor=self.floor,
            turn=self.turn,
            emit=self.emit,
            clock=self._clock,
            farewell=self.farewell,
        )

    def _hold_rules(self) -> HoldRules:
        """Return what decides what the call says unasked."""
        agent, hold, keys = self._agent, self._settings.hold, self._leg.facts.keys
        return HoldRules(
            holding=holding_of(hold),
            outage=OutageSettings(
                steps=menu_steps(hold.steps, keys=keys),
                clips=hold.clips,
                menus=hold.menus,
                reads_number=reads_number(self._shared.last_resort, self.phrases),
                is_deaf=lambda now: not self._shared.policies["stt"].usable(now),
            ),
            silence=Silence(
                self.floor,
                prompt_after_s=agent.silence.prompt_after_s,
                prompts=agent.silence.prompts,
                goodbye=agent.silence.goodbye,
            ),
            length=CallLength(max_call_s=self._seconds_left(), words=agent.farewell),
        )

    def _seconds_left(self) -> float:
        """Return how long the call may last from now, or from when it is picked up, in seconds.

        May be negative in a resumed call, which then has to end.
        """
        max_s, before = self._agent.max_call_s, self._leg.before
        if self._leg.facts.public:
            max_s = min(max_s, self._settings.transports.webrtc.public_max_call_s)
        # The limit includes the time before the call was resumed here.
        return max_s - (self._clock() - before.began_at if before and before.call_id else 0.0)

    def _make_optional(self, answering: AnsweringPlan | None) -> None:
        """Build the transfer and the detection of who picked up; `None` in calls without them."""
        shared, leg, agent, emit = self._shared, self._leg, self._agent, self.outside
        self.transfer = self.answerer = None
        if agent.destinations or agent.keys:
            self.transfer = Transfer(
                shared,
                leg,
                agent,
                call_id=self._call_id,
                llm=self.llm,
                conversation=lambda: self.words.messages(self.dialogue.memory.messages),
                waiting=WaitingLine(
                    phrases=self.phrases,
                    say=partial(self.hold_line.voice.say, kept=True),
                    line=self.line,
                    clock=self._clock,
                ),
                hold_line=self.hold_line,
                floor=self.floor,
                requests=self.requests,
                turn=self.turn,
                emit=emit,
            )
        if answering:
            self.answerer = AnswererWatch(
                answering,
                say=self.tts.queue_frame,
                end_call=partial(self.farewell.end_call, final=True),
                floor=self.floor,
                remember=lambda words: self.dialogue.add("user", clean(words)),
                emit=emit,
                clock=self._clock,
                speech=shared.models.vad(self._settings.turn),
            )

    def _make_opt_out(self) -> None:
        """Build the opt-out handling; `None` if this process places no calls."""
        self.opt_out = opt_out_for(
            self._shared,
            self._leg,
            self.tts,
            self.phrases,
            self.words.text,
            call_id=self._call_id,
            turn=self.turn,
            emit=self.outside,
        )

    def _observe_line(self) -> None:
        """Observe the pipeline and what the caller hears; register the parts that follow events."""
        recording, dialogue = self.recording, self.dialogue

        def pass_agent_sound(pcm: bytes) -> None:
            dialogue.echo.hear_agent(pcm)
            if recording:
                recording.hear_agent(pcm)

        timeline = Timeline(budget_s=self._settings.latency.budget_s)
        timeline.number = self.turn.number
        self.unkept = UnkeptWords(output=self._leg.output().name, turn=self.turn, emit=self.outside)
        self.observer = CallObserver(
            timeline=timeline,
            provider_of=partial(active_rung, self.stt, self.llm, self.tts),
            floor=self.floor,
            turn=self.turn,
            emit=self.emit,
            clock=self._clock,
            unkept=self.unkept,
        )
        self._leg.output().line_end = LineEnd(
            line=self.line,
            heard=partial(_note_played, self),
            clock=self._clock,
            not_answers=(ClipAudioRawFrame, WaitingSound),
            sound=pass_agent_sound,
            late=self._shared.late_at_line,
            emit=self.outside,
            restored=lambda after_s: self.outside(LineRestored(after_s=round(after_s, 3))),
        )
        wordless = WordlessTurns(
            dialogue.pair.user(), dialogue.memory, self.hold_line, dialogue.asides, self.floor
        )
        self._captions = captions_for(self._leg)
        parts = (dialogue, self.hold_line, wordless, self.opt_out, self.observer, self._captions)
        self.listeners = [part.notice for part in parts if part]

    def _make_tools(self) -> None:
        """Give the model the built-in tools, the owner's, and those that only this call has."""
        dialogue, decision = self.dialogue, self.hold_line.decision

        async def ask_with(result: str, note: str) -> None:
            dialogue.add("developer", result)  # untrusted, so not in one message with our note
            dialogue.add("developer", note)
            await dialogue.pair.user().push_context_frame()

        more = [self.opt_out.tool(), self.opt_out.undo_tool()] if self.opt_out else []
        sensitive = self._agent.sensitive
        more += sensitive_tools(sensitive.max_s) if sensitive.tools else ()
        self.tools = Tools(
            self._agent,
            callbacks=self.requests,
            turn=lambda: self.turn.number,
            emit=self.outside,
            clock=self._clock,
            speaking=lambda: self.floor.is_agent_audible(self._clock()) or decision.holding,
            people=self.transfer,
            more=more,
            late=LateResults(until_quiet=self.hold_line.until_quiet, ask_with=ask_with),
            facts=call_facts(self._call_id, self._leg.facts),
            verified=self._verified,
            words=self.words,
        )
        dialogue.memory.set_tools(ToolsSchema(standard_tools=list(self.tools.schemas)))

    def _make_keypad(self) -> None:
        self.keypad = Keypad(
            asked=self._digits_asked,
            own_keys=self._agent.keys,
            is_taken=lambda: self.hold_line.decision.outage.takes_keys,
            floor=self.floor,
            turn=self.turn,
            clock=self._clock,
        )

    def _digits_asked(self) -> list[DigitsAsked]:
        """Return the parameters of tools that wait for the caller's keys."""
        asked = (digits for tool in self._agent.tools for digits in tool.digits_asked)
        question = f"{self.dialogue.memory.last_said} {self.dialogue.asides.partial()}"
        return waiting(question, asked, self._agent.language)

    def _ordered_processors(self) -> list[FrameProcessor]:
        """Return the processors, from the caller's audio to what the caller hears."""
        leg, agent, transfer, dialogue = self._leg, self._agent, self.transfer, self.dialogue
        window = partial(ContextWindow, limit_tokens=room_tokens(agent), emit=self.outside)
        return [
            leg.input(),  # the caller's audio, 20 ms at a time
            *([transfer.sound] if transfer else []),  # the caller's audio to a person
            self.stt,
            *([self.answerer] if self.answerer else []),  # who picked up
            # The voices follow the caller's language.
            *language_for(self._shared, leg, agent, voices=self._voices, phrases=self.phrases),
            CallerWords(emit=self.outside, asides=dialogue.asides),  # limits words, drops asides
            SoundWindows(  # pieces that are long enough for the VAD
                self.floor, quiet=lambda: dialogue.vad.quiet, hear=self._hear_caller
            ),
            self.keypad,  # pressed keys become the caller's turn
            TurnOpener(  # updates the floor; the budget runs from the last sample
                self.floor, turn=self.turn, faintness=dialogue.vad.faintness, clock=self._clock
            ),
            dialogue.pair.user(),  # VAD, turn detection, the caller's side of the context
            SoundEnd(),  # the caller's audio ends here
            window(),  # no request is longer than the context window
            self.llm,
            window(),  # the same for requests after a tool's result, which come from below
            self.farewell,  # ends the call after the last word was heard
            self.tts,
            self.hold_line,  # speaks when nobody does
            *([transfer.waiting] if transfer else []),  # the person's audio
            leg.output(),  # reports what is played
            dialogue.pair.assistant(),  # remembers what was heard, not what was sent
        ]

    def _hear_caller(self, frame: InputAudioRawFrame) -> None:
        """Give the caller's audio to the line's decisions, and to the recording if there is one."""
        self.hold_line.hear(frame)
        if self.recording:
            self.recording.hear_caller(frame.audio)


def turn_of(leg: Leg, *, budget_s: float) -> Turn:
    """Return the turn of a new call, or of one that is resumed here."""
    turn = Turn(budget_s=budget_s)
    if leg.before:  # `entries` is an upper bound: each attempt made at least one
        turn.number, turn.attempts = leg.before.turn, count(1 + leg.before.entries)
    return turn


def active_rung(stt: SttStage, llm: LlmStage, tts: TtsStage, processor: str) -> str:
    """Return the active rung of the stage with this Pipecat name; without one, the name itself."""
    active = {stt.name: stt.writer, llm.name: llm.speaker, tts.name: tts.speaker}
    return active.get(processor) or processor


def language_for(
    shared: Shared,
    leg: Leg,
    agent: AgentSettings,
    *,
    voices: Mapping[str, FrameProcessor],
    phrases: Phrases,
) -> list[FrameProcessor]:
    """Return the processor that adapts voices and phrases to the caller's language.

    The list is empty unless the agent's language is detected.
    """
    if agent.language != DETECTED:
        return []
    before, voice_rungs = leg.before, shared.settings.stages.tts
    followed = (item for item in voice_rungs if follows_caller(item, agent))
    return [
        CallerLanguage(
            first=phrases.language,
            current=before.language if before else "",
            voices=[voices[item.name] for item in followed],
            follow=phrases.follow,
        )
    ]


def captions_for(leg: Leg) -> Captions | None:
    """Return the observer that shows both sides' words; `None` if the leg has no screen."""
    facts, output = leg.facts, leg.output().name
    return Captions(show=leg.show, output=output, voices=not facts.public) if facts.screen else None


def opt_out_for(
    shared: Shared,
    leg: Leg,
    voice: FrameProcessor,
    phrases: Phrases,
    stored: Callable[[str], str],
    *,
    call_id: str,
    turn: Turn,
    emit: Emit,
) -> DoNotCallRequests | None:
    """Return the call's opt-out handling; `None` if this process places no calls."""
    facts = leg.facts
    if shared.do_not_call is None:
        return None
    # Both readings of an ambiguous number go on the list, because either may be the one to call.
    readings = as_dialled(facts.other_party, region=shared.settings.server.region)
    number, other_reading = (*readings, "", "")[:2]

    async def say(situation: Situation) -> None:
        if found := phrases.choose((situation,), topical=False, again=True):
            await voice.queue_frame(TTSSpeakFrame(found.text))

    return DoNotCallRequests(
        shared.do_not_call,
        number,
        call_id=call_id,
        turn=lambda: turn.number,
        emit=emit,
        utc_s=lambda: clock.utc_now().timestamp(),
        say=say,
        language=lambda: phrases.language,
        dial_id=facts.dial_id,
        also=other_reading,
        stored=stored,
    )


def make_worker(
    processors: list[FrameProcessor], observers: list[BaseObserver], *, rate_hz: int
) -> PipelineWorker:
    """Return the worker that runs these processors; `observers` see each pushed frame."""
    worker = PipelineWorker(
        Pipeline(order_interruptions(processors)),
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
    every = worker._observer._observers  # noqa: SLF001 - ours, and the worker's own idle check
    worker._observer = DirectObserver(observers=every)  # noqa: SLF001 - no public parameter
    return worker


def requests_of(
    pipeline: CallPipeline, shared: Shared, facts: LegFacts, *, call_id: str, end: End
) -> CallerRequests:
    """Return what takes the requests of a pipeline's caller."""
    last_resort, placed = shared.last_resort, bool(shared.settings.callbacks.campaign)
    return CallerRequests(
        callbacks=last_resort.callbacks,
        messages=last_resort.messages,
        call_id=call_id,
        facts=facts,
        end=end,
        utc_now=clock.utc_now,
        stored=pipeline.words.text,
        read=partial(shared.gate.callback_number, placed=placed),
        reach=partial(_reach_person, pipeline),
    )


async def _reach_person(pipeline: CallPipeline) -> bool:
    """Transfer the caller to the first destination, if any; return whether they were connected."""
    return await pipeline.transfer.connect() if pipeline.transfer else False


async def _say_locally(pipeline: CallPipeline, rest: str, *, protected: bool) -> None:
    """Queue words that no other voice could say for the local voice."""
    await pipeline.hold_line.speak_locally(rest, protected=protected)


def _note_played(pipeline: CallPipeline, at_s: float) -> None:
    """Record that the line plays audible audio of an answer since `at_s` (monotonic, seconds)."""
    pipeline.observer.heard(at_s)
    pipeline.hold_line.delivered.played(at_s)
