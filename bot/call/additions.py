"""Optional parts of a call: recording, transfer, machine detection, opt-out, caller language."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.processors.frame_processor import FrameProcessor

from bot import clock
from bot.call.call_recording import CallRecording
from bot.call.conversation import give_tools
from bot.call.core import CallContext, CallCore
from bot.call.person_reach import PersonParts, person_for
from bot.call.services import Shared
from bot.config.agent import AgentSettings
from bot.config.rungs import DETECTED, follows_caller
from bot.tools.built_in import Tools
from bot.tools.do_not_call import DoNotCallRequests
from bot.tools.toolbox import LateResults
from calls.entry import Tell
from calls.operations_events import CallerKnown
from calls.resume import ResumeState
from operations.crm.customer import CrmContact, is_personal, known_text, personal
from operations.crm.port import CrmLookup
from operations.record.phone_numbers import as_dialled
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererServices, AnswererWatch
from processors.hearing.caller_words import CallerLanguage
from processors.wiring import CallWiring
from transports.leg import Leg


def answerer_for(plan: AnsweringPlan, call: CallContext, core: CallCore) -> AnswererWatch:
    """Return the processor that detects who picked up."""

    async def part(reason: str) -> None:
        await core.farewell.part(reason, final=True)

    def remember(words: str) -> None:
        core.context.add_message({"role": "user", "content": words})

    means = AnswererServices(
        say=core.services.tts.queue_frame,
        part=part,
        excuse=core.silence.excuse,
        remember=remember,
        tell=call.wiring.outside,
        clock=call.wiring.clock,
    )
    return AnswererWatch(plan, means, speech=call.shared.models.vad(call.shared.settings.turn))


def opt_out_for(
    shared: Shared, leg: Leg, wiring: CallWiring, *, call_id: str
) -> DoNotCallRequests | None:
    """Return what lists the other party's number; `None` if this process places no calls."""
    facts = leg.facts
    if shared.do_not_call is None:
        return None
    desk = DoNotCallRequests(
        shared.do_not_call,
        as_dialled(facts.other_party, region=shared.settings.server.region),
        call_id=call_id,
        turn=lambda: wiring.turn.number,
        tell=wiring.outside,
        utc_s=lambda: clock.utc_now().timestamp(),
        dial_id=facts.dial_id,
    )
    wiring.listeners.append(desk.hear)
    return desk


class KnownCaller:
    """The CRM look-up of one caller; it begins with the constructor."""

    def __init__(self, desk: CrmLookup, number: str, *, tell: Tell) -> None:
        """Begin the look-up."""
        self._name = desk.crm.name
        self._tell = tell
        self._asking = desk.begin(number, tell=tell)
        self._greeted = False
        self._over = False

    def tell_model(self, context: LLMContext) -> None:
        """Add what the CRM knows to the conversation, now or when its answer arrives."""

        def known(asked: asyncio.Task[CrmContact | None]) -> None:
            contact = None if self._over or asked.cancelled() else asked.result()
            text = known_text(contact) if contact else ""
            if text:
                context.add_message({"role": "system", "content": text})
                self._tell(CallerKnown(crm=self._name, late=self._greeted))

        self._asking.add_done_callback(known)

    async def greeted_by(self, agent: AgentSettings, *, within_s: float) -> AgentSettings:
        """Return the agent, with the caller's name if its greeting has a placeholder for one.

        Waits up to `within_s`, and not at all without such a placeholder.
        """
        contact = None
        if is_personal(agent.greeting):
            done, _ = await asyncio.wait({self._asking}, timeout=within_s)
            contact = self._asking.result() if done and not self._asking.cancelled() else None
        self._greeted = True
        return agent.model_copy(update={"greeting": personal(agent.greeting, contact)})

    def close(self) -> None:
        """Cancel the look-up: the call is over."""
        self._over = True
        self._asking.cancel()


RECORDINGS: Final = "recordings"  # in `logs.dir`


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """The optional parts of one call.

    Attributes:
        person: Transfers the caller to a person; `None` if the agent has no destinations or keys.
        opt_out: Lists the other party's number; `None` if this process places no calls.
        answerer: Detects who picked up; `None` if the call does not need that.
        language: Makes the voices follow the caller's language; empty if the language is fixed.
    """

    person: PersonParts | None
    opt_out: DoNotCallRequests | None
    answerer: AnswererWatch | None
    language: Sequence[FrameProcessor]

    @property
    def ahead_of_words(self) -> list[FrameProcessor]:
        """The processors that come before the first one that reads words."""
        return [*([self.answerer] if self.answerer else []), *self.language]


def additions_of(call: CallContext, core: CallCore, answering: AnsweringPlan | None) -> Additions:
    """Return the optional parts of this call.

    Args:
        call: The call.
        core: The parts that every call has.
        answering: For a call that we placed: what to say to a machine; `None` without detection.
    """
    return Additions(
        person=person_for(call, core),
        opt_out=opt_out_for(call.shared, call.leg, call.wiring, call_id=call.call_id),
        answerer=answerer_for(answering, call, core) if answering else None,
        language=_language(call, core),
    )


def recording_of(
    shared: Shared, leg: Leg, agent: AgentSettings, *, call_id: str
) -> CallRecording | None:
    """Return the recorder of a call; `None` if its agent does not record."""
    if not agent.recording.enabled:
        return None
    # A resumed call also has a file from the process before.
    name = f"{call_id}-{leg.before.entries}" if leg.before else call_id
    return CallRecording(
        shared.settings.logs.dir / RECORDINGS / f"{name}.wav",
        rate_hz=leg.facts.sample_rate_hz,
        notice=agent.recording.notice,
        clock=shared.clock,
        before=_said_in(leg.before),
    )


def give_all_tools(call: CallContext, core: CallCore, more: Additions) -> Tools:
    """Give the model the tools that every agent and this call have; return them."""
    tools = Tools(
        call.agent,
        note_callback=core.desk.note_callback,
        turn=lambda: call.wiring.turn.number,
        tell=call.wiring.outside,
        clock=call.wiring.clock,
        speaking=lambda: (
            call.wiring.floor.agent_sounds(call.wiring.clock()) or core.hold_line.keeper.holding
        ),
        people=more.person.reach if more.person else None,
        more=[more.opt_out.tool()] if more.opt_out else [],
    )
    is_quiet = partial(_is_quiet, call, core)
    tools.tell_late(LateResults(now=is_quiet, ask_with=partial(_ask_with, core)))
    give_tools(core.context, tools.schemas)
    return tools


def _said_in(before: ResumeState | None) -> str:
    messages = before.messages if before else ()
    said = (message.get("content") for message in messages if message.get("role") == "assistant")
    return " ".join(text for text in said if isinstance(text, str))


def _is_quiet(call: CallContext, core: CallCore) -> bool:
    """Return whether neither side speaks, and the caller waits for nothing else."""
    keeper, floor = core.hold_line.keeper, call.wiring.floor
    heard = floor.caller_speaking or floor.agent_sounds(call.wiring.clock())
    return not (heard or keeper.awaits_answer or keeper.led)


async def _ask_with(core: CallCore, note: str) -> None:
    """Add a note to the context and ask the model to speak."""
    core.context.add_message(cast("LLMContextMessage", {"role": "developer", "content": note}))
    await core.pair.user().push_context_frame()


def _language(call: CallContext, core: CallCore) -> list[FrameProcessor]:
    """Return what makes voices and phrases follow the caller's language, if it is detected."""
    if call.agent.language != DETECTED:
        return []
    ladder, phrases = call.shared.settings.stages.tts, core.fallback.phrases
    followed = (item for item in ladder if follows_caller(item, call.agent))
    voices = [core.built["tts"][item.name] for item in followed]
    return [
        CallerLanguage(
            first=phrases.language,
            now=call.before.language if call.before else "",
            voices=voices,
            follow=phrases.follow,
        )
    ]
