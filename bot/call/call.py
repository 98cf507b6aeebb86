"""One call: from the answered leg to the last fact, whatever happens in between."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from typing import Any, Final

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
from bot.call.ending import end_with_rising_force, is_cancelled, tear_down
from bot.call.known_caller import KnownCaller
from bot.call.services import Shared
from bot.config.agent import AgentSettings
from calls.answering import AnsweringPlan
from calls.campaign_events import OutboundCallBegan
from calls.entry import Tell
from calls.events import CallEnded, CallFailed, CallStarted, Event
from transports.leg import Leg

STEP_S: Final = 15.0  # one step of the end; an apology has 10 s, Twilio 5 s for a hang-up


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
        self._ending: asyncio.Task[None] | None = None
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
            self._tell_start()
            if self._shared.crm and not self._remembered:
                number = self._leg.facts.other_party
                self._known = KnownCaller(self._shared.crm, number, tell=self.tell)
            await self._talk()
        except Exception as broken:  # noqa: BLE001 - one call's mistake ends that call alone
            self._tell_failure("call", broken)
            logger.opt(exception=broken).error("call {} failed", self.call_id)
            if self._assembled is None:  # nothing runs yet that could speak
                await self._surely("the apology", apologise(self._leg))
        finally:
            await self._part(started_at_s)

    async def _part(self, started_at_s: float) -> None:
        """End the call, step by step; a step that fails stops none of the others."""
        if self._known:
            self._known.close()
        if self._assembled:
            await self._surely("closing the tools", self._assembled.tools.close())
            if self._assembled.opt_out:
                await self._surely("listing a number", self._assembled.opt_out.close())
            if self._assembled.person:
                await self._surely("dropping a person", self._assembled.person.close())
            await self._surely("observing the end", self._observe_end(self._assembled))
            if self._assembled.recording:
                await self._surely("closing the recording", self._assembled.recording.close())
        length_s = self._shared.clock() - started_at_s
        self.tell(CallEnded(reason=self.reason, length_s=length_s))
        await self._surely("hanging up", self._leg.hang_up(self.reason))

    async def _observe_end(self, assembled: Assembled) -> None:
        assembled.observer.ended()

    async def _surely(self, what: str, step: Awaitable[object]) -> bool:
        """Run a step, bounded in time; return whether it succeeded: a failure is only logged."""
        try:
            async with asyncio.timeout(STEP_S):
                await step
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            logger.error("call {}: {} was cancelled within", self.call_id, what)
            return False
        except Exception as broken:  # noqa: BLE001 - the steps behind it are taken all the same
            logger.opt(exception=broken).error("call {}: {} failed", self.call_id, what)
            return False
        return True

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
        await self._surely("cancelling from within", worker.pipeline.queue_frame(CancelFrame()))
        if not await self._surely("cancelling", worker.cancel(reason=reason)):
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
                if self._ending:
                    self._ending.cancel()

    async def _greet(self, assembled: Assembled) -> None:
        try:
            await self._leg.answered()
        except TimeoutError:
            await self.cancel("never_connected")
            return
        except Exception as broken:  # noqa: BLE001 - raised here it would tear the pipeline down
            self._tell_failure("leg", broken)
            logger.opt(exception=broken).error("call {} was not answered", self.call_id)
            await self.cancel("failed")
            return
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
        if not await self._surely("ending", ending):
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
        self._tell_failure(frame.processor.name if frame.processor else "pipeline", frame.exception)
        sorry = TTSSpeakFrame(SORRY, append_to_context=False)
        sorry.interruptible = False
        await services.tts.queue_frame(sorry)
        await services.tts.queue_frame(EndFrame())

    def _tell_start(self) -> None:
        facts = self._leg.facts
        self.tell(
            CallStarted(
                transport=facts.transport,
                agent=self._agent.name,
                caller=facts.caller,
                called=facts.called,
                call_ref=facts.call_ref,
                direction=facts.direction,
            )
        )

        if facts.dial_id:
            self.tell(OutboundCallBegan(dial_id=facts.dial_id))

    def _tell_failure(self, where: str, broken: BaseException) -> None:
        self._reason = "failed"
        self.tell(CallFailed(where=where, error=f"{type(broken).__name__}: {broken}"))

    def tell(self, event: Event) -> None:
        """Tell a fact of this call, and show it to who looks on."""
        self._emit(event)
        try:
            self._leg.show({"type": "entry", "event": type(event).__name__, **asdict(event)})
        except Exception as broken:  # noqa: BLE001 - a screen that fails takes nobody's words
            logger.debug("call {}: nothing can be shown: {!r}", self.call_id, broken)
