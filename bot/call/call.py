"""One call: from the answered leg to the last fact, whatever happens in between."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    TTSSpeakFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.workers.runner import WorkerRunner

from bot.call.apology import SORRY, apologise
from bot.call.assembly import Assembled, assemble
from bot.call.conversation import opening_frames
from bot.call.ending import end_with_rising_force, take_step, tear_down
from bot.call.known_caller import KnownCaller
from bot.call.services import Shared
from bot.config.agent import AgentSettings
from calls.answering import AnsweringPlan
from calls.campaign_events import OutboundCallBegan
from calls.entry import Tell
from calls.events import CallEnded, CallFailed, CallStarted, Event
from processors.caller_silence import AnsweredFrame
from transports.leg import Leg, LegFacts


class Call:
    """Runs one pipeline on one leg and sees that it ends, exactly once and with a reason."""

    def __init__(  # noqa: PLR0913 - what a call is made of, each by its name
        self,
        shared: Shared,
        leg: Leg,
        *,
        call_id: str,
        agent: AgentSettings,
        tell: Tell,
        remembered: Sequence[LLMContextMessage] = (),
        answering: AnsweringPlan | None = None,
    ) -> None:
        """Prepare the call; nothing runs yet.

        Args:
            shared: What calls share.
            leg: The caller's telephone, or the one that we dialled.
            call_id: Its name.
            agent: Who talks.
            tell: Takes its facts.
            remembered: A lost call's conversation.
            answering: Of a call that we placed: what is said to a machine that picks up.
        """
        self.call_id = call_id
        self._shared = shared
        self._leg = leg
        self._agent = agent
        self._emit = tell
        self._remembered = remembered
        self._answering = None if remembered else answering
        self._reason: str | None = None
        self._assembled: Assembled | None = None
        self._known: KnownCaller | None = None  # None: there is no register to ask
        self._torn = asyncio.Event()  # set where the pipeline cannot be told to end

    @property
    def conversation(self) -> Sequence[LLMContextMessage]:
        """What both sides have said so far, the system message first."""
        return tuple(self._assembled.context.messages) if self._assembled else ()

    @property
    def reason(self) -> str:
        """Why the call ended, or will."""
        farewell = self._assembled.farewell.reason if self._assembled else None
        return self._reason or farewell or "agent_hung_up"

    async def run(self) -> None:
        """Answer, talk, and return when nothing of the call runs any more; raises nothing."""
        started_at_s = self._shared.clock()
        try:
            self._leg.tell_to(self.tell)
            for fact in _first_facts(self._leg.facts, self._agent.name):
                self.tell(fact)
            if self._shared.crm and not self._remembered:
                number = self._leg.facts.other_party
                self._known = KnownCaller(self._shared.crm, number, tell=self.tell)
            await self._talk()
        except Exception as broken:  # noqa: BLE001 - one call's mistake ends that call alone
            self._reason = "failed"
            self.tell(_failure("call", broken))
            logger.opt(exception=broken).error("call {} failed", self.call_id)
            if self._assembled is None:  # nothing runs yet that could speak
                await take_step("the apology", apologise(self._leg), call_id=self.call_id)
        finally:
            await self._part(started_at_s)

    async def _part(self, started_at_s: float) -> None:
        """End the call, step by step; a step that fails stops none of the others."""
        call_id, parts = self.call_id, self._assembled
        if self._known:
            self._known.close()
        if parts:
            await take_step("closing the tools", parts.tools.close(), call_id=call_id)
            if parts.opt_out:
                await take_step("listing a number", parts.opt_out.close(), call_id=call_id)
            if parts.person:
                await take_step("dropping a person", parts.person.close(), call_id=call_id)
            await take_step("observing the end", _end_observing(parts), call_id=call_id)
            if parts.recording:
                await take_step("closing the recording", parts.recording.close(), call_id=call_id)
        length_s = self._shared.clock() - started_at_s
        self.tell(CallEnded(reason=self.reason, length_s=length_s))
        await take_step("hanging up", self._leg.hang_up(self.reason), call_id=call_id)
        if parts:
            await take_step("keeping a callback", parts.desk.close(), call_id=call_id)

    async def end(self, reason: str) -> None:
        """Have the agent say goodbye, behind what it is saying, and hang up.

        Nothing of it can be barged in on. A call that is ending already ends as it was going to.
        """
        if self._assembled and self._reason is None:
            await self._assembled.farewell.part(reason, words=self._agent.farewell, final=True)

    async def cancel(self, reason: str) -> None:
        """End the call at once, whatever hangs in it."""
        self._reason = self._reason or reason
        if self._assembled is None:
            return
        worker = self._assembled.worker
        within, call_id = worker.pipeline.queue_frame(CancelFrame()), self.call_id
        await take_step("cancelling from within", within, call_id=call_id)
        if not await take_step("cancelling", worker.cancel(reason=reason), call_id=call_id):
            self._torn.set()

    async def _talk(self) -> None:
        assembled = assemble(
            self._shared,
            self._leg,
            self._agent,
            call_id=self.call_id,
            tell=self.tell,
            end=self._end_for_good,
            answering=self._answering,
        )
        self._assembled = assembled
        if self._known:
            self._known.tell_model(assembled.context)
        if self._remembered:
            assembled.context.set_messages(list(self._remembered))
        self._leg.on_gone(self.cancel)
        worker = assembled.worker
        worker.add_event_handler("on_pipeline_error", self._on_error)
        runner = WorkerRunner(handle_sigint=False)  # one a call: it never forgets a worker
        await runner.add_workers(worker)
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(self._greet(assembled), name="greet")
            pipeline = group.create_task(runner.run(), name="pipeline")
            tearing = group.create_task(tear_down(self._torn, pipeline), name="tear down")
            try:
                await asyncio.wait([pipeline])
            finally:
                greeting.cancel()
                tearing.cancel()

    async def _greet(self, assembled: Assembled) -> None:
        try:
            await self._leg.answered()
        except TimeoutError:
            await self.cancel("never_connected")
            return
        except Exception as broken:  # noqa: BLE001 - raised here it would tear the pipeline down
            self._reason = "failed"
            self.tell(_failure("leg", broken))
            logger.opt(exception=broken).error("call {} was not answered", self.call_id)
            await self.cancel("failed")
            return
        await assembled.worker.queue_frame(AnsweredFrame())
        if assembled.answerer:
            call_ref, words = self._leg.facts.call_ref, self._shared.carrier_words
            try:
                await words.watch(call_ref, assembled.answerer.carrier_says)
                await assembled.answerer.person()
            finally:
                words.forget(call_ref)
        agent = self._agent
        if self._known:
            within_s = self._shared.settings.crm.greeting_s
            agent = await self._known.greeted_by(agent, within_s=within_s)
        for frame in opening_frames(agent, resumed=bool(self._remembered)):
            await assembled.services.tts.queue_frame(frame)

    async def _end_for_good(self, reason: str) -> None:
        """End a call that a plain EndFrame may not end, in rising order of force."""
        assembled = self._assembled
        if assembled is None or assembled.worker.has_finished():
            return
        self._reason = self._reason or reason
        ending = end_with_rising_force(assembled.worker, self._shared.clock)
        if not await take_step("ending", ending, call_id=self.call_id):
            self._torn.set()

    async def _on_error(self, _worker: Any, frame: ErrorFrame) -> None:
        """End the call with an apology when one of our own processors failed.

        A provider's failure is its stage's business and told by the observer.
        """
        services = self._assembled.services if self._assembled else None
        if services is None or frame.processor in (services.stt, services.llm, services.tts):
            return
        if self._reason is not None or frame.exception is None:
            return
        where = frame.processor.name if frame.processor else "pipeline"
        self._reason = "failed"
        self.tell(_failure(where, frame.exception))
        sorry = TTSSpeakFrame(SORRY, append_to_context=False)
        sorry.interruptible = False
        await services.tts.queue_frame(sorry)
        await services.tts.queue_frame(EndFrame())

    def tell(self, event: Event) -> None:
        """Tell a fact of this call, and show it to who looks on."""
        self._emit(event)
        try:
            self._leg.show({"type": "entry", "event": type(event).__name__, **asdict(event)})
        except Exception as broken:  # noqa: BLE001 - a screen that fails takes nobody's words
            logger.debug("call {}: nothing can be shown: {!r}", self.call_id, broken)


def _first_facts(leg: LegFacts, agent: str) -> Iterator[Event]:
    yield CallStarted(
        transport=leg.transport,
        agent=agent,
        caller=leg.caller,
        called=leg.called,
        call_ref=leg.call_ref,
        direction=leg.direction,
    )
    if leg.dial_id:
        yield OutboundCallBegan(dial_id=leg.dial_id)


def _failure(where: str, broken: BaseException) -> CallFailed:
    return CallFailed(where=where, error=f"{type(broken).__name__}: {broken}")


async def _end_observing(parts: Assembled) -> None:
    parts.observer.ended()
