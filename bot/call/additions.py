"""What only some calls have: a recording, a person to reach, ears for a machine, a way out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.frame_processor import FrameProcessor

from bot.call.answerer_parts import answerer_for
from bot.call.call_recording import CallRecording
from bot.call.conversation import give_tools
from bot.call.core import Around, CallCore
from bot.call.opt_out import opt_out_for
from bot.call.person_parts import PersonParts, person_for
from bot.call.services import Shared
from bot.config.agent import AgentSettings
from bot.config.rungs import DETECTED, follows_caller
from bot.tools.built_in import Tools
from bot.tools.do_not_call import DoNotCallDesk
from bot.tools.toolbox import LateResults
from calls.resume import ResumeState
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch
from processors.hearing.caller_language import CallerLanguage
from transports.leg import Leg

RECORDINGS: Final = "recordings"  # in `logs.dir`


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """What a call has beside its core.

    Attributes:
        person: Reaches a person for the caller; None: this call reaches nobody.
        opt_out: Lists the other party's number; None: nobody is called from here.
        answerer: Hears who picked up; None: nobody listens for that.
        language: Has the voices follow the caller's language; empty: it is known.
    """

    person: PersonParts | None
    opt_out: DoNotCallDesk | None
    answerer: AnswererWatch | None
    language: Sequence[FrameProcessor]

    @property
    def ahead_of_words(self) -> list[FrameProcessor]:
        """What stands in the list where no word has been heard yet."""
        return [*([self.answerer] if self.answerer else []), *self.language]


def additions_of(call: Around, core: CallCore, answering: AnsweringPlan | None) -> Additions:
    """Return what this call has beside its core.

    Args:
        call: The call.
        core: Its parts.
        answering: Of a call that we placed: what is said to a machine; None: nobody looks for one.
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
    """Return what records a call; None: it is not recorded."""
    if not agent.recording.enabled:
        return None
    # A call that goes on in another process has a file there, too.
    name = f"{call_id}-{leg.before.entries}" if leg.before else call_id
    return CallRecording(
        shared.settings.logs.dir / RECORDINGS / f"{name}.wav",
        rate_hz=leg.facts.sample_rate_hz,
        notice=agent.recording.notice,
        clock=shared.clock,
        before=_said_in(leg.before),
    )


def give_all_tools(call: Around, core: CallCore, more: Additions) -> Tools:
    """Give the model what every agent can do, and what the additions can; return it."""
    tools = Tools(
        call.agent,
        note_callback=core.desk.note_callback,
        turn=lambda: call.wiring.turn.number,
        tell=call.wiring.outside,
        clock=call.wiring.clock,
        speaking=lambda: core.farewell.speaking or core.hold_line.keeper.holding,
        people=more.person.reach if more.person else None,
        more=[more.opt_out.tool()] if more.opt_out else [],
    )
    tools.tell_late(LateResults(now=partial(_is_quiet, core), ask_with=partial(_ask_with, core)))
    give_tools(core.context, tools.schemas)
    return tools


def _said_in(before: ResumeState | None) -> str:
    messages = before.messages if before else ()
    said = (message.get("content") for message in messages if message.get("role") == "assistant")
    return " ".join(text for text in said if isinstance(text, str))


def _is_quiet(core: CallCore) -> bool:
    """Return whether neither side speaks, and the caller waits for nothing else."""
    keeper = core.hold_line.keeper
    return not (core.farewell.speaking or keeper.caller_speaks or keeper.owes or keeper.led)


async def _ask_with(core: CallCore, note: str) -> None:
    """Ask the model to speak, with something that it has to know first."""
    core.context.add_message(cast("LLMContextMessage", {"role": "developer", "content": note}))
    await core.pair.user().push_context_frame()


def _language(call: Around, core: CallCore) -> list[FrameProcessor]:
    """Return who has the voices and the phrases follow the caller's language, if it is followed."""
    if call.agent.language != DETECTED:
        return []
    ladder, phrases = call.shared.settings.stages.tts, core.fallback.phrases
    followed = (each for each in ladder if follows_caller(each, call.agent))
    voices = [core.built["tts"][each.name] for each in followed]
    return [
        CallerLanguage(
            first=phrases.language,
            now=call.before.language if call.before else "",
            voices=voices,
            follow=phrases.follow,
        )
    ]
