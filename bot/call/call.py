"""One call: from the answered leg to the last event, whatever fails in between."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias
from weakref import WeakValueDictionary

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    TTSSpeakFrame,
)
from pipecat.workers.runner import WorkerRunner

from bot.call.ending import closing_steps, end_with_rising_force, take_step, tear_down
from bot.call.last_resort import apologise
from bot.call.pipeline import CallPipeline
from bot.call.resuming import (
    DISCLOSURE,
    WANTED,
    has_heard,
    is_quiet,
    keep,
    speak_first,
    state_of,
    take_up,
)
from bot.call.shared import Shared
from bot.call.switchboard import RunningCall, TakeRoom
from calls.campaign_events import OutboundCallBegan
from calls.cost import CostMeter, PriceTable
from calls.entry import Emit, Numbering
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallEnded,
    CallFailed,
    CallMoved,
    CallStarted,
    Event,
)
from calls.languages.facts import language_of
from calls.outside_text import quoted
from calls.resume import UNSAVED_ENTRIES, ResumeState
from calls.verdict import VerdictMeter
from configuration.agent import AgentSettings, RecordingSettings
from configuration.rungs import other_voices
from configuration.texts import sentence
from operations.crm.known_caller import KnownCaller
from operations.stored_words import StoredWords
from operations.telemetry.emitter import Emitter
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch
from processors.holding.hold_line import AnsweredFrame
from processors.holding.own_voice import LOCAL
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, Situation
from runtime.clock import Clock, utc_now
from transports.leg import MOVED, Leg, is_taken


class WatchedLeg(Protocol):
    """A leg that notices a lost far end only while `watch` runs."""

    async def watch(self) -> None:
        """Return once the far end is gone and the leg has reported that."""
        ...


async def watch_leg(leg: WatchedLeg, call: RunningCall) -> None:
    """Watch a leg until its far end is gone; cancel the call if watching fails.

    Raises nothing but `CancelledError`.
    """
    try:
        await leg.watch()
    except Exception as broken:  # noqa: BLE001 - a bug in one call must end that call only
        logger.opt(exception=broken).error("call {}: watching its leg failed", call.call_id)
        try:
            await call.cancel("failed")
        except Exception as stuck:  # noqa: BLE001 - as above
            logger.opt(exception=stuck).error("call {} cannot be cancelled", call.call_id)


CALLED_PERSON: Final = "What is known of the person who was called."
VERIFIED_PERSON: Final = "The person is verified. What is known of them besides."
LINE_LOST: Final = "line_lost"  # the end reason of a call that may be resumed
# How long a call that lost its line waits for a store that is away, to learn whether it goes on at
# another machine (chosen: the time to put a cable back, or to restart a store).
STORE_AWAY_S: Final = 30.0
MIN_GAP_S: Final = 0.001  # a resumed call has a gap, even if its caller returned at once
MakeCall: TypeAlias = "Callable[..., Call]"
"""Makes the call of a leg; `answering` is what to say to a machine that picks up."""


def call_maker(shared: Shared, emitter: Emitter, prices: PriceTable) -> MakeCall:
    """Return the factory of a process's calls.

    It gives each call an id (a resumed call keeps its own), the agent of its campaign or of the
    called number, and an `emit` that adds verdicts and costs to the events. `CallMoved` is dropped
    if the call has come back to this process meanwhile: a later part of it is counted here.
    """
    voices = other_voices(shared.settings.stages.tts)
    latest = WeakValueDictionary[str, Numbering]()  # by call, that of its latest part here

    def make(leg: Leg, answering: AnsweringPlan | None = None) -> "Call":
        """Return a leg's call: a new one with its agent, costs and verdict, or a resumed one."""
        resumed = leg.before if leg.before and leg.before.call_id else None
        call_id = resumed.call_id if resumed else secrets.token_hex(6)
        latest[call_id] = numbers = Numbering(resumed.entries + UNSAVED_ENTRIES if resumed else 0)
        briefed = shared.briefs.agent(leg.facts.dial_id)
        agent = briefed or shared.settings.agent_for(leg.facts.called)
        publish, meter = emitter.emit_for(call_id, numbers), CostMeter(prices)
        verdict = VerdictMeter(other_voices=voices, worst=resumed.verdict if resumed else "")

        def emit(event: Event) -> None:
            if isinstance(event, CallMoved) and latest.get(call_id, numbers) is not numbers:
                return
            for judged in verdict.handle(event, shared.clock()):
                for item in meter.handle(judged):
                    publish(item)

        return Call(
            shared,
            leg,
            call_id=call_id,
            agent=agent,
            emit=emit,
            numbers=numbers,
            verdict=verdict,
            answering=answering or agent.answering,
        )

    return make


class Call:
    """Runs one pipeline on one leg and ends it exactly once, with a reason."""

    _opened = False  # the opening was sent to the voice
    _disclosed = False  # the caller has heard the disclosure
    _wanted: CallbackWanted | None = None  # also in an earlier process

    def __init__(
        self,
        shared: Shared,
        leg: Leg,
        *,
        call_id: str,
        agent: AgentSettings,
        emit: Emit,
        numbers: Numbering,
        verdict: VerdictMeter,
        answering: AnsweringPlan | None = None,
    ) -> None:
        """Create a call on a leg; nothing runs yet.

        Args:
            shared: The resources that all calls of the process share.
            leg: The caller's leg, or the one that we dialled.
            call_id: The call's id in the record.
            agent: The agent that answers.
            emit: Publishes the call's events.
            numbers: Numbers the call's entries in the record.
            verdict: Judges how well the caller was served.
            answering: For a call that we placed: what to say to a machine that picks up.
        """
        self.call_id, self._shared, self._leg, self._agent = call_id, shared, leg, agent
        self._emit, self._numbers, self._verdict = emit, numbers, verdict
        self._before, now = leg.before, shared.clock()
        self._answering = answering if _is_opening(leg.before) else None
        is_resumed = leg.before is not None and leg.before.call_id == call_id
        # Not later than now: a store that stood still makes moments later.
        self._began_at = min(leg.before.began_at, now) if leg.before and is_resumed else now
        gap_s = now - leg.before.kept_at if leg.before else 0.0
        self._gap_s = max(MIN_GAP_S, gap_s) if is_resumed else 0.0  # 0 for a new call
        self._words = _words_of(agent, leg.before, shared.clock)
        self._reason: str | None = None  # why the call ends, once that is known
        self._pipeline: CallPipeline | None = None
        self._known_caller: KnownCaller | None = None  # `None` without a CRM look-up
        self._started = asyncio.Event()  # set once the StartFrame has passed the whole pipeline
        self._open_end: CallEnded | None = None  # emitted if a lost line does not return
        self._must_tear_down = asyncio.Event()  # set if the pipeline does not react to a cancel

    def resume_state(self) -> ResumeState:
        """Return what another process needs to resume the call; remember a disclosure once heard.

        Before the opening of a resumed call, that is the state from which it was resumed.
        """
        now, entries = self._shared.clock(), self._numbers.last
        about = {"call_id": self.call_id, "began_at": self._began_at, "entries": entries}
        if self._before and not self._opened:
            return replace(self._before, **about, kept_at=now)
        if self._pipeline is None:
            return ResumeState(**about, kept_at=now)
        unsure = self._leg.output().unsure_words
        state = state_of(self._pipeline, **about, unsure=unsure, now=now)
        under_way = dict(state.under_way)
        disclosure = self._agent.disclosure or ""
        self._disclosed |= _is_disclosed(self._before) or has_heard(state, disclosure)
        if not self._opened:
            under_way["opening"] = True
        elif not self._disclosed:
            under_way[DISCLOSURE] = True
        if self._wanted:
            under_way[WANTED] = asdict(self._wanted)
        return replace(state, verdict=self._verdict.worst, under_way=under_way)

    @property
    def reason(self) -> str:
        """Why the call ended or will end; `agent_hung_up` if nothing else is known."""
        ending = self._pipeline.floor.ending if self._pipeline else None
        return self._reason or ending or "agent_hung_up"

    async def run(self) -> None:
        """Run the call until it has ended and all of its parts are closed; raises no error.

        An error of our own ends the call as `failed`; if it had no pipeline yet, with an apology.
        """
        began = utc_now() - timedelta(seconds=self._shared.clock() - self._began_at)
        try:
            self._leg.tell_to(self.emit)
            for event in _first_events(self._leg, self._agent.name, gap_s=self._gap_s, began=began):
                self.emit(event)
            self._look_up()
            with self._shared.gate.carrying(self._leg.facts.dial_id):
                await self._run_pipeline()
        except Exception as broken:  # noqa: BLE001 - a bug in one call must end that call only
            self._reason = "failed"
            self.emit(_call_failed("call", broken))
            logger.opt(exception=broken).error("call {} failed", self.call_id)
            if self._pipeline is None:  # nothing else could speak the apology
                await take_step("the apology", self._speak_apology(), call_id=self.call_id)
        finally:
            await self._close_or_keep()

    async def _speak_apology(self) -> None:
        """Speak an apology in the local voice, without a pipeline; emit it unless cut short."""
        facts = language_of(self._agent.language)
        spoken = facts.tag if facts and facts.region else DEFAULT_LANGUAGE  # the local voice's
        text = sentence(Situation.APOLOGY, spoken)
        if await apologise(self._leg, spoken, text):
            self.emit(AgentSaid(turn=0, text=text, by=LOCAL))

    def _look_up(self) -> None:
        """Start the CRM look-up, if there is a CRM.

        A resumed call already has the fields that need no verification, so it only looks the caller
        up if there are fields that do.
        """
        if self._shared.crm and (not self._before or self._agent.after_verification):
            number = self._leg.facts.other_party
            self._known_caller = KnownCaller(
                self._shared.crm, number, emit=self.emit, is_held=self._is_held
            )

    def _is_held(self, field: str) -> bool:
        """Return whether a CRM field is withheld until the caller is verified.

        All fields are withheld if the carrier's attestation of the caller's number failed.
        """
        return self._agent.holds_back(field) or self._leg.facts.attestation == "failed"

    def _inform_model(self, pipeline: CallPipeline) -> None:
        """Give the model what it may know of the other party, and restore a resumed call."""
        contact = self._agent.contact
        known = {name: contact[name] for name in contact if not self._agent.holds_back(name)}
        if text := quoted(CALLED_PERSON, known):
            pipeline.dialogue.add("system", text)
        if self._known_caller:
            self._known_caller.tell_model(pipeline.dialogue.memory, again=self._before is not None)
        if self._before:
            take_up(pipeline, self._before, now=self._shared.clock())

    def _disclose_withheld(self) -> None:
        """Give the model the withheld fields of the contact and of the CRM.

        Called when a tool has verified the caller.
        """
        contact, pipeline = self._agent.contact, self._pipeline
        held = {name: value for name, value in contact.items() if self._agent.holds_back(name)}
        if pipeline and (text := quoted(VERIFIED_PERSON, held)):
            pipeline.dialogue.add("system", text)
        if self._known_caller:
            self._known_caller.verify()

    async def _close_or_keep(self) -> None:
        """Close the call step by step; a step that fails does not stop the others.

        Emits `CallEnded`, or `CallMoved` if another process has the call. If a lost line may
        return, the call is kept instead, and `settle` emits its end.
        """
        call_id, pipeline = self.call_id, self._pipeline
        if self._known_caller:
            self._known_caller.close()
        await self._learn_whose()
        if pipeline:
            for what, step in closing_steps(pipeline):
                await take_step(what, step(), call_id=call_id)
        if self._leg.parked and self.reason not in (LINE_LOST, MOVED):
            await take_step("forgetting the call", self._leg.parked.forget(), call_id=call_id)
        length_s = self._shared.clock() - self._began_at
        ended = CallEnded(reason=self.reason, length_s=length_s)
        if self._leg.parked and self.reason == LINE_LOST:
            self._open_end = ended
            keeping = self._leg.parked.keep(self.resume_state(), last=True)
            await take_step("keeping the call", keeping, call_id=call_id)
        else:
            self.emit(CallMoved() if self.reason == MOVED else ended)
        await take_step("hanging up", self._leg.hang_up(self.reason), call_id=call_id)
        if pipeline and self.reason != MOVED:
            # after the hang-up, because it retries while the database fails
            await take_step("keeping a callback", pipeline.requests.close(), call_id=call_id)

    async def _learn_whose(self) -> None:
        """Make `MOVED` the reason if another process has the call.

        A lost line's call waits for a store that is away; if `LINE_LOST` is its reason, `settle`
        finds out whether it goes on elsewhere.
        """
        if self._leg.is_lost and self._leg.parked:
            asking = self._leg.parked.wait_for_store(within_s=STORE_AWAY_S)
            within_s = 2 * STORE_AWAY_S  # each question takes time as well
            await take_step("asking", asking, call_id=self.call_id, within_s=within_s)
        if self.reason != LINE_LOST and await is_taken(self._leg):
            self._reason = MOVED

    async def end(self, reason: str) -> None:
        """Say goodbye after what the agent is saying, and hang up.

        The goodbye cannot be interrupted. One in progress that could be becomes final, for this
        reason. Does nothing before the pipeline exists, or once the reason is set.
        """
        if self._pipeline and self._reason is None:
            await self._pipeline.farewell.end_call(reason, words=self._agent.farewell, final=True)

    async def move(self, *, at_quiet: bool, take_room: TakeRoom) -> None:
        """Let another machine go on with the call, if its line can be opened again there.

        Does nothing before the opening, or while the call is ending or being transferred. The call
        stays if its state reaches this machine only, or if it ends before the state is stored. May
        be repeated.

        Args:
            at_quiet: Whether to do so only while nobody speaks and nothing is pending.
            take_room: Called only if the call can be moved.
        """
        pipeline, parked = self._pipeline, self._leg.parked
        if not (self._opened and pipeline and parked and self._leg.facts.moves):
            return

        def state_to_move() -> ResumeState | None:
            """Return the state; `None` while the call cannot be moved."""
            is_busy = pipeline.floor.ending or (pipeline.transfer and pipeline.transfer.busy)
            state = replace(self.resume_state(), moved=True)
            waits = at_quiet and not is_quiet(pipeline, state, state.kept_at)
            return None if is_busy or self._reason or waits else state

        if state_to_move() is None or not await take_room() or (state := state_to_move()) is None:
            return
        await parked.keep(state, last=True)
        if self._reason not in (None, LINE_LOST, MOVED):  # the call has ended meanwhile
            await parked.forget()  # `_close_or_keep` may have done so before the state arrived
        # If the state is here only, the store is away, so no other machine could go on.
        if self._reason or parked.is_here_only:
            return
        self._reason = MOVED
        await self._leg.hang_up(MOVED)
        await self.cancel(MOVED)

    async def cancel(self, reason: str) -> None:
        """End the call at once, even if a processor hangs; the first reason is kept.

        Before there is a pipeline, only the reason is stored. If Pipecat does not react, the
        pipeline's task is cancelled until it ends.
        """
        self._reason = self._reason or reason
        if self._pipeline is None:
            return
        worker = self._pipeline.worker
        call_id = self.call_id
        # Sent earlier, a CancelFrame would overtake the StartFrame, and Pipecat would wait 20 s.
        if self._started.is_set():
            within = worker.pipeline.queue_frame(CancelFrame())
            await take_step("cancelling from within", within, call_id=call_id)
        if not await take_step("cancelling", worker.cancel(reason=reason), call_id=call_id):
            self._must_tear_down.set()

    async def settle(self) -> None:
        """Emit the end of a call whose line was lost, or `CallMoved` if the caller has returned.

        Waits until one of both is known; does nothing if `run` has emitted the end.
        """
        ended, parked = self._open_end, self._leg.parked
        if ended is None or parked is None:
            return
        try:
            returned = await parked.wait_for_return()
        except Exception as broken:  # noqa: BLE001 - a bug in one call must end that call only
            logger.opt(exception=broken).error(
                "call {}: could not find out whether it was resumed", self.call_id
            )
            returned = False
        self.emit(CallMoved() if returned else ended)

    async def _run_pipeline(self) -> None:
        """Build the pipeline, greet the caller, and run the pipeline until it has ended."""
        pipeline = CallPipeline(
            self._shared,
            self._leg,
            self._agent,
            call_id=self.call_id,
            words=self._words,
            emit=self.emit,
            end=self._end_for_good,
            verified=self._disclose_withheld,
            answering=self._answering,
        )
        self._pipeline = pipeline
        self._inform_model(pipeline)
        self._leg.on_gone(self.cancel)
        worker = pipeline.worker
        worker.add_event_handler("on_pipeline_error", self._on_error)
        worker.add_event_handler("on_pipeline_started", lambda *_: self._started.set())
        runner = WorkerRunner(handle_sigint=False)  # one per call: runners never release workers
        await runner.add_workers(worker)
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(self._greet_and_keep_saving(pipeline), name="greet")
            running = group.create_task(runner.run(), name="pipeline")
            tearing = group.create_task(tear_down(self._must_tear_down, running), name="tear down")
            yielding = group.create_task(self._yield_when_taken(), name="yield the call")
            try:
                await asyncio.wait([running])
            finally:
                for task in (greeting, tearing, yielding):
                    task.cancel()

    async def _yield_when_taken(self) -> None:
        """Fall silent and end at once when another process has taken the call up."""
        if self._leg.parked:
            await self._leg.parked.wait_until_taken()
            self._reason = self._reason or MOVED
            await take_step("falling silent", self._leg.hang_up(MOVED), call_id=self.call_id)
            await self.cancel(MOVED)

    async def _greet_and_keep_saving(self, pipeline: CallPipeline) -> None:
        """Speak first once a person has answered, and save the state meanwhile until cancelled.

        If the call is not answered, cancel it.
        """
        try:
            await self._leg.answered()
        except TimeoutError:
            await self.cancel("never_connected")
            return
        except Exception as broken:  # noqa: BLE001 - would cancel the pipeline's task
            self._reason = "failed"
            self.emit(_call_failed("leg", broken))
            logger.opt(exception=broken).error("call {} was not answered", self.call_id)
            await self.cancel("failed")
            return
        await pipeline.worker.queue_frame(AnsweredFrame())
        async with asyncio.TaskGroup() as group:
            if self._leg.parked:
                keeping = keep(pipeline, self._leg.parked, self.resume_state, emit=self.emit)
                group.create_task(keeping, name="keep the state")
            await self._speak_opening(pipeline)

    async def _speak_opening(self, pipeline: CallPipeline) -> None:
        """Speak first, once it is known that a person has picked up.

        Waits up to `crm.greeting_s` for the CRM. From then on, `resume_state` takes the opening for
        begun.
        """
        if pipeline.answerer:
            await self._wait_for_person(pipeline.answerer)
        agent = self._agent
        if self._known_caller:
            within_s = self._shared.settings.crm.greeting_s
            agent = await self._known_caller.greeted_by(agent, within_s=within_s)
        # A resumed call does not repeat the notice.
        if pipeline.recording and pipeline.recording.has_earlier_notice:
            agent = agent.model_copy(update={"recording": RecordingSettings()})
        if self._before:
            await self._started.wait()  # what was under way may begin at once
        await speak_first(pipeline, agent, self._before)
        self._opened = True

    async def _wait_for_person(self, answerer: AnswererWatch) -> None:
        """Wait until it is known that a person, not a machine, has picked up.

        Meanwhile the carrier's verdict on that is passed on; it is forgotten afterwards.
        """
        call_ref, words = self._leg.facts.call_ref, self._shared.carrier_words
        try:
            await words.watch(call_ref, answerer.carrier_says)
            await answerer.wait_for_person()
        finally:
            words.forget(call_ref)

    async def _end_for_good(self, reason: str) -> None:
        """End the call with increasing force: an `EndFrame` alone may get stuck in the pipeline.

        Does nothing without a running pipeline. The first reason is kept.
        """
        pipeline = self._pipeline
        if pipeline is None or pipeline.worker.has_finished():
            return
        self._reason = self._reason or reason
        ending = end_with_rising_force(pipeline.worker, self._shared.clock)
        if not await take_step("ending", ending, call_id=self.call_id):
            self._must_tear_down.set()

    async def _on_error(self, _worker: Any, frame: ErrorFrame) -> None:
        """End the call with an apology if a processor crashed.

        Errors of the STT, LLM and TTS stages are ignored, because these stages switch to another
        provider themselves. So are frames without an exception, which report an error that the
        processor can recover from, and errors after the reason for the call's end is known.
        """
        pipeline = self._pipeline
        if pipeline is None or frame.processor in (pipeline.stt, pipeline.llm, pipeline.tts):
            return
        if self._reason is not None or frame.exception is None:
            return
        where = frame.processor.name if frame.processor else "pipeline"
        self._reason = "failed"
        self.emit(_call_failed(where, frame.exception))
        apology = TTSSpeakFrame(self._agent.sentence(Situation.APOLOGY))
        apology.interruptible = False
        await pipeline.tts.queue_frame(apology)
        await pipeline.tts.queue_frame(EndFrame())

    def emit(self, event: Event) -> None:
        """Publish an event as it may be stored; show it whole on the screen of a private leg.

        Also remembers a wanted callback, for the call's resume state.
        """
        kept = self._before.under_way.get(WANTED) if self._before else None
        is_kept = isinstance(event, CallbackWanted) and asdict(event) == kept  # as it may be stored
        self._emit(stored := event if is_kept else self._words.event(event))
        self._wanted = stored if isinstance(stored, CallbackWanted) else self._wanted
        if self._leg.facts.public:
            return
        try:
            self._leg.show({"type": "entry", "event": type(event).__name__, **asdict(event)})
        except Exception as broken:  # noqa: BLE001 - a failing screen must not end the call
            logger.debug("call {}: the event was not shown: {!r}", self.call_id, broken)


def _is_disclosed(before: ResumeState | None) -> bool:
    """Return whether the caller has heard the disclosure in an earlier process."""
    return before is not None and before.under_way.keys().isdisjoint(("opening", DISCLOSURE))


def _is_opening(before: ResumeState | None) -> bool:
    """Return whether it is not known yet who picked up: neither opening nor goodbye has begun."""
    under_way = before.under_way if before else {"opening": True}
    return "opening" in under_way and "ending" not in under_way


def _words_of(agent: AgentSettings, before: ResumeState | None, clock: Clock) -> StoredWords:
    """Return the rules for storing the call's words; a resumed call keeps its sensitive section."""
    before = before or ResumeState()
    return StoredWords(
        max_s=agent.sensitive.max_s,
        clock=clock,
        until=before.sensitive_until,
        said=before.sensitive_said,
    )


def _first_events(leg: Leg, agent: str, *, gap_s: float, began: datetime) -> Iterator[Event]:
    """Yield `CallStarted` and, for a call that we dialled, `OutboundCallBegan`.

    Args:
        leg: The call's leg.
        agent: The agent's name.
        gap_s: How long a resumed call was interrupted; 0 for a new call.
        began: When the call began, in UTC.
    """
    facts = leg.facts
    yield CallStarted(
        transport=facts.transport,
        agent=agent,
        caller=facts.caller,
        called=facts.called,
        call_ref=facts.call_ref,
        direction=facts.direction,
        gap_s=round(gap_s, 3),
        began_at=began.isoformat(timespec="milliseconds") if gap_s else "",
        turn=leg.before.turn if leg.before else 0,
    )
    if facts.dial_id:
        yield OutboundCallBegan(dial_id=facts.dial_id)


def _call_failed(where: str, broken: BaseException) -> CallFailed:
    return CallFailed(where=where, error=f"{type(broken).__name__}: {broken}")
